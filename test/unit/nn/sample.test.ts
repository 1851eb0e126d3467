import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { bound, type Dense, dense, randomDense, run } from "../../support/tensors.ts"

const [B, V] = [3, 40]
const logits = ((x: Dense) => ({ ...x, data: x.data.map((y) => 4 * y) }))(randomDense(1, [B, V]))

const row = (b: number): ReadonlyArray<number> => logits.data.slice(b * V, (b + 1) * V)

/** Which words stay, by sorting. */
const kept = (b: number, { topK, topP, minP }: nn.Sampling): ReadonlyArray<boolean> => {
  const x = row(b)
  const order = x.map((_, n) => n).sort((m, n) => (x[n] as number) - (x[m] as number))
  let left = order.slice(0, topK ?? V)
  const weights = (of: ReadonlyArray<number>) => {
    const sum = of.reduce((s, n) => s + Math.exp(x[n] as number), 0)
    return of.map((n) => Math.exp(x[n] as number) / sum)
  }
  if (topP !== undefined) {
    let reached = 0
    const own = weights(left)
    left = left.filter((_, n) => {
      const needed = reached < topP
      reached += own[n] as number
      return needed
    })
  }
  const top = x[order[0] as number] as number
  if (minP !== undefined) left = left.filter((n) => Math.exp((x[n] as number) - top) >= minP)
  return x.map((_, n) => left.includes(n))
}

describe("words that may be chosen", () => {
  it.each([
    { topK: 1 },
    { topK: 7 },
    { topK: V },
    { topP: 0.3 },
    { topP: 0.95 },
    { topP: 1 },
    { minP: 0.2 },
    { topK: 12, topP: 0.8, minP: 0.1 }
  ])("are those of a sort: %o", (sampling) => {
    const x = bound("f32", logits)
    const out = run(nn.narrowed(x.tensor, sampling), [x])
    for (let b = 0; b < B; b++) {
      const stay = out.data.slice(b * V, (b + 1) * V).map((y) => y !== -Infinity)
      expect(stay).toEqual(kept(b, sampling))
    }
  })
})

it.each([-Infinity, -3e38, -1e9])("words that are ruled out by %d do not count", (out) => {
  const x = bound("f32", { shape: [1, 6], data: [out, 2, 3, 4, 5, out] })
  for (const sampling of [{ topK: 2 }, { topP: 0.7 }, { minP: 0.2 }])
    expect(run(nn.narrowed(x.tensor, sampling), [x]).data.map((y) => y > -Infinity)).toEqual([
      ...[false, false, false],
      ...[true, true, false]
    ])
})

describe("a sample", () => {
  it("is the likeliest at temperature 0", () => {
    const x = bound("f32", logits)
    const best = [0, 1, 2].map((b) => row(b).indexOf(Math.max(...row(b))))
    expect(run(nn.sample(x.tensor, {}, 1), [x]).data).toEqual(best)
    expect(run(nn.sample(x.tensor, { temperature: 1, topK: 1 }, 9), [x]).data).toEqual(best)
    // The quotients are larger than any number of f32, in which they are computed.
    const large = bound("f32", { ...logits, data: logits.data.map((y) => 10 * y) })
    expect(run(nn.sample(large.tensor, { temperature: 1.2e-38 }, 9), [large], {}, "f32").data).toEqual(best)
  })

  it("is drawn by the softmax of the logits, by its seed", () => {
    const draws = 4000
    const own = Array.from({ length: 4 }, (_, n) => n / 2)
    const x = bound("f32", dense([draws, 4], Array.from({ length: draws }, () => own).flat()))
    const found = run(nn.sample(x.tensor, { temperature: 0.5 }, 3), [x]).data
    expect(run(nn.sample(x.tensor, { temperature: 0.5 }, 3), [x]).data).toEqual(found)
    expect(run(nn.sample(x.tensor, { temperature: 0.5 }, 4), [x]).data).not.toEqual(found)
    const sum = own.reduce((s, y) => s + Math.exp(2 * y), 0)
    own.forEach((y, n) => {
      const p = Math.exp(2 * y) / sum
      const share = found.filter((w) => w === n).length / draws
      expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws))
    })
  })

  it("makes words that were there less likely", () => {
    const [x, seen] = [
      bound("f32", dense([1, 4], [2, -2, 2, -2])),
      bound("bool", dense([1, 4], [1, 1, 0, 0]))
    ]
    expect(run(nn.penalised(x.tensor, seen.tensor as Tensor.Tensor, 4), [x, seen]).data).toEqual([
      0.5, -8, 2, -2
    ])
  })

  it.each([
    ["temperature", -1],
    ["temperature", 1e-45],
    ["topK", 0],
    ["topP", 0],
    ["minP", 2],
    ["repetitionPenalty", 0]
  ])("refuses %s of %d", (name, value) => {
    const x = bound("f32", logits)
    expect(() => nn.sample(x.tensor, { [name]: value }, 1)).toThrow(new RegExp(`${name} is ${value}`))
  })
})
