/** Layers of every kind on WebAssembly and on WebGPU: what the float64 oracle makes of them as they are written. */
import { Effect } from "effect"
import { expect, test } from "vitest"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { compile } from "../../src/compile.ts"
import type { Definition } from "../../src/define.ts"
import * as Mask from "../../src/Mask.ts"
import * as nn from "../../src/nn/index.ts"
import { spec } from "../../src/spec.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as Arrays from "../support/arrays.ts"
import { expectOutputs } from "../support/tolerance.ts"
import { sharedLayer } from "../support/webgpu.ts"

const [F, H] = [16, 4]
const sizes = { B: 2, T: 5, S: 7, D: 4 }
const x = spec("f32", ["B", "T", F])
const k = spec("f32", ["B", "S", F])
const tokens = spec("i32", ["B", "T"])
const wanted = { heads: H, features: F }
const option = { requireFused: true }

/** Definitions, and what some of their arguments are. */
const definitions: {
  readonly [name: string]: readonly [definition: unknown, given?: nn.State]
} = {
  "grouped heads, rotated, normalised, causal": [
    nn.define(
      nn.attention({ ...wanted, kvHeads: 2, causal: true, rope: { dims: 2 }, qkNorm: "rms" }),
      { x },
      (apply, i) => apply({ query: i.x }).out,
      option
    )
  ],
  "other keys: a gate, slopes, a softcap, sinks, a window, several axes out": [
    nn.define(
      nn.attention({
        ...{ ...wanted, gate: true, alibi: true, softcap: 2, sinks: true, window: [2, 1] as const },
        outFeatures: [2, 3]
      }),
      { x, k },
      (apply, i) => apply({ query: i.x, key: i.k }).out,
      option
    )
  ],
  "lengths, one of them 0, and keys behind the others": [
    nn.define(
      nn.attention({ ...wanted, extraKey: true, zeroKey: true }),
      { x, k, lengths: spec("i32", ["B"]) },
      (apply, i) => apply({ query: i.x, key: i.k, keyLengths: i.lengths }).out,
      option
    ),
    { lengths: HostArray.fromNumbers("i32", [2], [3, 0]) }
  ],
  "texts one behind the other": [
    nn.define(
      nn.attention({ ...wanted, causal: true, rope: {} }),
      { x: spec("f32", ["T", F]), offsets: spec("i32", ["D"]) },
      (apply, i) => apply({ query: i.x, offsets: i.offsets }).out,
      option
    ),
    { offsets: HostArray.fromNumbers("i32", [4], [0, 1, 1, 5]) }
  ],
  "computed in f16": [
    nn.define(
      nn.attention({ ...wanted, compute: "f16" }),
      { x },
      (apply, i) => apply({ query: i.x }).out,
      option
    )
  ],
  "PyTorch's, with weights and dropout": [
    nn.define(nn.torch.MultiheadAttention(F, H, { addBiasKv: true, dropout: 0.5 }), { x }, (apply, i) => {
      const own = { query: i.x, key: i.x, value: i.x }
      const { out, weights } = apply({ ...own, training: true, seed: 3 })
      return [out, weights as typeof out]
    })
  ],
  "PyTorch's encoder": [
    nn.define(
      nn.torch.TransformerEncoderLayer(F, H, { dimFeedforward: 24, batchFirst: true }),
      { x },
      (apply, i) => apply({ src: i.x, srcMask: Mask.causal, isCausal: true }),
      option
    )
  ],
  "MLX's transformer": [
    nn.define(
      nn.mlx.Transformer({ dims: F, numHeads: H, numEncoderLayers: 1, numDecoderLayers: 1 }),
      { x, k },
      (apply, i) => apply({ src: i.k, tgt: i.x, tgtMask: Mask.causal }),
      option
    )
  ],
  "Keras', with a window and scores": [
    nn.define(
      nn.keras.MultiHeadAttention({ numHeads: H, keyDim: 4, features: F, useGate: true, slidingWindow: 2 }),
      { x },
      (apply, i) => {
        const { out, scores } = apply({ query: i.x, value: i.x, returnAttentionScores: true })
        return [out, scores as typeof out]
      }
    )
  ],
  "Flax', with norms": [
    nn.define(
      nn.flax.MultiHeadAttention({ numHeads: H, inFeatures: F, numKvHeads: 2, normalizeQk: true }),
      { x },
      (apply, i) => apply({ inputsQ: i.x, isCausal: true }).out,
      option
    )
  ],
  "GPT-2": [
    nn.define(
      nn.gpt2({ words: 11, positions: 9, features: F, layers: 1, heads: H }),
      { tokens },
      (apply, i) => apply({ tokens: i.tokens }).logits,
      option
    )
  ],
  BERT: [
    nn.define(
      nn.bert({ words: 11, positions: 9, features: F, hidden: 20, layers: 1, heads: H }),
      { tokens, mask: spec("bool", ["B", "T"]) },
      (apply, i) => apply({ tokens: i.tokens, mask: i.mask }).pooled,
      option
    )
  ]
}

test.each(Object.entries(definitions))("%s", async (_, [definition, given = {}]) => {
  const { fn, signature, options } = definition as Definition
  for (const layer of [Wasm.layer, await sharedLayer()]) {
    const program = Effect.gen(function* () {
      const f = yield* compile(fn, signature, options)
      const traced = f.graph("traced")
      const from = Arrays.random(3)
      const inputs = traced.inputs.map(({ attrs: { name }, type }) => {
        const shape = type.shape.map((d) => sizes[d.key as keyof typeof sizes] ?? Number(d.key))
        if (given[name] !== undefined) return given[name]
        const drawn = Arrays.array(from, type.dtype, shape, "uniform")
        // Words are whole numbers that the table holds.
        for (let n = 0; n < drawn.data.length && type.dtype === "i32"; n++)
          drawn.data[n] = Math.abs(drawn.data[n] as number)
        return drawn
      })
      const named = Object.fromEntries(traced.inputs.map((i, n) => [i.attrs.name, inputs[n]]))
      const results: unknown = yield* f(named as never)
      const actual = (
        HostArray.isHostArray(results) ? [results] : results
      ) as ReadonlyArray<HostArray.HostArray>
      const expected = ReferenceBackend.evaluate(traced, inputs, sizes, { precision: "f64" })
      expect(f.diagnostics.filter((d) => d.outcome === "refused")).toEqual([])
      expectOutputs(traced, sizes, actual, expected, { reassociated: true, exponent: 16 })
    })
    await Effect.runPromise(Effect.provide(program, layer))
  }
})
