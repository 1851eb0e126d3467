import * as HostArray from "../../ir/HostArray.ts"
import { blockSizes, type Case } from "./cases.ts"

/** Arguments of a case by name. The same in every process: they are drawn from a seed. */
export type Inputs = { readonly [name: string]: HostArray.HostArray }

const { width, heads, keyHeads, size, hidden } = blockSizes

/** Parameters of the block, each [inputs, outputs] or a gain. */
export const blockWeights = {
  attend: [width],
  q: [width, heads * size],
  k: [width, keyHeads * size],
  v: [width, keyHeads * size],
  o: [heads * size, width],
  feed: [width],
  gate: [width, hidden],
  up: [width, hidden],
  down: [hidden, width]
} as const

/** Uniform with variance 1, times `scale`. */
const drawn = (seed: number, shape: ReadonlyArray<number>, scale: number): Float32Array => {
  let state = (seed * 0x9e3779b9) >>> 0
  const reach = scale * Math.sqrt(3)
  return Float32Array.from({ length: HostArray.sizeOf(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return reach * (state / 2 ** 31 - 1)
  })
}

const array = (
  seed: number,
  shape: ReadonlyArray<number>,
  scale = 1,
  dtype: "f32" | "f16" = "f32"
): HostArray.HostArray =>
  dtype === "f32"
    ? { dtype, shape, data: drawn(seed, shape, scale) }
    : HostArray.fromNumbers(dtype, shape, Float64Array.from(drawn(seed, shape, scale)))

let last: readonly [key: string, inputs: Inputs] | undefined

/** The arguments of a case; those of the last one are kept, so that who has asked for them once may time what it does with them. */
export const inputsOf = (c: Case): Inputs => {
  const key = JSON.stringify(c)
  if (last?.[0] !== key) last = [key, made(c)]
  return last[1]
}

const made = (c: Case): Inputs => {
  if (c.kind === "product") return { a: array(1, [c.M, c.K]), b: array(2, [c.K, c.N]) }
  if (c.kind === "attention") {
    const [queries, keys] = c.heads
    return {
      q: array(1, [1, queries, c.T, c.D], 1, c.dtype),
      k: array(2, [1, keys, c.S, c.D], 1, c.dtype),
      v: array(3, [1, keys, c.S, c.D], 1, c.dtype)
    }
  }
  const weights = Object.entries(blockWeights).map(([name, shape], n) => {
    const gain = shape.length === 1
    return [name, array(n + 2, shape, gain ? 1 : 1 / Math.sqrt(shape[0]))] as const
  })
  return { x: array(1, [1, c.T, width]), ...Object.fromEntries(weights) }
}

/** The shape of the result, without the batch. */
export const shapeOf = (c: Case): ReadonlyArray<number> =>
  c.kind === "product" ? [c.M, c.N] : c.kind === "block" ? [c.T, width] : [c.heads[0], c.T, c.D]

/** [heads, length, D] as [length, heads, D], which some engines read and write, or back. */
export const swapped = (data: Float32Array, [A, B, D]: readonly [number, number, number]): Float32Array => {
  const out = new Float32Array(data.length)
  for (let a = 0; a < A; a++)
    for (let b = 0; b < B; b++) out.set(data.subarray((a * B + b) * D, (a * B + b + 1) * D), (b * A + a) * D)
  return out
}

/** An argument as 32-bit floats. */
export const floats = (x: HostArray.HostArray): Float32Array =>
  x.dtype === "f32" ? (x.data as Float32Array) : Float32Array.from(HostArray.toNumbers(x))
