import { describe, expect, it } from "vitest"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { prepare } from "../../support/nn/face.ts"
import { type Block, block, gelu, type Options } from "../../support/nn/loops.ts"
import { linears, swapped } from "../../support/nn/torch.ts"
import { bound, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [N, L, S, E, H, F] = [2, 4, 3, 8, 2, 12]

/** PyTorch's parameters as a block of the loops; a decoder's second norm is that of its memory. */
const blockOf = (p: { readonly [name: string]: Dense }, decoder: boolean): Block => {
  const own = (name: string) => ({ weight: p[`${name}.weight`] as Dense, bias: p[`${name}.bias`] })
  return {
    attention: linears(p, "self_attn."),
    attentionNorm: own("norm1"),
    ...(decoder ? { cross: linears(p, "multihead_attn."), crossNorm: own("norm2") } : {}),
    up: own("linear1"),
    down: own("linear2"),
    mlpNorm: own(decoder ? "norm3" : "norm2")
  }
}

const relu = (x: number): number => Math.max(x, 0)
const padding = [0, 0, 0, 1, 0, 0, 1, 1]
const memoryPadding = [0, 1, 1, 0, 0, 1]
const flags = (shape: ReadonlyArray<number>, data: ReadonlyArray<number>) => bound("bool", dense(shape, data))

interface Case {
  readonly options: nn.torch.TransformerOptions
  readonly loops?: Partial<Options>
  readonly masked?: boolean
}

const cases: { readonly [name: string]: Case } = {
  "defaults: norms behind the sum, relu, the batch second": { options: {} },
  "norms first": { options: { normFirst: true }, loops: { normFirst: true } },
  "gelu, the batch first": { options: { activation: "gelu", batchFirst: true }, loops: { activation: gelu } },
  "no bias, another epsilon": { options: { bias: false, layerNormEps: 0.1 }, loops: { epsilon: 0.1 } },
  "causal, with padding that is true where it is ignored": {
    options: {},
    masked: true,
    loops: {
      causal: true,
      visible: (b, j) => padding[b * L + j] === 0,
      met: (b, j) => memoryPadding[b * S + j] === 0
    }
  }
}

const given = ({ options, loops }: Case) => ({
  torch: { dimFeedforward: F, dtype: "f64", ...options } as const,
  loops: { heads: H, epsilon: 1e-5, normFirst: false, activation: relu, ...loops },
  arranged: (x: Dense): Dense => (options.batchFirst === true ? x : swapped(x))
})

describe("torch.TransformerEncoderLayer", () => {
  it.each(Object.entries(cases))("%s", (_, own) => {
    const { torch, loops, arranged } = given(own)
    const { values, bounds, give, apply } = prepare(nn.torch.TransformerEncoderLayer(E, H, torch))
    const x = randomDense(1, [N, L, E])
    const out = apply({
      src: give(bound("f64", arranged(x))),
      ...(own.masked && {
        srcMask: Mask.causal,
        srcKeyPaddingMask: give(flags([N, L], padding)),
        isCausal: true
      })
    })
    expectDense(run(out, bounds), arranged(block(x, blockOf(values, false), loops)))
  })

  it("has PyTorch's parameters and defaults", () => {
    const { params } = nn.torch.TransformerEncoderLayer(E, H)
    expect(Object.entries(nn.Params.signature(params)).map(([n, s]) => `${n} ${s.shape.join("x")}`)).toEqual([
      "self_attn.in_proj_weight 24x8",
      "self_attn.in_proj_bias 24",
      "self_attn.out_proj.weight 8x8",
      "self_attn.out_proj.bias 8",
      "linear1.weight 2048x8",
      "linear1.bias 2048",
      "linear2.weight 8x2048",
      "linear2.bias 8",
      "norm1.weight 8",
      "norm1.bias 8",
      "norm2.weight 8",
      "norm2.bias 8"
    ])
  })

  it("drops in training only, each place by a draw of its own, the same for the same seed", () => {
    const { bounds, give, apply } = prepare(
      nn.torch.TransformerEncoderLayer(E, H, { dimFeedforward: F, dtype: "f64", dropout: 0.5 })
    )
    const src = give(bound("f64", randomDense(1, [L, N, E])))
    const seed = give(bound("u32", dense([], [7])))
    const of = (inputs: Partial<nn.torch.EncoderInputs>): ReadonlyArray<number> =>
      run(apply({ src, ...inputs }), bounds).data
    expect(of({ training: false, seed: 7 })).toEqual(of({}))
    expect(of({ training: true, seed: 7 })).toEqual(of({ training: true, seed: 7 }))
    expect(of({ training: true, seed: 7 })).not.toEqual(of({}))
    expect(of({ training: true, seed: 8 })).not.toEqual(of({ training: true, seed: 7 }))
    const brought = { training: true, seed: seed as Tensor.Tensor<"u32"> }
    expect(of(brought)).toEqual(of(brought))
    expect(of(brought)).not.toEqual(of({}))
    expect(() => apply({ src, training: true })).toThrow(/dropout of 0.5 in training needs a seed/)
  })
})

describe("torch.TransformerDecoderLayer", () => {
  it.each(Object.entries(cases))("%s", (_, own) => {
    const { torch, loops, arranged } = given(own)
    const { values, bounds, give, apply } = prepare(nn.torch.TransformerDecoderLayer(E, H, torch))
    const [x, encoded] = [randomDense(1, [N, L, E]), randomDense(2, [N, S, E])]
    const out = apply({
      tgt: give(bound("f64", arranged(x))),
      memory: give(bound("f64", arranged(encoded))),
      ...(own.masked && {
        tgtMask: Mask.causal,
        tgtKeyPaddingMask: give(flags([N, L], padding)),
        tgtIsCausal: true,
        memoryKeyPaddingMask: give(flags([N, S], memoryPadding))
      })
    })
    expectDense(run(out, bounds), arranged(block(x, blockOf(values, true), loops, encoded)))
  })

  it("masks the memory: true is ignored, floats are added", () => {
    const { bounds, give, apply } = prepare(
      nn.torch.TransformerDecoderLayer(E, H, { dimFeedforward: F, dtype: "f64" })
    )
    const [tgt, memory] = [randomDense(1, [L, N, E]), randomDense(2, [S, N, E])].map((x) =>
      give(bound("f64", x))
    ) as [Tensor.Tensor, Tensor.Tensor]
    const hidden = Array.from({ length: L * S }, (_, n) => (n % S === 1 ? 1 : 0))
    const memoryMask = give(flags([L, S], hidden))
    const added = give(
      bound(
        "f64",
        dense(
          [L, S],
          hidden.map((x) => (x === 1 ? -1e300 : 0))
        )
      )
    )
    const masked = run(apply({ tgt, memory, memoryMask }), bounds)
    expectDense(run(apply({ tgt, memory, memoryMask: added }), bounds), masked)
    expect(run(apply({ tgt, memory }), bounds).data).not.toEqual(masked.data)
  })
})
