import type * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Lowered } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"
import { compute } from "../wgsl/scalar.ts"
import {
  accumulators,
  type Contraction,
  divides,
  multiplyAdd,
  placeOf,
  scheduleOf,
  steps,
  storeBlock
} from "./contraction.ts"
import { type Vectors, vectorsOf } from "./vectors.ts"

const threads = 16
const components = ["x", "y", "z", "w"] as const

/**
 * For processors that run shaders in software: each thread computes a few rows and columns straight from storage. Barriers
 * and workgroup memory cost there what loads cost; only registers are cheaper, and a load of four elements costs little more than
 * one of a single element.
 */
export const matmulRegisters = (job: Job, c: Contraction): Lowered => {
  const type = compute(c.lhs.node.type.dtype)
  const { threadRows, threadColumns } = scheduleOf(job, c)
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const down = Size.ceilDiv(rows, threadRows)
  const across = Size.ceilDiv(columns, threadColumns)
  const tiles = Size.product([Shape.size(c.batch), down, across])
  const tile = emitter.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  emitter.line(`if (${tile} >= ${Size.wgsl(tiles, module.symbol)}) { return; }`)
  const perRow = emitter.bind(Size.wgsl(across, module.symbol))
  const perEntry = emitter.mul(emitter.bind(Size.wgsl(down, module.symbol)), perRow)
  const batch = emitter.bind(`${tile} / ${perEntry}`)
  const rest = emitter.sub(tile, emitter.mul(batch, perEntry))
  const tileRow = emitter.bind(`${rest} / ${perRow}`)
  const tileColumn = emitter.sub(rest, emitter.mul(tileRow, perRow))
  const firstRow = emitter.mul(tileRow, String(threadRows))
  const firstColumn = emitter.mul(tileColumn, String(threadColumns))
  const place = placeOf(job, c, emitter, batch)

  const [left, right] = [vectorsOf(emitter, job, c.lhs), vectorsOf(emitter, job, c.rhs)]
  const lhs = reader(emitter, usable(left, threadRows), place.entry, firstRow, rows, threadRows, place.lhs)
  const rhs = reader(
    emitter,
    usable(right, threadColumns),
    place.entry,
    firstColumn,
    columns,
    threadColumns,
    (i, k) => place.rhs(k, i)
  )
  const step = lhs.along === "depth" || rhs.along === "depth" ? 4 : 1

  const sums = accumulators(emitter, type, threadRows, threadColumns)
  emitter.loop("0", emitter.dim(depth), String(step), (k) => {
    const [a, b] = [lhs.read(k, step), rhs.read(k, step)]
    for (const at of steps(step)) {
      sums.forEach((row, i) => {
        row.forEach((sum, j) => {
          multiplyAdd(emitter, type, sum, a(i, at), b(j, at))
        })
      })
    }
  })
  storeBlock(place, type, sums, {
    rows: { first: firstRow, size: rows, inside: divides(threadRows, rows) },
    columns: { first: firstColumn, size: columns, inside: divides(threadColumns, columns) }
  })
  return module.finish({
    name: "matmul",
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(tiles, threads)
  })
}

/** Vectors along a free axis serve threads that take it in fours. */
export const usable = (v: Vectors | undefined, per: number): Vectors | undefined =>
  v?.along === "free" && per % 4 !== 0 ? undefined : v

/** Reads what a thread needs of one operand at `step` positions of the depth from `k` on: element `i` at position `at`. */
interface Reader {
  readonly along: "depth" | "free" | "none"
  readonly read: (k: string, step: number) => (i: number, at: number) => string
}

/** Lines past the end repeat the last: what comes of them is not stored. */
export const reader = (
  emitter: Emitter.Emitter,
  vectors: Vectors | undefined,
  entry: ReadonlyArray<string>,
  first: string,
  size: Dim.Dim,
  per: number,
  element: (line: string, k: string) => string
): Reader => {
  const always = divides(per, size)
  const line = (i: number): string => {
    const index = emitter.add(first, String(i))
    return always ? index : emitter.bind(`min(${index}, ${emitter.dim(size)} - 1)`)
  }
  if (vectors?.along === "depth") {
    return {
      along: "depth",
      read: (k) => {
        const quarter = emitter.bind(`${k} / 4`)
        const loaded = steps(per).map((i) => vectors.at(entry, line(i), quarter))
        return (i, at) => `${loaded[i]}.${components[at]}`
      }
    }
  }
  if (vectors?.along === "free") {
    const quarter = (q: number): string => {
      const index = emitter.add(emitter.bind(`${first} / 4`), String(q))
      return always ? index : emitter.bind(`min(${index}, ${emitter.dim(size)} / 4 - 1)`)
    }
    return {
      along: "free",
      read: (k, step) => {
        const loaded = steps(step).map((at) =>
          steps(per / 4).map((q) => vectors.at(entry, emitter.add(k, String(at)), quarter(q)))
        )
        return (i, at) => `${loaded[at]?.[Math.floor(i / 4)]}.${components[i % 4]}`
      }
    }
  }
  return {
    along: "none",
    read: (k, step) => {
      const loaded = steps(step).map((at) =>
        steps(per).map((i) => element(line(i), emitter.add(k, String(at))))
      )
      return (i, at) => loaded[at]?.[i] as string
    }
  }
}
