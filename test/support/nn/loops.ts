import { at, build, type Dense } from "../tensors.ts"
import { attend, type Linear, type Parameters } from "./attend.ts"

/** What transformers are made of, as loops over numbers [B, T, F]. */

export const zip = (a: Dense, b: Dense, f: (x: number, y: number) => number): Dense => ({
  shape: a.shape,
  data: a.data.map((x, n) => f(x, b.data[n] as number))
})

export const plus = (a: Dense, b: Dense): Dense => zip(a, b, (x, y) => x + y)

export const map = (a: Dense, f: (x: number) => number): Dense => ({ shape: a.shape, data: a.data.map(f) })

export const linear = (x: Dense, { weight, bias }: Linear): Dense => {
  const [out, F] = weight.shape as [number, number]
  const [B, T] = x.shape as [number, number]
  return build([B, T, out], (b, t, o) => {
    let sum = bias === undefined ? 0 : at(bias, o)
    for (let f = 0; f < F; f++) sum += at(x, b, t, f) * at(weight, o, f)
    return sum
  })
}

export const layerNorm = (x: Dense, { weight, bias }: Linear, epsilon: number): Dense => {
  const F = x.shape[2] as number
  return build(x.shape, (b, t, f) => {
    const row = Array.from({ length: F }, (_, k) => at(x, b, t, k))
    const mean = row.reduce((s, y) => s + y, 0) / F
    const variance = row.reduce((s, y) => s + (y - mean) ** 2, 0) / F
    return (
      (((row[f] as number) - mean) / Math.sqrt(variance + epsilon)) * at(weight, f) +
      (bias === undefined ? 0 : at(bias, f))
    )
  })
}

/** The error function by its series, and by its continued fraction where that is slow. */
const erf = (x: number): number => {
  if (Math.abs(x) > 4) return Math.sign(x)
  let [term, sum] = [x, x]
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2))

export const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

export const transposed = (x: Dense): Dense =>
  build([x.shape[1] as number, x.shape[0] as number], (i, j) => at(x, j, i))

/** Rows of a table, [B, T, F]. */
export const rows = (table: Dense, ids: ReadonlyArray<ReadonlyArray<number>>): Dense =>
  build([ids.length, ids[0]?.length ?? 0, table.shape[1] as number], (b, t, f) =>
    at(table, ids[b]?.[t] as number, f)
  )

/** A layer of a transformer: attention, then attention to an encoder where there is one, then feed-forward. */
export interface Block {
  readonly attention: Parameters
  readonly attentionNorm: Linear
  readonly cross?: Parameters
  readonly crossNorm?: Linear
  readonly up: Linear
  readonly down: Linear
  readonly mlpNorm: Linear
}

export interface Options {
  readonly heads: number
  readonly epsilon: number
  readonly normFirst: boolean
  readonly causal?: boolean
  readonly activation: (x: number) => number
  readonly visible?: (b: number, j: number) => boolean
  /** Which positions of the encoder take part. */
  readonly met?: (b: number, j: number) => boolean
}

export const block = (x: Dense, p: Block, options: Options, encoded?: Dense): Dense => {
  const { heads, epsilon, normFirst, causal = false, activation } = options
  const added = (y: Dense, norm: Linear, f: (z: Dense) => Dense): Dense =>
    normFirst ? plus(y, f(layerNorm(y, norm, epsilon))) : layerNorm(plus(y, f(y)), norm, epsilon)
  const visible = (b: number, _h: number, i: number, j: number): boolean =>
    (!causal || j <= i) && (options.visible?.(b, j) ?? true)
  const own = added(
    x,
    p.attentionNorm,
    (y) => attend(p.attention, [y, y, y], [heads, heads], { visible }).out
  )
  const met =
    encoded === undefined
      ? own
      : added(
          own,
          p.crossNorm as Linear,
          (y) =>
            attend(p.cross as Parameters, [y, encoded, encoded], [heads, heads], {
              visible: (b, _h, _i, j) => options.met?.(b, j) ?? true
            }).out
        )
  return added(met, p.mlpNorm, (y) => linear(map(linear(y, p.up), activation), p.down))
}
