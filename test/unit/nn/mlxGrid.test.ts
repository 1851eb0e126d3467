/** The grid of MLX's own tests of `fast.scaled_dot_product_attention`, against loops in float64. */
import { describe, expect, it } from "vitest"
import * as Attention from "../../../src/Attention.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { at, bound, build, type Dense, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, N, M, S] = [2, 4, 2, 5]

interface Call {
  readonly score?: (x: number, b: number, h: number, i: number, j: number) => number
  readonly sees?: (b: number, i: number, j: number) => boolean
  readonly sink?: (h: number) => number
}

const expected = (q: Dense, k: Dense, v: Dense, { score, sees, sink }: Call): Dense => {
  const [, , T, D] = q.shape as [number, number, number, number]
  const E = v.shape[3] as number
  const scale = 1 / Math.sqrt(D)
  const rows = new Map<string, ReadonlyArray<number>>()
  const row = (b: number, h: number, i: number): ReadonlyArray<number> => {
    const name = [b, h, i].join()
    const known = rows.get(name)
    if (known !== undefined) return known
    const scores = Array.from({ length: S }, (_, j) => {
      let sum = 0
      for (let d = 0; d < D; d++) sum += at(q, b, h, i, d) * at(k, b, Math.floor((h * M) / N), j, d)
      if (!(sees?.(b, i, j) ?? true)) return -Infinity
      return score?.(scale * sum, b, h, i, j) ?? scale * sum
    })
    const top = Math.max(...scores, sink?.(h) ?? -Infinity)
    const powers = scores.map((x) => Math.exp(x - top))
    const all = powers.reduce((a, b2) => a + b2, Math.exp((sink?.(h) ?? -Infinity) - top))
    const weights = powers.map((x) => x / all)
    rows.set(name, weights)
    return weights
  }
  return build([B, N, T, E], (b, h, i, e) =>
    row(b, h, i).reduce((sum, w, j) => sum + w * at(v, b, Math.floor((h * M) / N), j, e), 0)
  )
}

const masks = ["none", "causal", "bool of every rank", "added", "sinks"] as const

const cases = [
  ...[72, 96, 256].map((D) => [D, D, 9] as const),
  [192, 128, 4] as const,
  ...[1, 2, 5].map((T) => [64, 64, T] as const)
].flatMap(([D, E, T]) => masks.map((mask) => [D, E, T, mask] as const))

describe("MLX's scaled_dot_product_attention", () => {
  it.each(cases)("heads of %i and %i, %i queries, mask: %s", (D, E, T, mask) => {
    const [q, k, v] = [
      randomDense(1, [B, N, T, D]),
      randomDense(2, [B, M, S, D]),
      randomDense(3, [B, M, S, E])
    ]
    const [kept, added] = [randomDense(4, [B, 1, T, S]), randomDense(5, [N, T, S])]
    const sinks = randomDense(6, [N])
    const bools = dense(
      kept.shape,
      // No row without a key: MLX leaves open what it gives.
      kept.data.map((x, n) => (x > 0 || n % S === 0 ? 1 : 0))
    )
    const given = [bound("f64", q), bound("f64", k), bound("f64", v)] as const
    const own = [bound("bool", bools), bound("f64", added), bound("f64", sinks)] as const
    const options: Attention.Options =
      mask === "causal"
        ? { mask: "causal" }
        : mask === "added"
          ? { mask: own[1].tensor }
          : mask === "sinks"
            ? { sinks: own[2].tensor }
            : mask === "none"
              ? {}
              : { mask: own[0].tensor }
    const call: Call =
      mask === "causal"
        ? { sees: (_b, i, j) => j <= i + S - T }
        : mask === "added"
          ? { score: (x, _b, h, i, j) => x + at(added, h, i, j) }
          : mask === "sinks"
            ? { sink: (h) => at(sinks, h) }
            : mask === "none"
              ? {}
              : { sees: (b, i, j) => at(bools, b, 0, i, j) === 1 }
    const [a, b, c] = given.map((x) => x.tensor) as [Tensor.Tensor, Tensor.Tensor, Tensor.Tensor]
    const out = Attention.stages(a, b, c, options).result
    const result = run(out, [...given, ...own])
    const rows = expected(q, k, v, call)
    // Rows of a causal mask before the first key see none, which is 0 here.
    expectDense(result, { ...rows, data: rows.data.map((x) => (Number.isNaN(x) ? 0 : x)) })
  })

  it("reads keys and values that are slices and transposes of others", () => {
    const [D, T] = [6, 3]
    const q = randomDense(1, [B, N, T, D])
    const both = randomDense(2, [B, S, 2, M, D])
    const [queries, pairs] = [bound("f64", q), bound("f64", both)]
    const part = (n: number): Tensor.Tensor =>
      Tensor.permute(
        Tensor.squeeze(Tensor.slice(pairs.tensor, 2, { start: n, stop: n + 1 }), 2),
        [0, 2, 1, 3]
      ) as Tensor.Tensor
    const out = Attention.stages(queries.tensor, part(0), part(1)).result
    const side = (n: number): Dense => build([B, M, S, D], (b, h, s, d) => at(both, b, s, n, h, d))
    expectDense(run(out, [queries, pairs]), expected(q, side(0), side(1), {}))
  })

  it("keeps infinite scores apart and refuses masks that would widen the result", () => {
    const [T, D] = [2, 4]
    const q = randomDense(1, [B, N, T, D])
    const k = randomDense(2, [B, M, S, D])
    const given = [bound("f64", q), bound("f64", k), bound("f64", k)] as const
    const minus = dense(
      [T, S],
      Array.from({ length: T * S }, (_, n) => (n % S < 2 ? 0 : -Infinity))
    )
    const added = bound("f64", minus)
    const [a, b, c] = given.map((x) => x.tensor) as [Tensor.Tensor, Tensor.Tensor, Tensor.Tensor]
    const attend = (x: Tensor.Tensor, options: Attention.Options): Tensor.Tensor =>
      Attention.stages(x, b, c, options).result
    expectDense(
      run(attend(a, { mask: added.tensor }), [...given, added]),
      expected(q, k, k, { sees: (_b, _i, j) => j < 2 })
    )
    const half = (x: Tensor.Tensor): Tensor.Tensor => Tensor.cast(x, "f16") as Tensor.Tensor
    expect(() =>
      Attention.scaledDotProductAttention(half(a), half(b), half(c), { mask: added.tensor })
    ).toThrow(/does not promote to f16/)
  })
})
