import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, shuffle, splatF32, store } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import { madd } from "../emit/math.ts"
import * as Value from "../emit/Value.ts"
import type { Ref } from "../Job.ts"
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
  readonly block: { readonly start: I; readonly rowBytes: number }
}

/** Keys whose products with a row become a vector. */
const together = [0, 1, 2, 3] as const

/** Vectors of the depth in one round of the loop. */
const unrolled = 4

/** The logits of a term without packing: vectors along the depth are multiplied, two rows and four keys at a time, and their lanes added. */
export const dots = ({ e }: Frame, { rows, queries, keys, count, step, keyStep, block }: Lines): void => {
  const [vectors, whole] = [step / 16, Math.floor(step / 16 / unrolled) * unrolled]
  const products = (row: I, key: I, from: ReadonlyArray<number>): void => {
    const sums = from.map(() => together.map(() => e.variable(splatF32(0))))
    const q = e.variable(e.add(queries, e.mul(row, i32(step))))
    const k = e.variable(e.add(keys, e.mul(key, i32(keyStep))))
    const vector = (n: number): void => {
      const own = from.map((r) => e.now(load("v128.load", q.value, r * step + 16 * n)))
      for (const c of together) {
        const other = e.now(load("v128.load", k.value, c * keyStep + 16 * n))
        own.forEach((x, r) => {
          const sum = sums[r]?.[c] as ReturnType<typeof e.variable<"v128">>
          sum.set(madd(e, x, other, sum.value))
        })
      }
    }
    e.loop(i32(0), i32(whole), unrolled, () => {
      for (let n = 0; n < unrolled; n++) vector(n)
      q.set(op("i32.add", q.value, i32(16 * unrolled)))
      k.set(op("i32.add", k.value, i32(16 * unrolled)))
    })
    for (let n = 0; n < vectors - whole; n++) vector(n)
    const to = e.add(e.add(block.start, e.mul(row, i32(block.rowBytes))), e.mul(key, i32(4)))
    from.forEach((r) => {
      const [a, b, c, d] = (sums[r] as ReadonlyArray<{ readonly value: V }>).map((s) => s.value)
      e.line(store("v128.store", to, totals(e, [a as V, b as V, c as V, d as V]), r * block.rowBytes))
    })
  }
  const even = e.bind(op("i32.and", rows, i32(-2)))
  e.loop(i32(0), count, together.length, (key) => {
    e.loop(i32(0), even, 2, (row) => products(row, key, [0, 1]))
    e.branch(op("i32.and", rows, i32(1)), () => products(even, key, [0]))
  })
}

/** The sums of the lanes of four vectors. */
const totals = (e: Frame["e"], [a, b, c, d]: readonly [V, V, V, V]): V => {
  const halves = (x: V, y: V): V =>
    e.now(op("f32x4.add", shuffle(x, y, [0, 4, 1, 5]), shuffle(x, y, [2, 6, 3, 7])))
  const [ab, cd] = [halves(a, b), halves(c, d)]
  return e.now(op("f32x4.add", shuffle(ab, cd, [0, 1, 4, 5]), shuffle(ab, cd, [2, 3, 6, 7])))
}
