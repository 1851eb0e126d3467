import type * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Size from "../Size.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { compute } from "../wgsl/scalar.ts"
import {
  accumulators,
  type Contraction,
  divides,
  multiplyAdd,
  scheduleOf,
  steps,
  storeBlock,
  tileOf
} from "./contraction.ts"
import { type Split, targetOf } from "./matmulSplit.ts"
import type { Extent } from "./Part.ts"
import { type Vectors, vectorsOf } from "./vectors.ts"

const threads = 16
const components = ["x", "y", "z", "w"] as const

/**
 * For processors that run shaders in software: each thread computes a few rows and columns straight from storage. Barriers
 * and workgroup memory cost there what loads cost; only registers are cheaper, and a load of four elements costs little more than
 * one of a single element. Threads of a quad compute the same rows, of which each reads a part for all.
 */
export const matmulRegisters = (
  emitter: Emitter,
  job: Job,
  c: Contraction,
  workgroup: string,
  split?: Split
): Extent => {
  const type = compute(c.lhs.node.type.dtype)
  const { threadRows, quads, ...schedule } = scheduleOf(job, c)
  const rights = c.rhs.map((rhs) => vectorsOf(emitter, job, rhs))
  // Columns that lie side by side are read four at once.
  const threadColumns = rights.some((v) => v?.along === "free")
    ? Math.max(4, schedule.threadColumns)
    : schedule.threadColumns
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const lanes = quads ? 4 : 1
  const number = emitter.constant(`${workgroup} * ${threads / lanes} + i32(lix)${quads ? " / 4" : ""}`)
  const tile = tileOf(emitter, number, c, threadRows, threadColumns * lanes, { parts: split?.parts })
  const lane = quads ? emitter.constant("i32(lix) % 4") : "0"
  const firstColumn = emitter.add(tile.firstColumn, emitter.mul(lane, String(threadColumns)))
  const { place, from, to } = targetOf(emitter, job, c, tile, 4, split)

  const lines = { first: tile.firstRow, size: rows, per: threadRows }
  const left = vectorsOf(emitter, job, c.lhs)
  const shares = quads && left !== undefined && (left.along === "depth" || divides(4, depth))
  const lhs = shares
    ? sharedReader(emitter, left, place.entry, lines, lane)
    : reader(emitter, usable(left, threadRows), place.entry, lines, place.lhs)
  const rhs = rights.map((vectors, n) =>
    reader(
      emitter,
      usable(vectors, threadColumns),
      place.entry,
      { first: firstColumn, size: columns, per: threadColumns },
      (i, k) => place.rhs[n]?.(k, i) as string
    )
  )
  const step = shares || [lhs, ...rhs].some((r) => r.along === "depth") ? 4 : 1

  const products = rhs.map(() => accumulators(emitter, type, threadRows, threadColumns))
  emitter.loop(from, to, String(step), (k) => {
    const a = lhs.read(k, step)
    products.forEach((sums, n) => {
      const b = (rhs[n] as Reader).read(k, step)
      sums.forEach((row, i) => {
        for (const at of steps(step)) {
          row.forEach((sum, j) => {
            multiplyAdd(emitter, type, sum, a(i, at), b(j, at))
          })
        }
      })
    })
  })
  storeBlock(place, type, products, {
    rows: {
      first: tile.firstRow,
      size: rows,
      inside: divides(threadRows, rows),
      ...(shares && left.along === "depth" ? { turn: lane } : {})
    },
    columns: { first: firstColumn, size: columns, inside: divides(threadColumns * lanes, columns) }
  })
  return { threads, workgroups: Size.ceilDiv(tile.tiles, threads / lanes) }
}

/** Vectors along a free axis serve threads that take it in fours. */
export const usable = (v: Vectors | undefined, per: number): Vectors | undefined =>
  v?.along === "free" && per % 4 !== 0 ? undefined : v

/** Rows or columns of a thread. */
interface Lines {
  readonly first: string
  readonly size: Dim.Dim
  readonly per: number
}

/** Reads what a thread needs of one operand at `step` positions of the depth from `k` on: element `i` at position `at`. */
export interface Reader {
  readonly along: "depth" | "free" | "none"
  readonly read: (k: string, step: number) => (i: number, at: number) => string
}

/** Lines past the end repeat the last: what comes of them is not stored. */
const clamped = (emitter: Emitter, { size, per }: Lines, index: string): string =>
  divides(per, size) ? index : emitter.bind(`min(${index}, ${emitter.dim(size)} - 1)`)

/** As `clamped`, for a number of four lines. */
const clampedQuarter = (emitter: Emitter, { first, size, per }: Lines, q: number): string => {
  const index = emitter.add(emitter.bind(`${first} / 4`), String(q))
  return divides(per, size) ? index : emitter.bind(`min(${index}, ${emitter.dim(size)} / 4 - 1)`)
}

export const reader = (
  emitter: Emitter,
  vectors: Vectors | undefined,
  entry: ReadonlyArray<string>,
  lines: Lines,
  element: (line: string, k: string) => string
): Reader => {
  const line = (i: number): string => clamped(emitter, lines, emitter.add(lines.first, String(i)))
  if (vectors?.along === "depth") {
    return {
      along: "depth",
      read: (k) => {
        const quarter = emitter.bind(`${k} / 4`)
        const loaded = steps(lines.per).map((i) => vectors.at(entry, line(i), quarter))
        return (i, at) => `${loaded[i]}.${components[at]}`
      }
    }
  }
  if (vectors?.along === "free") {
    return {
      along: "free",
      read: (k, step) => {
        const loaded = steps(step).map((at) =>
          steps(lines.per / 4).map((q) =>
            vectors.at(entry, emitter.add(k, String(at)), clampedQuarter(emitter, lines, q))
          )
        )
        return (i, at) => `${loaded[at]?.[Math.floor(i / 4)]}.${components[i % 4]}`
      }
    }
  }
  return {
    along: "none",
    read: (k, step) => {
      const loaded = steps(step).map((at) =>
        steps(lines.per).map((i) => element(line(i), emitter.add(k, String(at))))
      )
      return (i, at) => loaded[at]?.[i] as string
    }
  }
}

/** What a lane reads, and what the lanes one, two and three apart from it do. */
const swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"] as const

/**
 * Four lanes read for each other. Along the depth each reads one line of four and passes it on: the lines of a lane are those of its first, in
 * an order of its own, `i ^ lane`, since to exchange registers costs a fifth of what it costs to spread one. Along lines each reads one of the four positions.
 * What a lane has read is handed over where it is used first.
 */
const sharedReader = (
  emitter: Emitter,
  vectors: Vectors,
  entry: ReadonlyArray<string>,
  lines: Lines,
  lane: string
): Reader => {
  const fours = steps(lines.per / 4)
  return {
    along: vectors.along,
    read: (k) => {
      const loaded =
        vectors.along === "depth"
          ? fours.map((q) => {
              const line = clamped(emitter, lines, emitter.add(emitter.add(lines.first, lane), String(4 * q)))
              return vectors.at(entry, line, emitter.bind(`${k} / 4`))
            })
          : fours.map((q) => vectors.at(entry, emitter.add(k, lane), clampedQuarter(emitter, lines, q)))
      const handed = new Map<string, string>()
      const from = (q: number, text: string): string => {
        const known = handed.get(text) ?? (text === loaded[q] ? text : emitter.constant(text))
        handed.set(text, known)
        return known
      }
      return (i, at) => {
        const q = i >> 2
        if (vectors.along === "free")
          return `${from(q, `quadBroadcast(${loaded[q]}, ${at}u)`)}.${components[i % 4]}`
        const swap = swaps[i % 4]
        return `${from(q, swap === "" ? (loaded[q] as string) : `${swap}(${loaded[q]})`)}.${components[at]}`
      }
    }
  }
}
