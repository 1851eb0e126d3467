import { type Expr, i32, load, op } from "../assembler/Instruction.ts"
import type { Emitter, Variable } from "../emit/Emitter.ts"
import { madd } from "../emit/math.ts"
import * as Storage from "../emit/storage.ts"

type V = Expr<"v128">

/** Rows and columns of the result that one tile keeps in registers: 12 accumulators, 2 columns and a row's element fill the 15 that engines use of 16. */
export const tileRows = 6
export const tileColumns = 8

const words = Storage.vectors("f32")

/** Steps of the depth in one round of the loop; one where columns have to be converted, which is long. */
const mostUnrolled = 4

/**
 * Sums products over `depth` steps: rows are read one word at a time, `rows(r, k)`, columns 8 at a time. `a` advances by `aStep` bytes a
 * step, `b` by `bStep`.
 */
export const accumulate = (
  e: Emitter,
  sums: ReadonlyArray<readonly [Variable<"v128">, Variable<"v128">]>,
  a: {
    readonly start: Expr<"i32">
    readonly step: number
    /** Distance of rows from the first. */
    readonly row: (r: number) => Expr<"i32"> | number
  },
  b: { readonly start: Expr<"i32">; readonly step: number; readonly vectors?: Storage.Vectors },
  depth: Expr<"i32">,
  integers = false
): void => {
  const multiplyAdd = (x: V, y: V, sum: V): V =>
    integers ? op("i32x4.add", op("i32x4.mul", x, y), sum) : madd(e, x, y, sum)
  const vectors = b.vectors ?? words
  const unrolled = vectors.bytes === words.bytes ? mostUnrolled : 1
  const pa = e.variable(a.start)
  const pb = e.variable(b.start)
  const step = (n: number): void => {
    const columns = vectors.pair(e, pb.value, n * b.step)
    sums.forEach((row, r) => {
      const distance = a.row(r)
      const place = typeof distance === "number" ? pa.value : op("i32.add", pa.value, distance)
      const offset = n * a.step + (typeof distance === "number" ? distance : 0)
      const element = e.now(load("v128.load32_splat", place, offset))
      row.forEach((sum, half) => {
        sum.set(multiplyAdd(element, columns[half] as V, sum.value))
      })
    })
  }
  const advance = (count: number): void => {
    pa.set(op("i32.add", pa.value, i32(count * a.step)))
    pb.set(op("i32.add", pb.value, i32(count * b.step)))
  }
  const whole = unrolled === 1 ? depth : e.bind(op("i32.and", depth, i32(-unrolled)))
  e.loop(i32(0), whole, unrolled, () => {
    for (let n = 0; n < unrolled; n++) step(n)
    advance(unrolled)
  })
  e.loop(whole, depth, 1, () => {
    step(0)
    advance(1)
  })
}
