import { describe, expect, test } from "vitest"
import type { Bindings } from "../../../ir/Dim.ts"
import * as Limits from "../../../ir/Limits.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { dispatchesOf, programOf } from "../../support/lowered.ts"
import * as Rotary from "../../support/nn/rotary.ts"

type Values = { readonly [name: string]: Tensor.Tensor }

const features = 64
const shared = ["cos", "sin", "length"]

const named = (values: object, n: number): object =>
  Object.fromEntries(
    Object.entries(values).map(([name, v]) => [shared.includes(name) ? name : `${name}.${n}`, v])
  )

/** Names of the kernels that a call of so many layers dispatches. */
const dispatches = (
  config: Rotary.Rotary,
  layers: number,
  cached: boolean,
  limits: Limits.Limits,
  sizes: Bindings
): ReadonlyArray<string> => {
  const numbers = Array.from({ length: layers }, (_, n) => n)
  const own = {
    ...Rotary.signature(config, features, cached ? "f32" : undefined),
    ...Rotary.layerSignature(config, features)
  }
  const fn = (values: Values) => {
    let x = values["x"] as Tensor.Tensor
    const caches = numbers.flatMap((n) => {
      const p = Object.fromEntries(
        Object.keys(own).map((name) => [name, values[shared.includes(name) ? name : `${name}.${n}`]])
      )
      const { out, keys, values: v } = Rotary.layer(config, p as Values, x)
      x = out
      return cached ? Object.entries(named({ keys, values: v }, n)) : []
    })
    return { ...Object.fromEntries(caches), x }
  }
  const signature = Object.assign(
    { x: spec("f32", ["B", "T", features]) },
    ...numbers.map((n) => named(own, n))
  )
  const donate = cached ? numbers.flatMap((n) => [`keys.${n}`, `values.${n}`]) : []
  return dispatchesOf(programOf({ fn, signature, donate }, limits), sizes, donate)
}

const base: Limits.Limits = {
  ...Limits.portable,
  maxStorageBuffersPerShaderStage: 12,
  twinProducts: true,
  productsInPlace: true,
  rowEpilogues: true
}
const devices = {
  software: {
    ...base,
    kind: "cpu" as const,
    maxComputeWorkgroupStorageSize: 32768,
    subgroups: { min: 4, max: 4 }
  },
  gpu: base
}

const some = { heads: 8, kvHeads: 2, size: 16, turned: 16, spelling: "rotateHalf" } as const
const models: { readonly [name: string]: Rotary.Rotary } = {
  "GPT-NeoX: packed by heads, a quarter turns": {
    ...some,
    kvHeads: 8,
    turned: 4,
    products: "perHead",
    bias: true
  },
  "GPT-J: neighbours of a half turn": {
    ...some,
    kvHeads: 8,
    turned: 8,
    products: "apart",
    spelling: "strided"
  },
  "StableLM: a quarter turns": { ...some, turned: 4, products: "apart" },
  "Phi-3: packed, all turns": { ...some, products: "packed" },
  "Phi-4: packed, three quarters turn": { ...some, turned: 12, products: "packed" }
}

/** Heads are normalised before they turn, which needs all of a head: a kernel more, of queries and keys. */
const normalised: typeof models = {
  "Qwen 3: RMS norms, all turns": { ...some, products: "apart", norm: "rms" },
  "packed, layer norms, a quarter turns": { ...some, turned: 4, products: "packed", norm: "layer" }
}

const prompt = ["norm", "matmul", "flash_prefill", "matmul", "norm", "matmul", "matmul"]
const word = [
  "norm",
  "matmul_vector",
  "flash_decode",
  "flash_combine",
  "matmul_vector",
  "norm",
  "matmul_vector",
  "matmul_vector"
]

describe.each(Object.entries(devices))("on a %s device", (_, limits) => {
  const layer = (config: Rotary.Rotary, cached: boolean, sizes: Bindings): ReadonlyArray<string> => {
    const [one, two] = [1, 2].map((n) => dispatches(config, n, cached, limits, sizes)) as [
      ReadonlyArray<string>,
      ReadonlyArray<string>
    ]
    return two.slice(one.length).map((name) => (name.endsWith("norm") ? "norm" : name))
  }

  describe.each(Object.entries(models))("%s", (_name, config) => {
    /** Software devices compile a shader of so many products too slowly: what turns in part is a kernel of its own there. */
    const apart = limits.kind === "cpu" && config.turned < config.size
    const [prompts, words] = [prompt, word].map(([first, product, ...rest]) =>
      apart ? [first, product, "turns", ...rest] : [first, product, ...rest]
    )
    const kernels = (cached: boolean, sizes: Bindings): ReadonlyArray<string> =>
      layer(config, cached, sizes).map((name) => (name.startsWith("map") ? "turns" : name))

    test("a prompt is seven dispatches a layer, with a cache and without", () => {
      expect(kernels(false, { B: 1, T: 512 })).toEqual(prompts)
      expect(kernels(true, { B: 1, T: 512, C: 512 })).toEqual(prompts)
    })

    test("one more word is eight, attention being two", () => {
      expect(kernels(true, { B: 1, T: 1, C: 4096 })).toEqual(words)
    })
  })

  describe.each(Object.entries(normalised))("%s", (_name, config) => {
    test("norm and rotation of queries and keys are one dispatch more, which writes keys in place", () => {
      const one = ([first, product, ...rest]: ReadonlyArray<string>) => [first, product, "norm", ...rest]
      expect(layer(config, false, { B: 1, T: 512 })).toEqual(one(prompt))
      expect(layer(config, true, { B: 1, T: 512, C: 512 })).toEqual(one(prompt))
      expect(layer(config, true, { B: 1, T: 1, C: 4096 })).toEqual(one(word))
    })
  })
})
