import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, splatF32, store, storeLane } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import { madd } from "../emit/math.ts"
import type { Vectors } from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import type { Ref } from "../Job.ts"
import { arithmetic } from "../kernels/arithmetic.ts"
import { panelBytes, panels } from "../kernels/pack.ts"
import { accumulate, tileColumns, tileRows } from "../kernels/tile.ts"
import type { Place } from "./Place.ts"
import type { Term } from "./Problem.ts"

type I = Expr<"i32">
type V = Expr<"v128">

/** Rows in memory of the kernel, and a tile of packed keys. */
interface Tile {
  readonly place: Place
  readonly start: I
  readonly count: I
  /** Where the rows of a tile lie, and bytes from one to the next. */
  readonly queries: { readonly at: I; readonly step: I }
  readonly k: Ref
  /** Where the logits go, and bytes from one row to the next. */
  readonly scores: I
  readonly scoreBytes: number
}

/** The logits of a term: a tile of rows times packed keys. */
export const multiply = (frame: Frame, term: Term, tile: Tile): void => {
  const { e } = frame
  const { place, start, count, queries, scores, scoreBytes } = tile
  const kBytes = panelBytes(e, term.k.depth, tileColumns)
  const head = Value.linearize(e, [place.b, place.keyHead], term.k.batch)
  const columns = e.add(
    e.mul(Value.first(e, head), panels(e, term.k.free, tileColumns)),
    e.div(start, i32(tileColumns))
  )
  const kStart = e.add(frame.pointer(tile.k), e.mul(columns, kBytes))
  const depth = e.dim(term.D)
  const [step, known] = [queries.step, Dim.value(term.D)]
  e.loop(i32(0), e.div(e.add(count, i32(tileColumns - 1)), i32(tileColumns)), 1, (panel) => {
    const sums = Array.from(
      { length: tileRows },
      () => [e.variable(splatF32(0)), e.variable(splatF32(0))] as const
    )
    accumulate(
      e,
      sums,
      {
        start: queries.at,
        step: 4,
        row: (r) => (known === undefined ? e.mul(step, i32(r)) : 4 * known * r)
      },
      { start: e.add(kStart, e.mul(panel, kBytes)), step: 4 * tileColumns },
      depth
    )
    const to = e.add(scores, e.mul(panel, i32(4 * tileColumns)))
    sums.forEach((own, r) => {
      own.forEach((sum, half) => {
        e.line(store("v128.store", to, sum.value, r * scoreBytes + 16 * half))
      })
    })
  })
}

/** Rows and keys that lie one after the other, each in whole vectors. */
interface Lines {
  readonly rows: I
  readonly queries: I
  readonly keys: I
  readonly count: I
  /** From one row to the next, all of it elements, and from one key to the next. */
  readonly step: number
  readonly keyStep: number
  /** How elements of keys lie. */
  readonly vectors: Vectors
  /** Reads what the next product needs of a key, while arithmetic is what takes the time. */
  readonly read: ((key: I) => void) | undefined
  readonly block: { readonly start: I; readonly rowBytes: number }
}

/** Keys that are looked at while their rows are in the first cache: their products with a row become a vector. */
const together = 4
const numbers = [0, 1, 2, 3] as const

/** Vectors of the depth in one round of the loop. */
const unrolled = 2

const { totals } = arithmetic("f32")

/**
 * The logits of a term without packing: vectors along the depth are multiplied, those of four rows and two keys at a time, or of fewer rows
 * and four keys, and their lanes added. Past the last key stand products of that one.
 */
export const dots = (
  { e }: Frame,
  { rows, queries, keys, count, step, keyStep, vectors, read, block }: Lines
): void => {
  const [length, whole] = [step / 16, Math.floor(step / 16 / unrolled) * unrolled]
  const last = e.sub(count, i32(1))
  const products = (row: I, key: I, rowCount: number, keyCount: number): void => {
    const [own, others] = [numbers.slice(0, rowCount), numbers.slice(0, keyCount)]
    const sums = own.flatMap((r) => others.map((c) => ({ r, c, sum: e.variable(splatF32(0)) })))
    const q = e.variable(e.add(queries, e.mul(row, i32(step))))
    const k = others.map((c) => e.variable(e.add(keys, e.mul(e.min(e.add(key, i32(c)), last), i32(keyStep)))))
    /** Products of vectors of the keys, the n-th from here on. */
    const multiply = (y: ReadonlyArray<V>, n: number): void =>
      own.forEach((r) => {
        const x = e.now(load("v128.load", q.value, r * step + 16 * n))
        for (const { sum, c } of sums.filter((s) => s.r === r)) sum.set(madd(e, x, y[c] as V, sum.value))
      })
    e.loop(i32(0), i32(whole), unrolled, () => {
      const pairs = k.map((at) => vectors.pair(e, at.value))
      for (const n of [0, 1] as const)
        multiply(
          pairs.map((pair) => pair[n]),
          n
        )
      q.set(op("i32.add", q.value, i32(16 * unrolled)))
      for (const at of k) at.set(op("i32.add", at.value, i32(vectors.bytes * unrolled)))
    })
    if (length > whole)
      multiply(
        k.map((at) => vectors.at(e, at.value)),
        0
      )
    const to = e.add(e.add(block.start, e.mul(row, i32(block.rowBytes))), e.mul(key, i32(4)))
    for (let n = 0; n < sums.length; n += 4) {
      const four = sums.slice(n, n + 4).map(({ sum }) => sum.value)
      const all = totals(e, four) as V
      const at = (sums[n] as (typeof sums)[number]).r * block.rowBytes
      if (keyCount === together) e.line(store("v128.store", to, all, at))
      else
        for (const half of [0, 1]) {
          const row = op("i32.add", to, i32(at + half * block.rowBytes))
          e.line(storeLane("v128.store64_lane", row, all, half))
        }
    }
  }
  /** One row: keys one after the other, for memory is fast as one stream. */
  const one = (row: I, key: I): void => {
    const [some, times] = [Math.min(length, most), Math.floor(length / most)]
    const four = numbers.map((c) => {
      const sums = Array.from({ length: some }, () => e.variable(splatF32(0)))
      const q = e.variable(e.add(queries, e.mul(row, i32(step))))
      const k = e.variable(e.add(keys, e.mul(e.min(e.add(key, i32(c)), last), i32(keyStep))))
      const multiply = (count: number): void => {
        for (let n = 0; n < count; n += 2) {
          const all =
            n + 1 < count
              ? vectors.pair(e, k.value, n * vectors.bytes)
              : [vectors.at(e, k.value, n * vectors.bytes)]
          all.forEach((x, m) => {
            const sum = sums[n + m] as (typeof sums)[number]
            sum.set(madd(e, load("v128.load", q.value, 16 * (n + m)), x, sum.value))
          })
        }
        q.set(op("i32.add", q.value, i32(16 * count)))
        k.set(op("i32.add", k.value, i32(vectors.bytes * count)))
      }
      e.loop(i32(0), i32(times), 1, () => multiply(most))
      if (length % most > 0) multiply(length % most)
      return added(
        e,
        sums.map((sum) => sum.value)
      )
    })
    const to = e.add(e.add(block.start, e.mul(row, i32(block.rowBytes))), e.mul(key, i32(4)))
    e.line(store("v128.store", to, totals(e, four) as V))
  }
  const fours = e.bind(op("i32.and", rows, i32(-4)))
  e.loop(i32(0), count, together, (key) => {
    if (read !== undefined)
      e.branch(fours, () => {
        for (const c of numbers) read(e.min(e.add(key, i32(c)), last))
      })
    e.loop(i32(0), fours, 4, (row) =>
      e.loop(key, e.add(key, i32(together)), 2, (k) => products(row, k, 4, 2))
    )
    e.branch(op("i32.and", rows, i32(2)), () => products(fours, key, 2, together))
    e.branch(op("i32.and", rows, i32(1)), () => one(e.sub(rows, i32(1)), key))
  })
}

/** Sums of one row and one key in registers. */
const most = 8

/** The sum of vectors, in pairs. */
const added = (e: Frame["e"], all: ReadonlyArray<V>): V => {
  if (all.length === 1) return all[0] as V
  const half = Math.ceil(all.length / 2)
  return added(
    e,
    Array.from({ length: half }, (_, n) => {
      const [a, b] = [all[n] as V, all[n + half]]
      return b === undefined ? a : e.now(op("f32x4.add", a, b))
    })
  )
}
