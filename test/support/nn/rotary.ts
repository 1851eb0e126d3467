import * as Attention from "../../../src/Attention.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"

/** Layers that turn queries and keys as models in the wild do, written as their authors write them. */
export interface Rotary {
  readonly heads: number
  readonly kvHeads: number
  readonly size: number
  /** How many of a head's elements turn. */
  readonly turned: number
  /** One product each, one of queries, keys and values one after the other, or one that has the three of a head side by side. */
  readonly products: "apart" | "packed" | "perHead"
  readonly spelling: keyof typeof spellings
  readonly norm?: "rms" | "layer"
  readonly bias?: boolean
}

type T = Tensor.Tensor
type Values = { readonly [name: string]: T }

const op = <A extends ReadonlyArray<unknown>>(f: (...args: A) => unknown) => f as (...args: A) => T
const [add, mul, sub] = [op<[T, T]>(Tensor.add), op<[T, T]>(Tensor.mul), op<[T, T]>(Tensor.sub)]
const cut = (x: T, start: number, stop: number, step = 1): T =>
  Tensor.slice(x, -1, { start, stop, step }) as T
const join = (...parts: ReadonlyArray<T>): T => Tensor.concat(parts, -1) as T
const reshaped = (x: T, ...shape: ReadonlyArray<number | string>): T => Tensor.reshape(x, shape) as T
const twice = (x: T): T => join(x, x)
const negative = op<[T]>(Tensor.neg)
const transposed = op<[T]>(Tensor.transpose)
const product = op<[T, T]>(Tensor.matmul)

/** What becomes of heads [B, H, T, D] of which the first R turn by cosines and sines [T, R/2]. */
type Turn = (x: T, cos: T, sin: T, R: number) => T

const rest = (x: T, R: number, turned: T): T => {
  const D = x.shape.at(-1) as number
  return R === D ? turned : join(turned, cut(x, R, D))
}

const halves: Turn = (x, cos, sin, R) => {
  const [a, b] = [cut(x, 0, R / 2), cut(x, R / 2, R)]
  return rest(x, R, join(sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))))
}

/** Hugging Face: heads times cosines, plus heads with exchanged halves times sines. */
const rotateHalf: Turn = (whole, cos, sin, R) => {
  const x = R === whole.shape.at(-1) ? whole : cut(whole, 0, R)
  const exchanged = join(negative(cut(x, R / 2, R)), cut(x, 0, R / 2))
  return rest(whole, R, add(mul(x, twice(cos)), mul(exchanged, twice(sin))))
}

/** GPT-J: neighbours are pairs. */
const neighbours: Turn = (whole, cos, sin, R) => {
  const [B, H, t] = whole.shape as ReadonlyArray<number>
  const pairs = reshaped(cut(whole, 0, R), B as number, H as number, t as number, R / 2, 2)
  const [a, b] = [cut(pairs, 0, 1), cut(pairs, 1, 2)]
  const [c, s] = [cos, sin].map((x) => reshaped(x, ...(x.shape as ReadonlyArray<number>), 1)) as [T, T]
  const turned = join(sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s)))
  return rest(whole, R, reshaped(turned, B as number, H as number, t as number, R))
}

/** Every second element, put back by a stack. */
const strided: Turn = (x, cos, sin, R) => {
  const [B, H, t] = x.shape as ReadonlyArray<number>
  const [a, b] = [cut(x, 0, R, 2), cut(x, 1, R, 2)]
  const parts = [sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))]
  const stacked = Tensor.stack(parts, -1) as T
  return rest(x, R, reshaped(stacked, B as number, H as number, t as number, R))
}

/** The last elements turn, as in heads that are without positions first. */
const behind: Turn = (x, cos, sin, R) => {
  const D = x.shape.at(-1) as number
  const turned = halves(cut(x, D - R, D), cos, sin, R)
  return R === D ? turned : join(cut(x, 0, D - R), turned)
}

/** The operation itself. */
const whole: Turn = (x, cos, sin, R) => Tensor.rope(x, { dims: R, cos, sin }) as T

const spellings = { halves, rotateHalf, neighbours, strided, behind, whole }

const heads = (x: T, count: number, size: number): T => {
  const [B, t] = x.shape as ReadonlyArray<number>
  return Tensor.permute(reshaped(x, B as number, t as number, count, size), [0, 2, 1, 3]) as T
}

/** Queries, keys and values of x [B, T, F] as heads. */
const projected = (
  p: Values,
  x: T,
  { heads: H, kvHeads: M, size: D, products }: Rotary
): ReadonlyArray<T> => {
  const of = (name: string): T => {
    const y = product(x, transposed(p[name] as T))
    const bias = p[`${name}Bias`]
    return bias === undefined ? y : add(y, bias)
  }
  if (products === "apart")
    return [heads(of("query"), H, D), heads(of("key"), M, D), heads(of("value"), M, D)]
  const all = of("qkv")
  if (products === "packed") {
    const ends = [0, H * D, (H + M) * D, (H + 2 * M) * D]
    return [H, M, M].map((count, n) => heads(cut(all, ends[n] as number, ends[n + 1] as number), count, D))
  }
  const each = heads(all, H, 3 * D)
  return [0, 1, 2].map((n) => cut(each, n * D, (n + 1) * D))
}

/** Queries, keys and values of x [B, T, F], the turns given as `cos` and `sin` [T, R/2]; keys and values go into caches where there are some. */
export const turned = (config: Rotary, p: Values, x: T) => {
  const [q, k, v] = projected(p, x, config) as [T, T, T]
  const { norm } = config
  const turn = spellings[config.spelling]
  const own = (y: T, gain: T | undefined): T => {
    const normed =
      gain === undefined
        ? y
        : ((norm === "rms" ? Tensor.rmsNorm(y, { gain }) : Tensor.layerNorm(y, { gain })) as T)
    return turn(normed, p["cos"] as T, p["sin"] as T, config.turned)
  }
  const length = p["length"] as Tensor.Tensor<"i32"> | undefined
  const kept = (name: string, y: T): T => {
    const cache = p[name]
    if (cache === undefined || length === undefined) return y
    return Tensor.updateSlice(cache, Tensor.cast(y, cache.dtype), length, { axis: 2 }) as T
  }
  return {
    query: own(q, p["queryGain"]),
    keys: kept("keys", own(k, p["keyGain"])),
    values: kept("values", v)
  }
}

/** Attention over x [B, T, F] with its projections. */
export const attention = (config: Rotary, p: Values, x: T) => {
  const { query, keys, values } = turned(config, p, x)
  const length = p["length"] as Tensor.Tensor<"i32"> | undefined
  const mask = length === undefined ? Mask.causal : Mask.causalFrom(length)
  const out = Attention.stages(query, keys, values, { mask }).result
  const [B, H, t, D] = out.shape as readonly [number, number, number, number]
  const flat = reshaped(Tensor.permute(out, [0, 2, 1, 3]) as T, B, t, H * D)
  return { out: product(flat, p["out"] as T), keys, values }
}

/** Attention and a feed-forward, gated where projections have no biases, each behind a norm and added. */
export const layer = (config: Rotary, p: Values, x: T) => {
  const normed = (y: T, gain: T): T =>
    (config.bias === true ? Tensor.layerNorm(y, { gain }) : Tensor.rmsNorm(y, { gain })) as T
  const { out, keys, values } = attention(config, p, normed(x, p["inputGain"] as T))
  const mixed = add(x, out)
  const up = product(normed(mixed, p["postGain"] as T), p["up"] as T)
  const hidden = up.shape.at(-1) as number
  const opened =
    config.bias === true
      ? (Tensor.gelu(up) as T)
      : mul(Tensor.silu(cut(up, 0, hidden / 2)) as T, cut(up, hidden / 2, hidden))
  return { out: add(mixed, product(opened, p["down"] as T)), keys, values }
}

/** Specifications of what a layer reads besides what `signature` says. */
export const layerSignature = ({ bias }: Rotary, features: number) => ({
  inputGain: spec("f32", [features]),
  postGain: spec("f32", [features]),
  up: spec("f32", [features, 4 * features]),
  down: spec("f32", [(bias === true ? 4 : 2) * features, features])
})

/** Specifications of what they read besides x. */
export const signature = (
  { heads: H, kvHeads: M, size: D, turned, products, norm, bias }: Rotary,
  features: number | string,
  cached: "f32" | "f16" | "bf16" | undefined
) => {
  const columns: { readonly [name: string]: number } =
    products === "apart" ? { query: H * D, key: M * D, value: M * D } : { qkv: (H + 2 * M) * D }
  return {
    ...Object.fromEntries(Object.entries(columns).map(([name, n]) => [name, spec("f32", [n, features])])),
    ...(bias === true
      ? Object.fromEntries(Object.entries(columns).map(([name, n]) => [`${name}Bias`, spec("f32", [n])]))
      : {}),
    ...(norm === undefined ? {} : { queryGain: spec("f32", [D]), keyGain: spec("f32", [D]) }),
    cos: spec("f32", ["T", turned / 2]),
    sin: spec("f32", ["T", turned / 2]),
    out: spec("f32", [H * D, features]),
    ...(cached === undefined
      ? {}
      : {
          length: spec("i32", ["B"]),
          keys: spec(cached, ["B", M, "C", D]),
          values: spec(cached, ["B", M, "C", D])
        })
  }
}
