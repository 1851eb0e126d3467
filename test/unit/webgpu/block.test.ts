import { describe, expect, test } from "vitest"
import type { Bindings } from "../../../ir/Dim.ts"
import * as Limits from "../../../ir/Limits.ts"
import { decoder, gpt2, Params } from "../../../src/nn/index.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { dispatchesOf, programOf } from "../../support/lowered.ts"

type Values = { readonly [name: string]: Tensor.Tensor }

interface Model {
  readonly fn: (values: Values) => unknown
  readonly signature: object
  readonly donate?: ReadonlyArray<string>
}

const tokens = spec("i32", ["B", "T"])

const families = {
  llama: (layers: number, features: number) => ({
    model: decoder({ words: 100, features, layers, heads: 8, kvHeads: 2, hidden: (11 * features) / 4 }),
    heads: 2
  }),
  gpt2: (layers: number, features: number) => ({
    model: gpt2({ words: 100, positions: 512, features, layers, heads: 8 }),
    heads: 8
  })
}

/** A model that takes whole texts, or goes on with a cache that each call gives away. */
const modelOf =
  (family: keyof typeof families, cached: boolean, features = 64) =>
  (layers: number): Model => {
    const { model, heads } = families[family](layers, features)
    const numbers = Array.from({ length: layers }, (_, n) => n)
    const caches = cached ? numbers.flatMap((n) => [`keys.${n}`, `values.${n}`]) : []
    return {
      fn: (values) => {
        const given = (name: string): Tensor.Tensor => values[name] as Tensor.Tensor
        const own = numbers.map((n) => ({
          key: given(`keys.${n}`),
          value: given(`values.${n}`),
          length: given("length")
        }))
        // Both families take the same arguments beside parameters of their own.
        const out = (model as ReturnType<typeof decoder>).apply(
          Params.nest(model.params as never, values, "params."),
          { tokens: given("tokens"), ...(cached ? { caches: own } : {}) }
        )
        const next = (out.caches ?? []).flatMap((c, n) => [
          [`keys.${n}`, c.key] as const,
          [`values.${n}`, c.value] as const
        ])
        return { ...Object.fromEntries(next), logits: out.logits }
      },
      signature: {
        ...Params.signature(model.params, "params."),
        tokens,
        ...(cached ? { length: spec("i32", ["B"]) } : {}),
        ...Object.fromEntries(caches.map((c) => [c, spec("f32", ["B", heads, "C", features / 8])]))
      },
      donate: caches
    }
  }

type Dispatches = (sizes: Bindings) => ReadonlyArray<string>

/** Names of the kernels that a call dispatches. */
const dispatches = (model: Model, limits: Limits.Limits): Dispatches => {
  const program = programOf(model, limits)
  return (sizes) => dispatchesOf(program, sizes, model.donate)
}

/** The last norm and the prediction of words are no layer's. */
const tail = 2

/** What a second layer adds. */
const block = (model: (layers: number) => Model, limits: Limits.Limits): Dispatches => {
  const [one, two] = [1, 2].map((layers) => dispatches(model(layers), limits)) as [Dispatches, Dispatches]
  return (sizes) => {
    const all = two(sizes)
    return all.slice(one(sizes).length - tail, all.length - tail)
  }
}

const software: Limits.Limits = {
  ...Limits.portable,
  kind: "cpu",
  maxComputeWorkgroupStorageSize: 32768,
  maxStorageBuffersPerShaderStage: 12,
  twinProducts: true,
  productsInPlace: true,
  subgroups: { min: 4, max: 4 }
}
const devices = {
  software,
  gpu: { ...Limits.portable, twinProducts: true, productsInPlace: true, maxStorageBuffersPerShaderStage: 12 }
}
const prompt = { B: 1, T: 512, C: 512 }
const word = { B: 1, T: 1, C: 4096 }

describe.each(Object.entries(devices))("dispatches of a layer, on a %s device", (_, limits) => {
  test("Llama, a prompt: projections together with the rotation of queries and keys, attention, a gated layer", () => {
    expect(block(modelOf("llama", false), limits)(prompt)).toEqual([
      "rms_norm",
      "matmul",
      "flash_prefill",
      "matmul",
      "rms_norm",
      "matmul",
      "matmul"
    ])
  })

  test("Llama, one more word: projections write keys and values in place", () => {
    expect(block(modelOf("llama", true), limits)(word)).toEqual([
      "rms_norm",
      "matmul_vector",
      "flash_decode",
      "flash_combine",
      "matmul_vector",
      "rms_norm",
      "matmul_vector",
      "matmul_vector"
    ])
  })

  test("GPT-2, a prompt: nothing but products, attention and norms", () => {
    expect(block(modelOf("gpt2", false), limits)(prompt)).toEqual([
      "layer_norm",
      "matmul",
      "flash_prefill",
      "matmul",
      "layer_norm",
      "matmul",
      "matmul"
    ])
  })

  test("GPT-2, one more word: projections write keys and values in place", () => {
    expect(block(modelOf("gpt2", true), limits)(word)).toEqual([
      "layer_norm",
      "matmul_vector",
      "flash_decode",
      "flash_combine",
      "matmul_vector",
      "layer_norm",
      "matmul_vector",
      "matmul_vector"
    ])
  })
})

/** What a kernel is a part of: the second kernel of a split sum belongs to its product, that of split keys to its attention. */
const partOf = (kernel: string): string =>
  kernel.startsWith("matmul")
    ? kernel === "matmul_combine"
      ? "rest of a product"
      : "product"
    : kernel.startsWith("flash")
      ? "attention"
      : kernel.endsWith("norm")
        ? "norm"
        : kernel

const wide = [
  ["llama", false],
  ["llama", true],
  ["gpt2", false],
  ["gpt2", true]
] as const

describe.each(Object.entries(devices))("a layer of 512 features, on a %s device", (name, limits) => {
  test.each(wide)(
    "%s, with a cache: %s: four products, attention, two norms, at any length",
    (family, cached) => {
      const kernelsOf = block(modelOf(family, cached, 512), limits)
      for (const T of [1, 2, 3, 4, 5, 8, 9, 31, 33, 128, 512]) {
        const count: { [part: string]: number } = {}
        const kernels = kernelsOf({ B: 1, T, C: 512 })
        for (const part of kernels.map(partOf)) count[part] = (count[part] ?? 0) + 1
        const { attention, "rest of a product": rest = 0, ...others } = count
        expect(others, `${T} positions: ${kernels}`).toEqual({ product: 4, norm: 2 })
        expect(attention).toBeLessThanOrEqual(2)
        expect(rest).toBeLessThanOrEqual(name === "gpu" ? 4 : 0)
      }
    }
  )
})

test("with the eight buffers that every device binds, Llama takes one dispatch more", () => {
  const limits = { ...Limits.portable, twinProducts: true, productsInPlace: true }
  expect(block(modelOf("llama", false), limits)(prompt)).toHaveLength(8)
  expect(block(modelOf("llama", true), limits)(word)).toHaveLength(10)
})
