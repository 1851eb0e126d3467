import type * as Dim from "../../../ir/Dim.ts"
import type { MatmulTile } from "../../../ir/Schedule.ts"
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
  type Sums,
  steps,
  storeBlock,
  tileOf
} from "./contraction.ts"
import { type Split, targetOf } from "./matmulSplit.ts"
import type { Extent } from "./Part.ts"
import { type Vectors, vectorsOf } from "./vectors.ts"

const components = ["x", "y", "z", "w"] as const

/**
 * For processors that run shaders in software: each thread computes some rows and columns straight from storage. Barriers
 * and workgroup memory cost there what loads cost; only registers are cheaper, and a load of four elements costs little more than
 * one of a single element. Threads of a quad compute the same rows, of which each reads a part for all.
 */
export const matmulRegisters = (
  emitter: Emitter,
  job: Job,
  c: Contraction,
  workgroup: string,
  schedule: MatmulTile,
  split?: Split
): Extent => {
  const type = compute(c.lhs.node.type.dtype)
  const { quads } = schedule
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const left = vectorsOf(emitter, job, c.lhs)
  const rights = c.rhs.map((rhs) => vectorsOf(emitter, job, rhs))
  const shares = quads && left !== undefined && (left.along === "depth" || divides(4, depth))
  const fours = shares || [left, ...rights].some((v) => v?.along === "depth")
  const mostRows = type === "f32" && fours ? schedule.threadRows : Math.min(16, schedule.threadRows)
  const mostColumns = type === "f32" && fours ? schedule.threadColumns : Math.min(4, schedule.threadColumns)
  const threadRows = mostRows
  // Columns that lie side by side are read four at once.
  const threadColumns = rights.some((v) => v?.along === "free") ? Math.max(4, mostColumns) : mostColumns
  const blocks = type === "f32" && fours && threadRows % 4 === 0 && threadColumns % 4 === 0

  // A workgroup that is a quad needs no order of threads.
  const [threads, lanes] = quads ? [4, 4] : [16, 1]
  const number = emitter.constant(quads ? workgroup : `${workgroup} * ${threads} + i32(lix)`)
  const tile = tileOf(emitter, number, c, threadRows, threadColumns * lanes, { parts: split?.parts })
  const lane = quads ? emitter.constant("i32(sgi & 3u)") : "0"
  const firstColumn = emitter.add(tile.firstColumn, emitter.mul(lane, String(threadColumns)))
  const { place, from, to } = targetOf(emitter, job, c, tile, 4, split)

  const lines = { first: tile.firstRow, size: rows, per: threadRows }
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
  const sum = blocks
    ? blockSums(emitter, threadRows, threadColumns)
    : singleSums(emitter, type, threadRows, threadColumns)
  const products = rhs.map(sum)
  emitter.loop(from, to, String(fours ? 4 : 1), (k) => {
    const a = lhs.read(k, fours ? 4 : 1)
    products.forEach(({ add }, n) => {
      add(a, (rhs[n] as Reader).read(k, fours ? 4 : 1), fours ? 4 : 1)
    })
  })
  storeBlock(
    place,
    type,
    products.map(({ sums }) => sums),
    {
      rows: {
        first: tile.firstRow,
        size: rows,
        inside: divides(threadRows, rows),
        ...(shares && left.along === "depth" ? { turn: lane } : {})
      },
      columns: { first: firstColumn, size: columns, inside: divides(threadColumns * lanes, columns) }
    }
  )
  return { threads, workgroups: Size.ceilDiv(tile.tiles, threads / lanes) }
}

/** The sums of one product, and how a step along the depth is added to them. */
interface Product {
  readonly sums: Sums
  readonly add: (a: Lanes, b: Lanes, step: number) => void
}

const singleSums = (emitter: Emitter, type: string, rows: number, columns: number) => (): Product => {
  const sums = accumulators(emitter, type, rows, columns)
  return {
    sums,
    add: (a, b, step) => {
      sums.forEach((row, i) => {
        for (const at of steps(step)) {
          row.forEach((sum, j) => {
            multiplyAdd(emitter, type, sum, a.at(i, at), b.at(j, at))
          })
        }
      })
    }
  }
}

/**
 * Four rows by four columns are a matrix, and four positions of the depth a product of matrices: one instruction for sixty-four
 * multiply-adds, which is translated faster, and whose sums meet the accumulators once.
 */
const blockSums = (emitter: Emitter, rows: number, columns: number) => (): Product => {
  const matrix = "mat4x4<f32>"
  const blocks = steps(rows / 4).map(() =>
    steps(columns / 4).map(() => emitter.variable(matrix, `${matrix}()`))
  )
  return {
    sums: steps(rows).map((i) =>
      steps(columns).map((j) => `${blocks[i >> 2]?.[j >> 2]}[${i % 4}].${components[j % 4]}`)
    ),
    add: (a, b) => {
      const right = steps(columns / 4).map((q) => b.matrix(q, "positions"))
      blocks.forEach((row, p) => {
        const left = a.matrix(p, "lines")
        row.forEach((sum, q) => {
          emitter.line(`${sum} = ${sum} + ${right[q]} * ${left};`)
        })
      })
    }
  }
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

/** Reads what a thread needs of one operand at `step` positions of the depth from `k` on. */
export interface Reader {
  readonly along: "depth" | "free" | "none"
  readonly read: (k: string, step: number) => Lanes
}

interface Lanes {
  /** Element `i` at position `at`. */
  readonly at: (i: number, at: number) => string
  /** Four elements at four positions, from element `4 * q` on, as a matrix whose columns are elements (lines) or positions. */
  readonly matrix: (q: number, columns: "lines" | "positions") => string
}

const matrixOf = (
  emitter: Emitter,
  columns: ReadonlyArray<string>,
  are: "lines" | "positions",
  wanted: "lines" | "positions"
): string => {
  const text = `mat4x4<f32>(${columns.join(", ")})`
  return emitter.bind(are === wanted ? text : `transpose(${text})`)
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
        return {
          at: (i, at) => `${loaded[i]}.${components[at]}`,
          matrix: (q, wanted) => matrixOf(emitter, loaded.slice(4 * q, 4 * q + 4), "lines", wanted)
        }
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
        return {
          at: (i, at) => `${loaded[at]?.[Math.floor(i / 4)]}.${components[i % 4]}`,
          matrix: (q, wanted) =>
            matrixOf(
              emitter,
              loaded.map((fours) => fours[q] as string),
              "positions",
              wanted
            )
        }
      }
    }
  }
  return {
    along: "none",
    read: (k, step) => {
      const loaded = steps(step).map((at) =>
        steps(lines.per).map((i) => element(line(i), emitter.add(k, String(at))))
      )
      return {
        at: (i, at) => loaded[at]?.[i] as string,
        matrix: (q, wanted) =>
          matrixOf(
            emitter,
            loaded.map((all) => `vec4<f32>(${all.slice(4 * q, 4 * q + 4).join(", ")})`),
            "positions",
            wanted
          )
      }
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
      const loaded = fours.map((q) => {
        if (vectors.along === "free")
          return vectors.at(entry, emitter.add(k, lane), clampedQuarter(emitter, lines, q))
        const line = clamped(emitter, lines, emitter.add(emitter.add(lines.first, lane), String(4 * q)))
        return vectors.at(entry, line, emitter.bind(`${k} / 4`))
      })
      const handed = new Map<string, string>()
      /** What is read by the lane of a number, counted from each lane along the depth. */
      const from = (q: number, n: number): string => {
        const own = loaded[q] as string
        const text =
          vectors.along === "free" ? `quadBroadcast(${own}, ${n}u)` : n === 0 ? own : `${swaps[n]}(${own})`
        const known = handed.get(text) ?? (text === own ? own : emitter.constant(text))
        handed.set(text, known)
        return known
      }
      return {
        at: (i, at) =>
          vectors.along === "free"
            ? `${from(i >> 2, at)}.${components[i % 4]}`
            : `${from(i >> 2, i % 4)}.${components[at]}`,
        matrix: (q, wanted) =>
          matrixOf(
            emitter,
            steps(4).map((n) => from(q, n)),
            vectors.along === "free" ? "positions" : "lines",
            wanted
          )
      }
    }
  }
}
