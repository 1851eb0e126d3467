/** The cases as graphs of onnxruntime, in every way that it runs fast somewhere. */
import * as HostArray from "../../ir/HostArray.ts"
import { alibiSlopes } from "../../src/Score.ts"
import { type Attention, type Block, blockSizes, type Case, keysOf } from "../cases/cases.ts"
import { floats, type Inputs, inputsOf, shapeOf, swapped } from "../cases/inputs.ts"
import { type Builder, builder, type Type, type Value } from "./onnxBuilder.ts"

export interface OnnxModel {
  readonly bytes: Uint8Array
  readonly feeds: { readonly [name: string]: Feed }
  /** From the order in which the graph gives its result to that of `shapeOf`. */
  readonly ordered: (out: Float32Array) => Float32Array
  /** How the result is stored. */
  readonly result: Type
}

export interface Feed {
  readonly type: Type
  readonly data: Float32Array | Uint16Array | BigInt64Array
  readonly shape: ReadonlyArray<number>
}

const same = (x: Float32Array): Float32Array => x

/** What is added to logits [heads, T, S]: what the mask hides and, with ALiBi, how far a key is. */
const biasOf = (
  c: Attention
): { readonly shape: ReadonlyArray<number>; readonly data: Float32Array } | undefined => {
  const slopes = c.alibi === true ? alibiSlopes(c.heads[0]) : undefined
  if (slopes === undefined && !c.causal) return undefined
  const heads = slopes?.length ?? 1
  const data = new Float32Array(heads * c.T * c.S).fill(-1e30)
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < c.T; i++) {
      const [lo, hi] = keysOf(c, i)
      for (let j = lo; j < hi; j++) data[(h * c.T + i) * c.S + j] = (slopes?.[h] ?? 0) * (j - i)
    }
  return { shape: [heads, c.T, c.S], data }
}

/** Products and a softmax. Heads that share keys are rows of one matrix, so that no key is repeated. */
const unfused = (g: Builder, c: Attention, [q, k, v]: readonly [Value, Value, Value]): Value => {
  const [queries, keys] = c.heads
  const group = queries / keys
  const scaled = g.op("Mul", [q, g.constant([], [c.D ** -0.5])])
  let scores = g.op("MatMul", [scaled, g.op("Transpose", [k], { perm: [0, 2, 1] })])
  if (c.softcap !== undefined) {
    const by = (x: Value, factor: number): Value => g.op("Mul", [x, g.constant([], [factor])])
    scores = by(g.op("Tanh", [by(scores, 1 / c.softcap)]), c.softcap)
  }
  const bias = biasOf(c)
  if (bias !== undefined) {
    const copies = group > 1 && bias.shape[0] === 1 ? group : 1
    const data = new Float32Array(bias.data.length * copies)
    for (let n = 0; n < copies; n++) data.set(bias.data, n * bias.data.length)
    scores = g.op("Add", [scores, g.constant([bias.shape[0] as number, c.T * copies, c.S], data)])
  }
  return g.op("MatMul", [g.op("Softmax", [scores], { axis: -1 }), v])
}

const lengths = (g: Builder, S: number): ReadonlyArray<Value> => [
  g.constant([1], [S - 1], "int32"),
  g.constant([1], [S], "int32")
]

const attention = (c: Attention, variant: string, stored: "f32" | "f16"): OnnxModel => {
  const [queries, keys] = c.heads
  const type: Type = stored === "f16" ? "float16" : "float"
  const group = queries / keys
  const inputs = inputsOf(c)
  const array = (name: string): HostArray.HostArray => inputs[name] as HostArray.HostArray
  const g = builder(variant === "Attention" ? 23 : 17)
  const together = variant === "MultiHeadAttention" || variant === "GroupQueryAttention"
  const shapes = together
    ? { q: [1, c.T, queries * c.D], k: [1, c.S, keys * c.D], v: [1, c.S, keys * c.D] }
    : variant === "Attention"
      ? { q: [1, queries, c.T, c.D], k: [1, keys, c.S, c.D], v: [1, keys, c.S, c.D] }
      : { q: [keys, group * c.T, c.D], k: [keys, c.S, c.D], v: [keys, c.S, c.D] }
  const given = (name: "q" | "k" | "v"): Value => {
    const x = g.input(name, type, shapes[name])
    return type === "float" ? x : g.op("Cast", [x], { to: 1 })
  }
  const qkv = [given("q"), given("k"), given("v")] as const
  const counts = { num_heads: queries, kv_num_heads: keys }
  const computed = (): Value => {
    switch (variant) {
      case "Attention":
        return g.op("Attention", qkv, { is_causal: c.causal ? 1 : 0 })
      case "MultiHeadAttention":
        return g.own("MultiHeadAttention", qkv, 1, {
          num_heads: queries,
          unidirectional: c.causal ? 1 : 0
        })[0] as Value
      case "GroupQueryAttention": {
        const window = c.window === undefined ? {} : { local_window_size: c.window }
        const operands = [...qkv, "", "", ...lengths(g, c.S)]
        return g.own("GroupQueryAttention", operands, 3, { ...counts, ...window })[0] as Value
      }
      default:
        return unfused(g, c, qkv)
    }
  }
  const out = type === "float" ? computed() : g.op("Cast", [computed()], { to: 10 })
  const feed = (name: "q" | "k" | "v"): Feed => {
    const x = array(name)
    if (type === "float16" && !together) return { type, data: x.data as Uint16Array, shape: shapes[name] }
    const [, heads, length, D] = x.shape as readonly [number, number, number, number]
    const data = together ? swapped(floats(x), [heads, length, D]) : floats(x)
    if (type === "float") return { type, data, shape: shapes[name] }
    return {
      type,
      data: HostArray.fromNumbers("f16", x.shape, Float64Array.from(data)).data,
      shape: shapes[name]
    }
  }
  return {
    bytes: g.finish(out, shapes.q, type),
    feeds: { q: feed("q"), k: feed("k"), v: feed("v") },
    ordered: together ? (x) => swapped(x, [c.T, queries, c.D]) : same,
    result: type
  }
}

const angles = (T: number, D: number, of: (angle: number) => number): Float32Array =>
  Float32Array.from({ length: (T * D) / 2 }, (_, n) =>
    of(Math.floor(n / (D / 2)) * 10000 ** ((-2 * (n % (D / 2))) / D))
  )

const block = ({ T }: Block, inputs: Inputs, variant: string): OnnxModel => {
  const { width, heads, keyHeads, size } = blockSizes
  const g = builder(variant === "Attention" ? 23 : 17)
  const w = (name: string): Value => {
    const x = inputs[name] as HostArray.HostArray
    return g.constant(x.shape, floats(x))
  }
  const norm = (x: Value, gain: string): Value =>
    g.op("SimplifiedLayerNormalization", [x, w(gain)], { axis: -1, epsilon: { float: 1e-6 } })
  const reshape = (x: Value, shape: ReadonlyArray<number>): Value =>
    g.op("Reshape", [x, g.constant([shape.length], shape, "int64")])
  const tables = [angles(T, size, Math.cos), angles(T, size, Math.sin)].map((a) =>
    g.constant([T, size / 2], a)
  )
  const x = g.input("x", "float", [1, T, width])
  const y = norm(x, "attend")
  const [q, k, v] = (["q", "k", "v"] as const).map((name) => g.op("MatMul", [y, w(name)])) as [
    Value,
    Value,
    Value
  ]
  const attended = (): Value => {
    if (variant === "GroupQueryAttention") {
      const operands = [q, k, v, "", "", ...lengths(g, T), ...tables]
      const attributes = { num_heads: heads, kv_num_heads: keyHeads, do_rotary: 1 }
      return g.own("GroupQueryAttention", operands, 3, attributes)[0] as Value
    }
    const split = (z: Value, count: number): Value =>
      g.op("Transpose", [reshape(z, [1, T, count, size])], { perm: [0, 2, 1, 3] })
    const places = g.constant(
      [1, T],
      Array.from({ length: T }, (_, t) => t),
      "int64"
    )
    const turned = (z: Value, count: number): Value =>
      g.own("RotaryEmbedding", [split(z, count), places, ...tables], 1)[0] as Value
    const operands = [turned(q, heads), turned(k, keyHeads), split(v, keyHeads)] as const
    const shape: Attention = { ...blockAttention, T, S: T }
    const flat = (z: Value, count: number): Value => reshape(z, [keyHeads, (count / keyHeads) * T, size])
    const out =
      variant === "Attention"
        ? g.op("Attention", operands, { is_causal: 1 })
        : unfused(g, shape, [
            flat(operands[0], heads),
            flat(operands[1], keyHeads),
            flat(operands[2], keyHeads)
          ])
    const four = reshape(out, [1, heads, T, size])
    return reshape(g.op("Transpose", [four], { perm: [0, 2, 1, 3] }), [1, T, heads * size])
  }
  const middle = g.op("Add", [x, g.op("MatMul", [attended(), w("o")])])
  const z = norm(middle, "feed")
  const gate = g.op("MatMul", [z, w("gate")])
  const open = g.op("Mul", [gate, g.op("Sigmoid", [gate])])
  const hidden = g.op("Mul", [open, g.op("MatMul", [z, w("up")])])
  const out = g.op("Add", [middle, g.op("MatMul", [hidden, w("down")])])
  const data = floats(inputs["x"] as HostArray.HostArray)
  return {
    bytes: g.finish(out, [1, T, width]),
    feeds: { x: { type: "float", data, shape: [1, T, width] } },
    ordered: same,
    result: "float"
  }
}

const blockAttention: Attention = {
  kind: "attention",
  name: "block",
  T: 1,
  S: 1,
  heads: [blockSizes.heads, blockSizes.keyHeads],
  D: blockSizes.size,
  causal: true,
  dtype: "f32"
}

/** Graphs that say a case; which is fastest differs between engines and lengths. */
export const variants = (c: Case): ReadonlyArray<string> => {
  if (c.kind === "product") return ["MatMul"]
  if (c.kind === "block") return ["Attention", "GroupQueryAttention", "operators"]
  if (c.softcap !== undefined || c.alibi === true) return ["operators"]
  if (c.window !== undefined) return ["GroupQueryAttention", "operators"]
  const equal = c.heads[0] === c.heads[1] ? ["MultiHeadAttention"] : []
  return ["operators", "Attention", ...equal, ...(c.causal && c.T === c.S ? ["GroupQueryAttention"] : [])]
}

/** On WebAssembly `GroupQueryAttention` takes eight times as long as the others. */
export const webVariants = (c: Case): ReadonlyArray<string> =>
  c.kind === "block" ? variants(c) : variants(c).filter((name) => name !== "GroupQueryAttention")

/** On WebGPU: the fused operator first, and plain ones where that is wrong. `Attention` has no kernel there and would run on the processor. */
export const gpuVariants = (c: Case): ReadonlyArray<string> => {
  const fused = variants(c).filter((name) => name !== "operators" && name !== "Attention")
  if (c.kind === "product") return fused
  return c.kind === "attention" && c.T === 1 ? ["operators"] : [...fused.slice(0, 1), "operators"]
}

/** For engines and devices that take no f16: the numbers are the same, rounded to it, and stored as f32. */
export const widened =
  (names: (c: Case) => ReadonlyArray<string>) =>
  (c: Case): ReadonlyArray<string> =>
    c.kind === "attention" && c.dtype === "f16" ? names(c).map((name) => `${name}${stored32}`) : names(c)

const stored32 = " of f32"

export const onnxOf = (c: Case, variant: string): OnnxModel => {
  const inputs = inputsOf(c)
  if (c.kind === "attention") {
    const wide = variant.endsWith(stored32)
    return attention(c, wide ? variant.slice(0, -stored32.length) : variant, wide ? "f32" : c.dtype)
  }
  if (c.kind === "block") return block(c, inputs, variant)
  const g = builder()
  const feed = (name: string): Feed => {
    const x = inputs[name] as HostArray.HostArray
    return { type: "float", data: floats(x), shape: x.shape }
  }
  const feeds = { a: feed("a"), b: feed("b") }
  const out = g.op("MatMul", [g.input("a", "float", feeds.a.shape), g.input("b", "float", feeds.b.shape)])
  return { bytes: g.finish(out, shapeOf(c)), feeds, ordered: same, result: "float" }
}
