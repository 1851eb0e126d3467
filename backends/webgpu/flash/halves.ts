import * as Budget from "../../../ir/flashBudget.ts"
import * as Half from "../wgsl/half.ts"
import { type Frame, laneOf, range } from "./frame.ts"

/**
 * Products in f16, of tiles that lie in workgroup memory as they are stored. Right whatever is stored, since f16 is used for what it can hold alone:
 *
 * - A tile is multiplied so if the largest numbers of both sides, x and y, say that eight products of them stay below 2^15, and that what a device may
 *   flush to zero, numbers and products below 2^-14, is less than two roundings of the largest product: xy ≤ 2^12 and 2^-14 (x + y + 1) ≤ 2^-10 xy. Where
 *   they do not, or one is infinite or NaN, the tile is multiplied in float32.
 * - Lanes add up eight products, and their sums are added in float32. So each term of a logit, and of a value, is rounded eight times to f16.
 * - Weights are relative to the largest score of the tile and not of all keys so far, times 2^6: what is rounded or flushed is small beside
 *   the weights of the tile itself, however many keys there are. A factor in float32 makes one sum of the tiles'.
 */

/** Keeps the largest number of a tile that the threads copy, in bits, after they have given what each has seen. */
export const give = ({ e, tops }: Frame, number: number, top: string): void =>
  e.line(`atomicMax(&${tops}[${number}], ${top});`)

/** Makes room for the numbers of the next tiles. All threads have read those of this one before, and write none before the next barrier. */
export const forget = ({ e, tops }: Frame, from: number, to: number): void => {
  const clear = range(to - from).map((n) => `atomicStore(&${tops}[${from + n}], 0u);`)
  e.line(`if (lix == 0u) { ${clear.join(" ")} }`)
}

/** Vector `at` of the staged tile, as f32. */
export const floats = ({ half, halves }: Frame, at: string): string =>
  (half as Half.Half).floats(`${halves}[${at}]`)

/** The largest number among the queries of the thread's rows, in bits, for each term. */
export const largestQueries = (frame: Frame): ReadonlyArray<string> => {
  const { e, half, rows, b } = frame
  if (half === undefined) return []
  const bits = e.module.helper("largest_bits")
  return frame.terms.map(({ q, size }) => {
    const top = e.variable("u32", "0u")
    e.loop("0", String(Math.ceil(size / 4)), "1", (c) => {
      for (const row of rows) {
        const x = q.half(e, [b, row.h, row.i], c)
        e.line(`${top} = max(${top}, ${bits}(${half.floats(x)}));`)
      }
    })
    return top
  })
}

/** Whether a tile and what it is multiplied with are tame; both as bits. */
export const tame = ({ e, tops }: Frame, number: number, other: string): string =>
  e.constant(`${e.module.helper("tame")}(${other}, atomicLoad(&${tops}[${number}]))`)

/** The largest weight of a tile, in bits. */
export const largestWeight = `bitcast<u32>(${Half.weightScale}.0f)`

/** Loops over a count in runs, each a loop that `step` goes along. */
const runs = (
  { e }: Frame,
  from: string,
  to: string,
  step: number,
  each: (walk: (inside: (n: string) => void) => void) => void
): void =>
  e.loop(from, to, String(step * Half.run), (first) => {
    const end = e.bind(`min(${first} + ${step * Half.run}, ${to})`)
    each((inside) => e.loop(first, end, String(step), inside))
  })

/** q·k of the thread's rows and keys, added to `products`: a vector for each key and each four rows. */
export const logits = (
  frame: Frame,
  term: number,
  slots: ReadonlyArray<string>,
  products: ReadonlyArray<ReadonlyArray<string>>
): void => {
  const { e, halves, rows, b } = frame
  const half = frame.half as Half.Half
  const { q, size } = frame.terms[term] as Frame["terms"][number]
  const [chunks, stride] = [Math.ceil(size / 4), Budget.rowStride(size)]
  runs(frame, "0", String(chunks), 1, (walk) => {
    const sums = rows.map(() => slots.map(() => e.variable(half.type, `${half.type}()`)))
    walk((c) => {
      const keys = slots.map((slot) => {
        const key = e.constant(`${halves}[${e.add(e.mul(slot, String(stride)), c)}]`)
        return e.constant(half.take(key))
      })
      rows.forEach((row, a) => {
        const x = e.bind(half.take(q.half(e, [b, row.h, row.i], c)))
        keys.forEach((key, n) => {
          const sum = sums[a]?.[n] as string
          e.line(`${sum} = ${half.multiplyAdd(x, key, sum)};`)
        })
      })
    })
    sums.forEach((row, a) => {
      const [quad, lane] = laneOf(a)
      row.forEach((sum, n) => {
        e.line(`${products[n]?.[quad]}.${lane} += dot(${half.widen(sum)}, vec4<f32>(1.0));`)
      })
    })
  })
}

/** Adds the weighted values of a tame tile. A key that a row does not see has weight 0 there, and no number of the tile is infinite or NaN. */
export const accumulate = (
  frame: Frame,
  count: string,
  factors: ReadonlyArray<string>,
  weight: (key: string, quad: number) => string
): void => {
  const { e, tile, halves, values, valueColumn, slice } = frame
  const half = frame.half as Half.Half
  const stride = Budget.rowStride(frame.problem.E)
  const ofSums = factors.map((x) => e.constant(`${x} * ${1 / Half.weightScale}`))
  runs(frame, slice, count, tile.slices, (walk) => {
    const sums = values.map((row) => row.map(() => e.variable(half.type, `${half.type}()`)))
    walk((key) => {
      const weights = range(tile.threadRows / 4).map((quad) =>
        e.constant(half.round(e.constant(`${weight(key, quad)} * ${Half.weightScale}.0`)))
      )
      range(tile.chunks).forEach((n) => {
        const chunk = e.add(valueColumn, String(n * tile.valueColumns))
        const x = e.constant(half.take(e.constant(`${halves}[${e.add(e.mul(key, String(stride)), chunk)}]`)))
        sums.forEach((row, a) => {
          const [quad, lane] = laneOf(a)
          const sum = row[n] as string
          e.line(`${sum} = ${half.multiplyAdd(half.splat(`${weights[quad]}.${lane}`), x, sum)};`)
        })
      })
    })
    sums.forEach((row, a) => {
      const [quad, lane] = laneOf(a)
      row.forEach((sum, n) => {
        e.line(`${values[a]?.[n]} += ${ofSums[quad]}.${lane} * ${half.widen(sum)};`)
      })
    })
  })
}
