import * as Dim from "../../../ir/Dim.ts"
import { isHalf } from "../../../ir/halfProducts.ts"
import type { MatmulTile } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { allOf, compute } from "../wgsl/scalar.ts"
import { strided } from "../wgsl/strided.ts"
import {
  accumulators,
  type Contraction,
  divides,
  multiplyAdd,
  type Operand,
  steps,
  storeBlock,
  tileOf
} from "./contraction.ts"
import { halves } from "./matmulHalf.ts"
import { type Split, targetOf } from "./matmulSplit.ts"
import type { Extent } from "./Part.ts"

/** For GPUs: tiles of both operands go through workgroup memory, each thread computes a block of the tile's product. */
export const matmulTiles = (
  emitter: Emitter,
  job: Job,
  c: Contraction,
  workgroup: string,
  schedule: MatmulTile,
  split?: Split
): Extent => {
  const { module } = emitter
  const type = compute(c.lhs.node.type.dtype)
  const { threadRows, threadColumns, depth: step } = schedule
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const [across, down] = [schedule.columns / threadColumns, schedule.rows / threadRows]
  const threads = across * down
  const tile = tileOf(emitter, emitter.constant(workgroup), c, schedule.rows, schedule.columns, {
    parts: split?.parts
  })
  const { firstRow, firstColumn } = tile
  const { place, from, to } = targetOf(emitter, job, c, tile, step, split)
  const lane = emitter.constant("i32(lix)")
  const threadRow = emitter.mul(emitter.bind(`${lane} / ${across}`), String(threadRows))
  const threadColumn = emitter.mul(emitter.bind(`${lane} % ${across}`), String(threadColumns))

  // A row of padding keeps threads that write along the depth off one memory bank.
  const widths = { lhs: schedule.rows + 1, rhs: schedule.columns + 1 }
  const half =
    schedule.arithmetic === "f16" && [c.lhs, ...c.rhs].every(({ node }) => isHalf(node))
      ? halves(emitter, c.rhs.length)
      : undefined
  const line = (width: number): string =>
    module.workgroupArray(half?.of.scalar ?? type, step * width, step * width * (half?.of.bytes ?? 4))
  const left = line(widths.lhs)
  const rights = c.rhs.map(() => line(widths.rhs))

  /** Fills one tile; neighbouring threads read neighbouring memory where the operand has a contiguous axis. */
  const fill = (
    array: string,
    operand: number,
    width: number,
    size: number,
    along: "depth" | "free",
    read: (free: string, k: string) => { readonly value: () => string; readonly inside: string }
  ): void => {
    const top = half?.start()
    emitter.loop(lane, String(size * step), String(threads), (item) => {
      const inner = along === "depth" ? step : size
      const [slow, fast] = [emitter.bind(`${item} / ${inner}`), emitter.bind(`${item} % ${inner}`)]
      const [free, k] = along === "depth" ? [slow, fast] : [fast, slow]
      const { value, inside } = read(free, k)
      const element = value()
      const x = `select(${type}(0), ${element}, ${inside})`
      const kept = half === undefined || top === undefined ? x : half.see(top, x)
      emitter.line(`${array}[${k} * ${width} + ${free}] = ${kept};`)
    })
    if (top !== undefined) half?.give(operand, top)
  }

  const products = rights.map(() => accumulators(emitter, type, threadRows, threadColumns))
  emitter.loop(from, to, String(step), (first) => {
    fill(left, 0, widths.lhs, schedule.rows, contiguous(job, c.lhs), (free, k) => {
      const [row, at] = [emitter.add(firstRow, free), emitter.add(first, k)]
      return {
        value: () => place.lhs(row, at),
        inside: allOf(`${row} < ${emitter.dim(rows)}`, `${at} < ${emitter.dim(depth)}`)
      }
    })
    c.rhs.forEach((rhs, n) => {
      fill(rights[n] as string, n + 1, widths.rhs, schedule.columns, contiguous(job, rhs), (free, k) => {
        const [column, at] = [emitter.add(firstColumn, free), emitter.add(first, k)]
        return {
          value: () => place.rhs[n]?.(at, column) as string,
          inside: allOf(`${column} < ${emitter.dim(columns)}`, `${at} < ${emitter.dim(depth)}`)
        }
      })
    })
    emitter.line("workgroupBarrier();")
    const rowsAt = (k: string) =>
      steps(threadRows).map((i) => `${left}[${k} * ${widths.lhs} + ${threadRow} + ${i}]`)
    const columnsAt = (n: number, k: string) =>
      steps(threadColumns).map((j) => `${rights[n]}[${k} * ${widths.rhs} + ${threadColumn} + ${j}]`)
    const number = (text: string): string => emitter.constant(half === undefined ? text : `f32(${text})`)
    const inFloats = (): void =>
      emitter.loop("0", String(step), "1", (k) => {
        const a = rowsAt(k).map(number)
        products.forEach((sums, n) => {
          const b = columnsAt(n, k).map(number)
          a.forEach((x, i) => {
            b.forEach((y, j) => {
              multiplyAdd(emitter, type, sums[i]?.[j] as string, x, y)
            })
          })
        })
      })
    if (half === undefined) inFloats()
    else emitter.branch(half.tame(), () => half.add(step, products, rowsAt, columnsAt), inFloats)
    half?.next()
    emitter.line("workgroupBarrier();")
  })
  storeBlock(place, type, products, {
    rows: { first: emitter.add(firstRow, threadRow), size: rows, inside: divides(schedule.rows, rows) },
    columns: {
      first: emitter.add(firstColumn, threadColumn),
      size: columns,
      inside: divides(schedule.columns, columns)
    }
  })
  return { threads, workgroups: tile.tiles }
}

/** Along which of its axes an operand's elements lie side by side; the depth where that is unknown. */
const contiguous = (job: Job, o: Operand): "depth" | "free" => {
  const view = strided(job.body, o.node)
  const last = o.free.at(-1)
  return view !== undefined && last !== undefined && Dim.isOne(view.strides[last] as Dim.Dim)
    ? "free"
    : "depth"
}
