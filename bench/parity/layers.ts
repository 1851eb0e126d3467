import * as HostArray from "../../ir/HostArray.ts"
import type { Builder, Value } from "../peers/onnxBuilder.ts"

/** Parts of transformers as ONNX operators over [B, T, F], from weights by name. */

export type State = { readonly [name: string]: HostArray.HostArray }

export interface Layers {
  readonly g: Builder
  /** A weight as it is kept. */
  readonly weight: (name: string) => Value
  readonly has: (name: string) => boolean
  /** weight [O, I]. */
  readonly linear: (x: Value, name: string) => Value
  /** weight [I, O], as GPT-2 keeps it. */
  readonly conv1d: (x: Value, name: string) => Value
  readonly add: (a: Value, b: Value) => Value
  readonly mul: (a: Value, b: Value | number) => Value
  readonly layerNorm: (x: Value, name: string, epsilon: number) => Value
  readonly rmsNorm: (x: Value, name: string, epsilon: number, offset: number) => Value
  readonly gelu: (x: Value) => Value
  readonly geluTanh: (x: Value) => Value
  readonly silu: (x: Value) => Value
  readonly reshape: (x: Value, shape: ReadonlyArray<number>) => Value
  readonly permute: (x: Value, perm: ReadonlyArray<number>) => Value
  readonly scalar: (value: number) => Value
}

export const layers = (g: Builder, state: State): Layers => {
  const made = new Map<string, Value>()
  const weight = (name: string): Value => {
    const known = made.get(name)
    if (known !== undefined) return known
    const array = state[name]
    if (array === undefined) throw new Error(`no weight ${name}`)
    const value = g.constant(array.shape, Float32Array.from(HostArray.toNumbers(array)))
    made.set(name, value)
    return value
  }
  const has = (name: string): boolean => Object.hasOwn(state, name)
  const scalar = (value: number): Value => g.constant([], [value])
  const add = (a: Value, b: Value): Value => g.op("Add", [a, b])
  const mul = (a: Value, b: Value | number): Value => g.op("Mul", [a, typeof b === "number" ? scalar(b) : b])
  const biased = (x: Value, name: string): Value => (has(`${name}.bias`) ? add(x, weight(`${name}.bias`)) : x)
  return {
    g,
    weight,
    has,
    scalar,
    add,
    mul,
    linear: (x, name) =>
      biased(g.op("MatMul", [x, g.op("Transpose", [weight(`${name}.weight`)], { perm: [1, 0] })]), name),
    conv1d: (x, name) => biased(g.op("MatMul", [x, weight(`${name}.weight`)]), name),
    layerNorm: (x, name, epsilon) =>
      g.op("LayerNormalization", [x, weight(`${name}.weight`), weight(`${name}.bias`)], {
        axis: -1,
        epsilon: { float: epsilon }
      }),
    rmsNorm: (x, name, epsilon, offset) => {
      const square = g.op("ReduceMean", [g.op("Mul", [x, x])], { axes: [-1] })
      const normed = g.op("Div", [x, g.op("Sqrt", [add(square, scalar(epsilon))])])
      const gain = weight(`${name}.weight`)
      return mul(normed, offset === 0 ? gain : add(gain, scalar(offset)))
    },
    gelu: (x) => mul(mul(x, add(g.op("Erf", [mul(x, Math.SQRT1_2)]), scalar(1))), 0.5),
    geluTanh: (x) => {
      const cube = mul(mul(x, mul(x, x)), 0.044715)
      return mul(mul(x, add(g.op("Tanh", [mul(add(x, cube), Math.sqrt(2 / Math.PI))]), scalar(1))), 0.5)
    },
    silu: (x) => mul(x, g.op("Sigmoid", [x])),
    reshape: (x, shape) => g.op("Reshape", [x, g.constant([shape.length], shape, "int64")]),
    permute: (x, perm) => g.op("Transpose", [x], { perm })
  }
}

export interface AttentionOptions {
  readonly heads: number
  readonly kvHeads?: number
  readonly headSize: number
  readonly scale?: number
  readonly softcap?: number | undefined
  /** Of heads [B, N, T, D], before the product. */
  readonly turn?: (x: Value, of: "query" | "key") => Value
  /** [T, S] or [B, 1, 1, S]: what is added to the logits. */
  readonly mask?: Value | undefined
}

/** Attention of projected queries, keys and values, [B, T, N·D] and [B, S, M·D], every head written out: what eager code does. */
export const attention = (
  { g, mul, reshape, permute }: Layers,
  [q, k, v]: readonly [Value, Value, Value],
  [B, T, S]: readonly [number, number, number],
  {
    heads,
    kvHeads = heads,
    headSize,
    scale = headSize ** -0.5,
    softcap,
    turn = (x) => x,
    mask
  }: AttentionOptions
): Value => {
  const split = (x: Value, length: number, count: number): Value =>
    permute(reshape(x, [B, length, count, headSize]), [0, 2, 1, 3])
  const repeated = (x: Value): Value => {
    if (kvHeads === heads) return x
    const apart = reshape(x, [B, kvHeads, 1, S, headSize])
    const shape = [B, kvHeads, heads / kvHeads, S, headSize]
    return reshape(g.op("Expand", [apart, g.constant([5], shape, "int64")]), [B, heads, S, headSize])
  }
  const query = turn(split(q, T, heads), "query")
  const key = repeated(turn(split(k, S, kvHeads), "key"))
  const logits = mul(g.op("MatMul", [query, permute(key, [0, 1, 3, 2])]), scale)
  const capped = softcap === undefined ? logits : mul(g.op("Tanh", [mul(logits, 1 / softcap)]), softcap)
  const scores = mask === undefined ? capped : g.op("Add", [capped, mask])
  const weights = g.op("Softmax", [scores], { axis: -1 })
  const out = g.op("MatMul", [weights, repeated(split(v, S, kvHeads))])
  return reshape(permute(out, [0, 2, 1, 3]), [B, T, heads * headSize])
}

/** What hides later keys, and those further back than `window`: [T, T]. */
export const causalMask = (g: Builder, T: number, window = Infinity): Value =>
  g.constant(
    [T, T],
    Array.from({ length: T * T }, (_, n) => {
      const [i, j] = [Math.floor(n / T), n % T]
      return j <= i && j >= i - window ? 0 : -Infinity
    })
  )
