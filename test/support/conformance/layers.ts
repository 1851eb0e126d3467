import type { HostArray } from "../../../ir/HostArray.ts"
import * as nn from "../../../src/nn/index.ts"
import type { Layer } from "../../../src/nn/Layer.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import type { Case } from "./Case.ts"
import { bools, f32, type Literal, number, numbers } from "./literals.ts"

/** Transcribed literals once more, through layers: what was published is what a layer gives whose projections change nothing. */
export interface LayerCase extends Case {
  /** How many attention nodes it becomes. */
  readonly nodes: number
}

type T = Tensor.Tensor
type Inputs = { readonly [name: string]: HostArray }
type Given = { readonly [name: string]: T | undefined }

interface Parts {
  readonly inputs: Inputs
  readonly shape: ReadonlyArray<number>
  readonly nodes: number
  readonly build: (given: Given) => { readonly y: T; readonly scores?: T | undefined }
}

const prefix = "parameter."

/** Values of all parameters under their names, and `apply` over them. */
const withParams = <P extends nn.Params.Tree, I, O>(
  layer: Layer<P, I, O>,
  value: (name: string, shape: ReadonlyArray<number>) => ReadonlyArray<number>
): { readonly params: Inputs; readonly apply: (given: Given, inputs: I) => O } => ({
  params: Object.fromEntries(
    Object.entries(nn.Params.signature(layer.params)).map(([name, own]) => {
      const shape = own.shape as ReadonlyArray<number>
      return [prefix + name, f32(shape, value(name, shape))]
    })
  ),
  apply: (given, inputs) => layer.apply(nn.Params.nest(layer.params, given, prefix), inputs)
})

const identity = (size: number): ReadonlyArray<number> =>
  Array.from({ length: size * size }, (_, n) => (n % (size + 1) === 0 ? 1 : 0))

const count = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

const zeros = (shape: ReadonlyArray<number>): ReadonlyArray<number> => Array(count(shape)).fill(0)

const given = (c: Literal, field: string): ReadonlyArray<number> => numbers(c, field) ?? []

/** q (B, S, heads·dim), k and v (B, S, kvHeads·dim): a layer with identity projections; what was before stands in its cache. */
const packed = (c: Literal): Parts => {
  const batch = number(c, "batch") ?? 1
  const [dim, nq, nkv] = ["dim", "heads", "kvHeads"].map((f) => number(c, f)) as [number, number, number]
  const [queries, fresh] = [
    given(c, "q").length / (batch * nq * dim),
    given(c, "k").length / (batch * nkv * dim)
  ]
  const past = given(c, "pastK").length / (batch * nkv * dim)
  const total = past + fresh
  const [cap, window] = [number(c, "softcap") ?? 0, number(c, "window") ?? 0]
  const biases = numbers(c, "qkvBias")
  const sinks = numbers(c, "sink")
  const layer = nn.attention({
    features: nq * dim,
    heads: nq,
    kvHeads: nkv,
    headSize: dim,
    keyFeatures: nkv * dim,
    bias: biases === undefined ? false : { out: false, gate: false },
    sinks: sinks !== undefined,
    scale: number(c, "scale"),
    softcap: cap > 0 ? cap : undefined,
    window: window > 0 ? window - 1 : undefined,
    causal: c["causal"] === "bottom-right"
  })
  const places: { readonly [name: string]: readonly [number, number] } = {
    "query.bias": [0, nq * dim],
    "key.bias": [nq * dim, (nq + nkv) * dim],
    "value.bias": [(nq + nkv) * dim, (nq + 2 * nkv) * dim]
  }
  const { params, apply } = withParams(layer, (name, shape) => {
    // One sink for all heads is written once.
    if (name === "sinks") return Array.from({ length: nq }, (_, h) => sinks?.[h] ?? (sinks?.[0] as number))
    const place = places[name]
    return place === undefined ? identity(shape[0] as number) : (biases ?? []).slice(...place)
  })
  const before = (field: string): HostArray =>
    f32([batch, nkv, total, dim], grown(given(c, field), batch * nkv, past * dim, total * dim))
  const optional: Inputs = {
    ...(past === 0
      ? {}
      : {
          key: before("pastK"),
          value: before("pastV"),
          length: { dtype: "i32", shape: [], data: Int32Array.of(past) }
        }),
    ...(numbers(c, "bias") ? { bias: f32(c["biasShape"] as ReadonlyArray<number>, given(c, "bias")) } : {}),
    ...(numbers(c, "boolMask") ? { mask: bools([queries, total], given(c, "boolMask")) } : {})
  }
  return {
    inputs: {
      q: f32([batch, queries, nq * dim], given(c, "q")),
      k: f32([batch, fresh, nkv * dim], given(c, "k")),
      v: f32([batch, fresh, nkv * dim], given(c, "v")),
      ...params,
      ...optional
    },
    shape: [batch, queries, nq * dim],
    nodes: 1,
    build: (all) => {
      const { q, k, v, key, value, length, bias, mask } = all
      const cache = key && value && length ? { key, value, length } : undefined
      return { y: apply(all, { query: q as T, key: k, value: v, bias, mask, cache }).out }
    }
  }
}

/** Rows of `from` numbers as rows of `to`, zeros behind. */
const grown = (data: ReadonlyArray<number>, rows: number, from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: rows }, (_, r) => [
    ...data.slice(r * from, (r + 1) * from),
    ...Array(to - from).fill(0)
  ]).flat()

/** x (B, S, in) by w (in, 3·hidden): Keras' kernels are its columns. Where there is a scale it is our own layer. */
const qkvLayer = (c: Literal): Parts => {
  const [batch, length, from] = c["shape"] as readonly [number, number, number]
  const [heads, hidden] = [number(c, "heads"), number(c, "hidden")] as [number, number]
  const [w, b] = [given(c, "w"), given(c, "b")]
  const part = (n: number): ReadonlyArray<number> =>
    Array.from({ length: from }, (_, i) =>
      w.slice(i * 3 * hidden + n * hidden, i * 3 * hidden + (n + 1) * hidden)
    ).flat()
  const turned = (columns: ReadonlyArray<number>): ReadonlyArray<number> =>
    Array.from(
      { length: hidden * from },
      (_, n) => columns[(n % from) * hidden + Math.floor(n / from)] as number
    )
  const names = ["query", "key", "value"]
  const value =
    (kernel: (columns: ReadonlyArray<number>) => ReadonlyArray<number>) =>
    (name: string, shape: ReadonlyArray<number>): ReadonlyArray<number> => {
      const n = names.findIndex((own) => name.startsWith(own))
      if (n < 0) return name.endsWith("bias") ? zeros(shape) : identity(hidden)
      return name.endsWith("bias") ? b.slice(n * hidden, (n + 1) * hidden) : kernel(part(n))
    }
  const scale = number(c, "scale")
  const shared = {
    inputs: { x: f32([batch, length, from], given(c, "x")) },
    shape: [batch, length, hidden],
    nodes: 1
  }
  if (scale !== undefined) {
    const config = { features: from, heads, headSize: hidden / heads, outFeatures: hidden, scale }
    const { params, apply } = withParams(nn.attention(config), value(turned))
    return {
      ...shared,
      inputs: { ...shared.inputs, ...params },
      build: (all) => ({ y: apply(all, { query: all["x"] as T }).out })
    }
  }
  const layer = nn.keras.MultiHeadAttention({
    numHeads: heads,
    keyDim: hidden / heads,
    features: from,
    outputShape: hidden
  })
  const { params, apply } = withParams(
    layer,
    value((columns) => columns)
  )
  return {
    ...shared,
    inputs: { ...shared.inputs, ...params },
    build: (all) => ({ y: apply(all, { query: all["x"] as T, value: all["x"] as T }).out })
  }
}

const kerasScores =
  (scoreMode: "dot" | "concat") =>
  (c: Literal): Parts => {
    const [length, dim] = [number(c, "S"), number(c, "dim")] as [number, number]
    const { params, apply } = withParams(nn.keras.Attention({ scoreMode }), () => [1])
    const tensor = (name: string) => f32([1, length, dim], given(c, name))
    const flags = (name: string) => (numbers(c, name) ? { [name]: bools([1, length], given(c, name)) } : {})
    return {
      inputs: {
        q: tensor("q"),
        k: tensor("k"),
        v: tensor("v"),
        ...flags("valueMask"),
        ...flags("queryMask"),
        ...params
      },
      shape: [1, length, dim],
      nodes: scoreMode === "dot" ? 1 : 0,
      build: (all) => {
        const { q, k, v, valueMask, queryMask } = all
        const optional = {
          ...(k && { key: k }),
          ...(valueMask && { valueMask }),
          ...(queryMask && { queryMask })
        }
        const returnAttentionScores = numbers(c, "scores") !== undefined
        const { out, scores } = apply(all, {
          query: q as T,
          value: v as T,
          ...optional,
          returnAttentionScores
        })
        return { y: out, ...(scores && { scores }) }
      }
    }
  }

/** Every parameter holds cos(0), cos(1), … in its own order. */
const cosines = (_: string, shape: ReadonlyArray<number>): ReadonlyArray<number> =>
  Array.from({ length: count(shape) }, (_, n) => Math.cos(n))

const torchLayer = (c: Literal): Parts => {
  const [shape, memShape] = [c["shape"], c["memShape"]] as [
    ReadonlyArray<number>,
    ReadonlyArray<number> | undefined
  ]
  const [dModel, nhead] = [number(c, "dModel"), number(c, "heads")] as [number, number]
  const options = { dimFeedforward: number(c, "ff") as number, layerNormEps: number(c, "eps") as number }
  // Flags are rows of the batch, in order.
  const flags = (name: string, like: ReadonlyArray<number>) =>
    numbers(c, name) ? { [name]: bools([like[1] as number, like[0] as number], given(c, name)) } : {}
  const x = { x: f32(shape, given(c, "x")), ...flags("keyPadding", shape) }
  if (memShape === undefined) {
    const { params, apply } = withParams(nn.torch.TransformerEncoderLayer(dModel, nhead, options), cosines)
    return {
      inputs: { ...x, ...params },
      shape,
      nodes: 1,
      build: (all) => ({ y: apply(all, { src: all["x"] as T, srcKeyPaddingMask: all["keyPadding"] }) })
    }
  }
  const { params, apply } = withParams(nn.torch.TransformerDecoderLayer(dModel, nhead, options), cosines)
  return {
    inputs: { ...x, mem: f32(memShape, given(c, "mem")), ...flags("memKeyPadding", memShape), ...params },
    shape,
    nodes: 2,
    build: (all) => ({
      y: apply(all, {
        tgt: all["x"] as T,
        memory: all["mem"] as T,
        tgtKeyPaddingMask: all["keyPadding"],
        memoryKeyPaddingMask: all["memKeyPadding"]
      })
    })
  }
}

/** Scores that are all zero, whose window alone counts. */
const windowed = (c: Literal): Parts => {
  const v = given(c, "v")
  const window = [number(c, "left"), number(c, "right")] as [number, number]
  const layer = nn.attention({ features: 1, heads: 1, bias: false, window })
  const { params, apply } = withParams(layer, (name) => [name.startsWith("query") ? 0 : 1])
  return {
    inputs: { x: f32([1, v.length, 1], v), ...params },
    shape: [1, v.length, 1],
    nodes: 1,
    build: (all) => ({ y: apply(all, { query: all["x"] as T }).out })
  }
}

const kinds: { readonly [kind: string]: (c: Literal) => Parts } = {
  gqa: packed,
  mha: packed,
  "quiet-softmax": packed,
  "qkv-layer": qkvLayer,
  "keras-dot": kerasScores("dot"),
  "keras-concat": kerasScores("concat"),
  "torch-encoder": torchLayer,
  "torch-decoder": torchLayer,
  "onnx-window": windowed
}

/** A literal through a layer; undefined where no layer is known for its kind. */
export const layerCase = (c: Literal): LayerCase | undefined => {
  const make = kinds[c.kind]
  if (make === undefined) return undefined
  const { inputs, shape, nodes, build } = make(c)
  const scores = numbers(c, "scores")
  const length = number(c, "S") as number
  return {
    name: c.name,
    kind: c.kind,
    tolerance: c.tol,
    attention: nodes === 1,
    nodes,
    inputs,
    expected: { y: f32(shape, c.y), ...(scores && { scores: f32([1, length, length], scores) }) },
    build: (all) => build(all) as { readonly [name: string]: T }
  }
}
