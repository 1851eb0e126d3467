/** The model as an ONNX file with caches in and out, as exported models have them. */
import { floats } from "../cases/inputs.ts"
import { builder, type Output, type Value } from "../peers/onnxBuilder.ts"
import { angles, count, epsilon, prompt, sizes, weights } from "./model.ts"

const { words, features: F, layers, heads, keyHeads, size: D } = sizes

/** Attention by the operator that exported models use, or by plain ones. */
export const variants = ["GroupQueryAttention", "operators"] as const

/** Names of the caches that go in, in order. */
export const caches = Array.from({ length: layers }, (_, n) => [`keys.${n}`, `values.${n}`]).flat()

/** The file, and the names of its results: logits, then the caches in order. */
export interface File {
  readonly bytes: Uint8Array
  readonly results: readonly [logits: string, ...caches: ReadonlyArray<string>]
}

export const onnx = (variant: (typeof variants)[number]): File => {
  const g = builder()
  const state = weights()
  const most = prompt.length + count
  const w = (name: string): Value => {
    const x = state[name]
    if (x === undefined) throw new Error(`no weight ${name}`)
    return g.constant(x.shape, floats(x))
  }
  const linear = (x: Value, name: string): Value =>
    g.op("MatMul", [x, g.op("Transpose", [w(`${name}.weight`)], { perm: [1, 0] })])
  const norm = (x: Value, name: string): Value =>
    g.op("SimplifiedLayerNormalization", [x, w(`${name}.weight`)], { axis: -1, epsilon: { float: epsilon } })
  const tables = [angles(0, most, Math.cos), angles(0, most, Math.sin)].map((a) =>
    g.constant([most, D / 2], a)
  )
  const reshape = (x: Value, shape: ReadonlyArray<number>): Value =>
    g.op("Reshape", [x, g.constant([shape.length], shape, "int64")])
  const split = (x: Value, n: number): Value =>
    g.op("Transpose", [reshape(x, [1, -1, n, D])], { perm: [0, 2, 1, 3] })

  const tokens = g.input("tokens", "int64", [1, "T"])
  const fused = variant === "GroupQueryAttention"
  const lengths = fused ? [g.input("last", "int32", [1]), g.input("total", "int32", [1])] : []
  const [places, mask] = fused
    ? ["", ""]
    : [g.input("places", "int64", [1, "T"]), g.input("mask", "float", ["R", "S"])]
  const table = w("model.embed_tokens.weight")
  const outputs: Array<Output> = []
  let x = g.op("Gather", [table, tokens])
  for (let n = 0; n < layers; n++) {
    const own = `model.layers.${n}`
    const y = norm(x, `${own}.input_layernorm`)
    const [q, k, v] = ["q", "k", "v"].map((p) => linear(y, `${own}.self_attn.${p}_proj`)) as [
      Value,
      Value,
      Value
    ]
    const past = [`keys.${n}`, `values.${n}`].map((name) =>
      g.input(name, "float", [1, keyHeads, "P", D])
    ) as [Value, Value]
    const attended = (): readonly [Value, Value, Value] => {
      if (fused) {
        const attributes = { num_heads: heads, kv_num_heads: keyHeads, do_rotary: 1 }
        const made = g.own("GroupQueryAttention", [q, k, v, ...past, ...lengths, ...tables], 3, attributes)
        return made as unknown as readonly [Value, Value, Value]
      }
      const turned = (z: Value, of: number): Value =>
        g.own("RotaryEmbedding", [split(z, of), places, ...tables], 1)[0] as Value
      const keys = g.op("Concat", [past[0], turned(k, keyHeads)], { axis: 2 })
      const values = g.op("Concat", [past[1], split(v, keyHeads)], { axis: 2 })
      const flat = (z: Value): Value => reshape(z, [keyHeads, -1, D])
      const scaled = g.op("Mul", [flat(turned(q, heads)), g.constant([], [D ** -0.5])])
      const logits = g.op("MatMul", [scaled, g.op("Transpose", [flat(keys)], { perm: [0, 2, 1] })])
      const weighted = g.op("Softmax", [g.op("Add", [logits, mask])], { axis: -1 })
      const out = reshape(g.op("MatMul", [weighted, flat(values)]), [1, heads, -1, D])
      return [reshape(g.op("Transpose", [out], { perm: [0, 2, 1, 3] }), [1, -1, heads * D]), keys, values]
    }
    const [out, keys, values] = attended()
    const shape = [1, keyHeads, "S", D]
    outputs.push({ value: keys, shape, type: "float" }, { value: values, shape, type: "float" })
    x = g.op("Add", [x, linear(out, `${own}.self_attn.o_proj`)])
    const z = norm(x, `${own}.post_attention_layernorm`)
    const gate = linear(z, `${own}.mlp.gate_proj`)
    const open = g.op("Mul", [g.op("Mul", [gate, g.op("Sigmoid", [gate])]), linear(z, `${own}.mlp.up_proj`)])
    x = g.op("Add", [x, linear(open, `${own}.mlp.down_proj`)])
  }
  const last = g.op("Gather", [x, g.constant([1], [-1], "int64")], { axis: 1 })
  const logits = g.op("MatMul", [norm(last, "model.norm"), g.op("Transpose", [table], { perm: [1, 0] })])
  if (F !== heads * D) throw new Error("heads do not fill the features")
  return {
    bytes: g.finish(logits, [1, 1, words], "float", outputs),
    results: [logits, ...outputs.map(({ value }) => value)]
  }
}

/** What is added to the logits of `length` queries after `position` keys, for the query heads that share a key head: [rows, keys]. */
export const maskOf = (
  length: number,
  position: number
): { readonly data: Float32Array; readonly shape: ReadonlyArray<number> } => {
  const [rows, keys] = [(heads / keyHeads) * length, position + length]
  const data = Float32Array.from({ length: rows * keys }, (_, n) =>
    n % keys <= position + (Math.floor(n / keys) % length) ? 0 : -1e30
  )
  return { data, shape: [rows, keys] }
}
