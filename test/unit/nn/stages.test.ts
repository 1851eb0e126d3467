import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { prepare } from "../../support/nn/face.ts"
import { at, bound, build, expectDense, randomDense, run } from "../../support/tensors.ts"

describe("stages of attention", () => {
  it("are what each step gives, and the log-sum-exp of rows is that of the scores", () => {
    const [B, T, F, N] = [2, 4, 6, 2]
    const { values, bounds, give, apply } = prepare(
      nn.attention({ features: F, heads: N, bias: false, softcap: 0.5, causal: true, dtype: "f64" })
    )
    const x = randomDense(1, [B, T, F])
    const added = randomDense(2, [B, N, T, T])
    const { stages } = apply({ query: give(bound("f64", x)), bias: give(bound("f64", added)) })
    const row = (of: "query" | "key", b: number, t: number, h: number): ReadonlyArray<number> =>
      [0, 1, 2].map((d) => {
        const weight = values[`${of}.weight`]
        return [0, 1, 2, 3, 4, 5].reduce(
          (s, f) => s + at(x, b, t, f) * (weight ? at(weight, h * 3 + d, f) : 0),
          0
        )
      })
    const logits = build([B, N, T, T], (b, h, i, j) => {
      const key = row("key", b, j, h)
      return row("query", b, i, h).reduce((s, y, d) => s + y * (key[d] as number), 0) / Math.sqrt(3)
    })
    const capped = build(logits.shape, (...p) => 0.5 * Math.tanh(at(logits, ...p) / 0.5))
    const scores = build(logits.shape, (b, h, i, j) =>
      j <= i ? at(capped, b, h, i, j) + at(added, b, h, i, j) : -Infinity
    )
    const sums = build([B, N, T], (b, h, i) =>
      Math.log([0, 1, 2, 3].reduce((s, j) => s + Math.exp(at(scores, b, h, i, j)), 0))
    )
    expectDense(run(stages.logits, bounds), logits)
    expectDense(run(stages.capped, bounds), capped)
    expectDense(run(stages.scores, bounds), scores)
    expectDense(run(Tensor.logSumExp(stages.scores as Tensor.Tensor<"f64">, -1), bounds), sums)
    const weights = build(logits.shape, (b, h, i, j) => Math.exp(at(scores, b, h, i, j) - at(sums, b, h, i)))
    expectDense(run(stages.weights, bounds), weights)
    expectDense(run(stages.kept, bounds), weights)
  })

  const signatureOf = (tree: nn.Params.Tree) => ({
    ...nn.Params.signature(tree),
    x: spec("f32", [3, 1, 4])
  })

  it("of any layer fuse or compile says why", async () => {
    const torch = nn.torch.MultiheadAttention(4, 2)
    const f = await Effect.runPromise(
      compile(
        ({ x, ...p }) => {
          const call = { query: x, key: x, value: x, needWeights: false }
          return torch.apply(nn.Params.nest(torch.params, p), call).out
        },
        signatureOf(torch.params),
        { requireFused: true }
      ).pipe(Effect.provide(Reference.layer))
    )
    const ops = f.graph("after-fuse-attention").nodes.map(({ op }) => op)
    expect(ops.filter((op) => op === "flash_attention" || op === "softmax")).toEqual(["flash_attention"])

    const additive = nn.keras.AdditiveAttention({ features: 4 })
    const refused = await Effect.runPromise(
      compile(
        ({ x, ...p }) => additive.apply(nn.Params.nest(additive.params, p), { query: x, value: x }).out,
        signatureOf(additive.params),
        { requireFused: true }
      ).pipe(Effect.provide(Reference.layer), Effect.flip)
    )
    expect(refused.message).toMatch(/fuse/)
  })
})
