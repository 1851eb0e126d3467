import { describe, expect, it } from "vitest"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { attend, type Linear, type Steps } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { linears, rows, swapped } from "../../support/nn/torch.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [N, L, S, E, H] = [2, 3, 5, 8, 4]

const averaged = (x: Dense): Dense => {
  const [n, h, l, s] = x.shape as [number, number, number, number]
  return build([n, l, s], (b, i, j) => {
    let sum = 0
    for (let k = 0; k < h; k++) sum += at(x, b, k, i, j)
    return sum / h
  })
}

const ignored = [0, 1, 0, 0, 1, 0, 0, 0, 1, 0]
const disallowed = [0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1]
const added = randomDense(8, [N * H, L, S])
const bools = (shape: ReadonlyArray<number>, data: ReadonlyArray<number>) => bound("bool", dense(shape, data))

interface Case {
  readonly options?: nn.torch.Options
  readonly inputs?: (give: (x: ReturnType<typeof bound>) => Tensor.Tensor) => Partial<nn.torch.Inputs>
  readonly steps?: (p: { readonly [name: string]: Dense }) => Steps
  readonly dims?: readonly [number, number]
}

const row = (x: Dense, head: number, d: number): number => at(x, 0, 0, head * (E / H) + d)

const cases: { readonly [name: string]: Case } = {
  "defaults: the batch second": {},
  "the batch first": { options: { batchFirst: true } },
  "no bias, keys and values of other sizes": { options: { bias: false, kdim: 6, vdim: 7 }, dims: [6, 7] },
  "padding is true where it is ignored": {
    inputs: (give) => ({ keyPaddingMask: give(bools([N, S], ignored)) }),
    steps: () => ({ visible: (b, _h, _i, j) => ignored[b * S + j] === 0 })
  },
  "attention masks are true where it is not allowed": {
    inputs: (give) => ({
      attnMask: give(bools([L, S], disallowed)),
      keyPaddingMask: give(bools([N, S], ignored))
    }),
    steps: () => ({
      visible: (b, _h, i, j) => disallowed[i * S + j] === 0 && ignored[b * S + j] === 0
    })
  },
  "float masks for each head are added": {
    inputs: (give) => ({ attnMask: give(bound("f64", added)) }),
    steps: () => ({ score: (x, b, h, i, j) => x + at(added, b * H + h, i, j) })
  },
  "float padding is added": {
    inputs: (give) => ({ keyPaddingMask: give(bound("f64", rows(randomDense(9, [N, S]), 0, N))) }),
    steps: () => ({ score: (x, b, _h, _i, j) => x + at(randomDense(9, [N, S]), b, j) })
  },
  "a mask of ours": {
    inputs: () => ({ attnMask: Mask.causal, isCausal: true }),
    steps: () => ({ visible: (_b, _h, i, j) => j <= i })
  },
  "a learned key and a key of zeros": {
    options: { addBiasKv: true, addZeroAttn: true },
    inputs: (give) => ({ keyPaddingMask: give(bools([N, S], ignored)), attnMask: give(bound("f64", added)) }),
    steps: (p) => ({
      extra: [(side, h, d) => row((side === "key" ? p.bias_k : p.bias_v) as Dense, h, d), () => 0],
      score: (x, b, h, i, j) => (j < S ? x + at(added, b * H + h, i, j) : x),
      visible: (b, _h, _i, j) => j >= S || ignored[b * S + j] === 0
    })
  }
}

describe("torch.MultiheadAttention", () => {
  it("a single key that is ignored leaves the learned one", () => {
    const { values, bounds, give, apply } = prepare(
      nn.torch.MultiheadAttention(E, H, { dtype: "f64", batchFirst: true, addBiasKv: true })
    )
    const [q, k] = [randomDense(1, [N, L, E]), randomDense(2, [N, 1, E])] as const
    const [query, key] = [q, k].map((x) => give(bound("f64", x))) as [Tensor.Tensor, Tensor.Tensor]
    const keyPaddingMask = give(bools([N, 1], [1, 0]))
    const expected = attend(linears(values), [q, k, k], [H, H], {
      extra: [(side, h, d) => row((side === "key" ? values.bias_k : values.bias_v) as Dense, h, d)],
      visible: (b, _h, _i, j) => j > 0 || b === 1
    })
    expectDense(run(apply({ query, key, value: key, keyPaddingMask }).out, bounds), expected.out)
  })

  it.each(Object.entries(cases))("%s", (_, { options = {}, inputs, steps, dims: [kdim, vdim] = [E, E] }) => {
    const { values, bounds, give, apply } = prepare(
      nn.torch.MultiheadAttention(E, H, { dtype: "f64", ...options })
    )
    const [q, k, v] = [
      randomDense(1, [N, L, E]),
      randomDense(2, [N, S, kdim]),
      randomDense(3, [N, S, vdim])
    ] as const
    const arranged = (x: Dense): Dense => (options.batchFirst === true ? x : swapped(x))
    const [query, key, value] = [q, k, v].map((x) => give(bound("f64", arranged(x)))) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const call = { query, key, value, ...inputs?.(give) }
    const expected = attend(linears(values), [q, k, v], [H, H], steps?.(values))
    const { out, weights } = apply(call)
    expectDense(run(out, bounds), arranged(expected.out))
    expectDense(run(weights as Tensor.Tensor, bounds), averaged(expected.weights))
    const perHead = apply({ ...call, averageAttnWeights: false })
    expectDense(run(perHead.weights as Tensor.Tensor, bounds), expected.weights)
    const none = apply({ ...call, needWeights: false })
    expect(none.weights).toBeUndefined()
    expectDense(run(none.out, bounds), arranged(expected.out))
  })

  it("takes unbatched tensors", () => {
    const { values, bounds, give, apply } = prepare(nn.torch.MultiheadAttention(E, H, { dtype: "f64" }))
    const x = randomDense(1, [L, E])
    const query = give(bound("f64", x))
    const { out, weights } = apply({ query, key: query, value: query })
    const one = dense([1, L, E], x.data)
    const expected = attend(linears(values), [one, one, one], [H, H])
    expectDense(run(out, bounds), dense([L, E], expected.out.data))
    expectDense(run(weights as Tensor.Tensor, bounds), dense([L, L], averaged(expected.weights).data))
  })

  it("takes keys and values that are projected already", () => {
    const [N, L, S, D] = [2, 3, 4, E / H]
    const { values, bounds, give, apply } = prepare(nn.torch.MultiheadAttention(E, H, { dtype: "f64" }))
    const q = randomDense(1, [N, L, E])
    const [k, v] = [randomDense(2, [N * H, S, D]), randomDense(3, [N * H, S, D])]
    const query = give(bound("f64", swapped(q)))
    const given = { staticK: give(bound("f64", k)), staticV: give(bound("f64", v)) }
    const { out } = apply({ query, key: query, value: query, ...given })
    const joined = (x: Dense): Dense =>
      build([N, S, E], (n, s, e) => at(x, n * H + Math.floor(e / D), s, e % D))
    const same: Linear = { weight: build([E, E], (i, j) => (i === j ? 1 : 0)) }
    const own = { ...linears(values), key: same, value: same }
    expectDense(run(out, bounds), swapped(attend(own, [q, joined(k), joined(v)], [H, H], {}).out))
  })

  it("takes nested tensors as values and offsets", () => {
    const { values, bounds, give, apply } = prepare(nn.torch.MultiheadAttention(E, H, { dtype: "f64" }))
    const starts = [0, 2, 5]
    const packed = randomDense(4, [5, E])
    const x = give(bound("f64", packed))
    const offsets = give(bound("i32", dense([3], starts)))
    const { out, weights } = apply({ query: x, key: x, value: x, offsets })
    const alone = [0, 1].flatMap((n) => {
      const [from, to] = [starts[n] as number, starts[n + 1] as number]
      const text = build([1, to - from, E], (_, t, e) => at(packed, from + t, e))
      return attend(linears(values), [text, text, text], [H, H], {}).out.data
    })
    expectDense(run(out, bounds), dense([5, E], alone))
    expect((weights as Tensor.Tensor).shape).toEqual([5, 5])
  })

  it("drops weights in training only, and returns those it used", () => {
    const { bounds, give, apply } = prepare(nn.torch.MultiheadAttention(E, H, { dtype: "f64", dropout: 0.5 }))
    const x = give(bound("f64", randomDense(1, [L, N, E])))
    const call = { query: x, key: x, value: x, averageAttnWeights: false }
    const kept = run(apply(call).weights as Tensor.Tensor, bounds)
    const dropped = run(apply({ ...call, training: true, seed: 3 }).weights as Tensor.Tensor, bounds)
    const zeros = dropped.data.filter((w) => w === 0).length
    expect(zeros).toBeGreaterThan(0)
    dropped.data.forEach((w, n) => {
      if (w !== 0) expect(w).toBeCloseTo(2 * (kept.data[n] as number), 12)
    })
    expect(() => apply({ ...call, training: true })).toThrow(/needs a seed/)
  })

  it("has PyTorch's parameters", () => {
    const shapes = (options: nn.torch.Options) =>
      Object.fromEntries(
        Object.entries(nn.Params.signature(nn.torch.MultiheadAttention(E, H, options).params)).map(
          ([n, s]) => [n, s.shape]
        )
      )
    expect(shapes({})).toEqual({
      in_proj_weight: [24, 8],
      in_proj_bias: [24],
      "out_proj.weight": [8, 8],
      "out_proj.bias": [8]
    })
    expect(shapes({ kdim: 6, bias: false, addBiasKv: true })).toEqual({
      q_proj_weight: [8, 8],
      k_proj_weight: [8, 6],
      v_proj_weight: [8, 8],
      bias_k: [1, 1, 8],
      bias_v: [1, 1, 8],
      "out_proj.weight": [8, 8]
    })
  })

  it("refuses what PyTorch refuses", () => {
    expect(() => nn.torch.MultiheadAttention(7, 2)).toThrow(/embedDim 7 must be divisible by numHeads 2/)
    const { give, apply } = prepare(nn.torch.MultiheadAttention(E, H, { dtype: "f64" }))
    const [three, two] = [
      give(bound("f64", randomDense(1, [L, N, E]))),
      give(bound("f64", randomDense(1, [L, E])))
    ]
    expect(() => apply({ query: three, key: two, value: three })).toThrow(
      /all 2-D \(unbatched\) or all 3-D, given 3, 2, 3/
    )
    expect(() => apply({ query: three, key: three, value: three, isCausal: true })).toThrow(/needs attnMask/)
    expect(() =>
      apply({ query: three, key: three, value: three, attnMask: give(bools([5], [1, 1, 1, 1, 1])) })
    ).toThrow(/\[L, S\] or \[N·H, L, S\]/)
  })
})
