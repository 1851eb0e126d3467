import { describe, test } from "vitest"
import * as Score from "../../src/Score.ts"
import * as Tensor from "../../src/Tensor.ts"
import { bound, expectDense, randomDense, run } from "../support/tensors.ts"

const samples: ReadonlyArray<Score.Score> = [
  Score.identity,
  Score.scale(0.3),
  Score.softcap(0.7),
  Score.alibi(4),
  Score.bias(Tensor.fromValues([0.5, -1, 2])),
  Score.relativeBias(
    Tensor.fromValues([
      [1, 2],
      [3, 4],
      [5, 6],
      [7, 8]
    ]),
    (d) => Tensor.minimum(Tensor.abs(d), 1) as Tensor.Tensor<"i32">
  )
]

/** Scores are equal where they agree on logits. */
const same = (f: Score.Score, g: Score.Score): void => {
  const x = bound("f64", randomDense(9, [2, 4, 2, 3]), ["B", 4, "T", 3])
  expectDense(run(f(x.tensor), [x]), run(g(x.tensor), [x]))
}

const { concat, empty } = Score.Monoid

describe("scores are a monoid", () => {
  test("empty is neutral", () => {
    for (const f of samples) {
      same(concat(f, empty), f)
      same(concat(empty, f), f)
    }
  })
  test("concat is associative", () => {
    for (const f of samples)
      for (const g of samples) for (const h of samples) same(concat(f, concat(g, h)), concat(concat(f, g), h))
  })
  test("concat applies the first one first", () => {
    for (const f of samples) for (const g of samples) same(concat(f, g), (x) => g(f(x)))
  })
})
