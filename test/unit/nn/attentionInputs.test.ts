/** What calls of `nn.attention` bring besides queries, keys and values, and what they are refused. */
import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { attend, type Linear, type Steps } from "../../support/nn/attend.ts"
import { prepare } from "../../support/nn/face.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const linears = (p: { readonly [name: string]: Dense }) => {
  const linear = (name: string): Linear => ({ weight: p[`${name}.weight`] as Dense, bias: p[`${name}.bias`] })
  return { query: linear("query"), key: linear("key"), value: linear("value"), out: linear("out") }
}

const F = 8

/** Rows [from, to) of [1, T, F] or of [T, F]. */
const rows = (x: Dense, from: number, to: number): Dense =>
  build([1, to - from, F], (_, t, f) => x.data[(from + t) * F + f] as number)

describe("texts one behind the other", () => {
  const starts = [0, 3, 4, 9]
  const packed = randomDense(1, [9, F])
  const texts = starts.slice(1).map((stop, n) => rows(packed, starts[n] as number, stop))

  it.each([
    ["see themselves", {}, {}],
    [
      "causal, rotated anew in each text",
      { causal: true, rope: { base: 100, dims: 2 } },
      {
        visible: (_b: number, _h: number, i: number, j: number) => j <= i,
        turn: ([x, y, ...rest]: ReadonlyArray<number>, position: number) => {
          const [c, s] = [Math.cos(position), Math.sin(position)]
          return [(x as number) * c - (y as number) * s, (y as number) * c + (x as number) * s, ...rest]
        }
      }
    ],
    [
      "in a window",
      { window: [1, 1] as const },
      { visible: (_b: number, _h: number, i: number, j: number) => Math.abs(i - j) <= 1 }
    ]
  ] satisfies ReadonlyArray<readonly [string, object, Steps]>)("%s: as each alone", (_, config, steps) => {
    const { values, bounds, give, apply } = prepare(
      nn.attention({ features: F, heads: 2, dtype: "f64", ...config })
    )
    const { out } = apply({
      query: give(bound("f64", packed, ["T", F])),
      offsets: give(bound("i32", dense([4], starts), ["D"]))
    })
    const alone = texts.map((x) => attend(linears(values), [x, x, x], [2, 2], steps).out)
    expectDense(
      run(out, bounds),
      dense(
        [9, F],
        alone.flatMap((x) => x.data)
      )
    )
  })

  it("see the texts of other keys", () => {
    const others = randomDense(2, [7, F])
    const keyStarts = [0, 2, 6, 7]
    const { values, bounds, give, apply } = prepare(nn.attention({ features: F, heads: 2, dtype: "f64" }))
    const { out } = apply({
      query: give(bound("f64", packed, ["T", F])),
      key: give(bound("f64", others, ["S", F])),
      offsets: give(bound("i32", dense([4], starts), ["D"])),
      keyOffsets: give(bound("i32", dense([4], keyStarts), ["D"]))
    })
    const alone = texts.map((x, n) => {
      const y = rows(others, keyStarts[n] as number, keyStarts[n + 1] as number)
      return attend(linears(values), [x, y, y], [2, 2], {}).out
    })
    expectDense(
      run(out, bounds),
      dense(
        [9, F],
        alone.flatMap((x) => x.data)
      )
    )
  })

  it("refuse what means nothing over several texts", () => {
    const layer = nn.attention({ features: F, heads: 2 })
    const given = (shape: ReadonlyArray<number | string>, more: object) => {
      const params = Object.fromEntries(
        Object.entries(nn.Params.signature(layer.params)).map(([n, s]) => [n, Tensor.input(n, s)])
      )
      const query = Tensor.input("x", spec("f32", shape)) as Tensor.Tensor
      return () => layer.apply(nn.Params.nest(layer.params, params), { query, ...more })
    }
    const offsets = Tensor.input("offsets", spec("i32", ["D"])) as Tensor.Tensor
    const keyOffsets = Tensor.input("keyOffsets", spec("i32", ["D"])) as Tensor.Tensor
    expect(given(["B", "T", F], { offsets })).toThrow(/without a batch|queries of/)
    expect(given(["T", F], { keyOffsets })).toThrow(/keyOffsets without offsets/)
    expect(given(["T", F], { offsets, keyOffsets, causal: true })).toThrow(/causal or window/)
  })
})

describe("heads that are projected already", () => {
  it("are taken as they are", () => {
    const [B, T, S, D] = [2, 3, 4, 4]
    const { values, bounds, give, apply } = prepare(
      nn.attention({ features: F, heads: 2, kvHeads: 1, dtype: "f64" })
    )
    const [q, k, v] = [randomDense(1, [B, T, F]), randomDense(2, [B, 1, S, D]), randomDense(3, [B, 1, S, D])]
    const { out } = apply({
      query: give(bound("f64", q)),
      keyHeads: give(bound("f64", k)),
      valueHeads: give(bound("f64", v))
    })
    const own = linears(values)
    const same: Linear = { weight: build([D, D], (i, j) => (i === j ? 1 : 0)) }
    const joined = (x: Dense): Dense => build([B, S, D], (b, s, d) => at(x, b, 0, s, d))
    const expected = attend({ ...own, key: same, value: same }, [q, joined(k), joined(v)], [2, 1], {})
    expectDense(run(out, bounds), expected.out)
    expect(() => apply({ query: give(bound("f64", q)), keyHeads: give(bound("f64", k)) })).toThrow(
      /go together, given keyHeads/
    )
  })
})

describe("dtypes", () => {
  const [B, T] = [2, 3]
  const x = randomDense(1, [B, T, F])
  const layer = (config: object) => nn.attention({ features: F, heads: 2, ...config })

  it("of parameters and of computing are apart", () => {
    const half = layer({ compute: "f16" })
    expect(half.params.query.weight.spec.dtype).toBe("f32")
    const { give, apply } = prepare(half)
    const { out, stages } = apply({ query: give(bound("f64", x)) })
    expect([out.dtype, stages.logits.dtype, stages.weights.dtype]).toEqual(["f16", "f16", "f32"])
    expect(layer({ dtype: "bf16" }).params.query.weight.spec.dtype).toBe("bf16")
  })
})

it.each([
  [{ heads: 3 }, /8 features do not divide by 3 heads/],
  [{ heads: 0 }, /heads is 0/],
  [{ heads: 4, kvHeads: 3 }, /4 query heads are not a multiple of 3/],
  [{ heads: 2, headSize: 0 }, /headSize is 0/],
  [{ heads: 2, valueHeadSize: 1.5 }, /valueHeadSize is 1.5/],
  [{ heads: 2, keyFeatures: -1 }, /keyFeatures is -1/],
  [{ heads: 2, outFeatures: [2, 0] }, /outFeatures is 0/],
  [{ heads: 2, dropout: 1.5 }, /dropout is 1.5/],
  [{ heads: 2, scale: Number.NaN }, /scale is NaN/],
  [{ heads: 2, causal: "lower" as never }, /causal is "lower"/],
  [{ heads: 2, qkNorm: "l2" as never }, /qkNorm is "l2"/]
])("a layer of %j is refused", (config, message) => {
  expect(() => nn.attention({ features: F, ...config })).toThrow(message)
})

it("alibi is refused where positions are not counted", () => {
  const { give, apply } = prepare(nn.attention({ features: F, heads: 2, alibi: true, zeroKey: true }))
  expect(() => apply({ query: give(bound("f64", randomDense(1, [1, 2, F]))) })).toThrow(
    /alibi counts positions/
  )
})
