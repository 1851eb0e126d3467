/** Models that keep keys and values give, word by word, what they give of the whole text. */
import { expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { prepare } from "../../support/nn/face.ts"
import { bound, dense, expectDense, randomDense, run } from "../../support/tensors.ts"

const [B, T, C, F, N] = [2, 5, 6, 8, 2]
const text = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
const ids = (from: number, to: number) =>
  bound(
    "i32",
    dense(
      [B, to - from],
      [0, 1].flatMap((b) => text.slice(b * T + from, b * T + to))
    )
  )

type Step = {
  readonly logits: Tensor.Tensor
  readonly caches: ReadonlyArray<NonNullable<nn.AttentionInputs["cache"]>> | undefined
}

/** A prompt of two words, then one after the other; and all at once. */
const expectSame = (
  layers: number,
  give: (x: ReturnType<typeof bound>) => Tensor.Tensor,
  bounds: Parameters<typeof run>[1],
  step: (tokens: Tensor.Tensor, caches: Step["caches"]) => Step
): void => {
  const zeros = () => Tensor.zeros([B, N, C, F / N], "f64") as Tensor.Tensor
  let caches: Step["caches"] = Array.from({ length: layers }, () => ({
    ...{ key: zeros(), value: zeros(), length: Tensor.zeros([B], "i32") as Tensor.Tensor }
  }))
  const parts: Array<Tensor.Tensor> = []
  for (const [from, to] of [
    [0, 2],
    [2, 3],
    [3, 4],
    [4, 5]
  ] as const) {
    const { logits, caches: next } = step(give(ids(from, to)), caches)
    parts.push(logits)
    caches = next
  }
  const whole = step(give(ids(0, T)), undefined)
  expect(whole.caches).toBeUndefined()
  expectDense(run(Tensor.concat(parts, 1) as Tensor.Tensor, bounds), run(whole.logits, bounds))
}

it("GPT-2", () => {
  const config = { words: 11, positions: 8, features: F, layers: 2, heads: N, dtype: "f64" } as const
  const { bounds, give, apply } = prepare(nn.gpt2(config))
  expectSame(2, give, bounds, (tokens, caches) => apply({ tokens, caches }))
})

it("Llama", () => {
  const config = { words: 11, features: F, hidden: 12, layers: 2, heads: N, dtype: "f64" } as const
  const { bounds, give, apply } = prepare(nn.decoder(config))
  expectSame(2, give, bounds, (tokens, caches) => apply({ tokens, caches }))
})

it("Whisper's decoder", () => {
  const model = nn.whisper({
    ...{ mels: 3, sourcePositions: 4, targetPositions: 8, words: 11, features: F },
    ...{ encoderLayers: 1, decoderLayers: 2, heads: N, dtype: "f64" }
  })
  type P = Parameters<typeof model.decode>[0]
  let params: P | undefined
  const { bounds, give, apply } = prepare({
    ...model,
    apply: (p: P, tokens: Tensor.Tensor) => {
      params = p
      return tokens
    }
  })
  const encoded = give(bound("f64", randomDense(1, [B, 4, F])))
  apply(encoded)
  expectSame(2, give, bounds, (tokens, caches) => model.decode(params as P, { tokens, encoded, caches }))
})

it("learned positions count from what is there already", () => {
  const { values, bounds, give, apply } = prepare(
    nn.learnedPositions({ positions: 9, features: 2, dtype: "f64" })
  )
  const x = give(bound("f64", dense([2, 3, 2], Array(12).fill(0))))
  const table = values.weight?.data as ReadonlyArray<number>
  const rows = (...at: ReadonlyArray<number>) => at.flatMap((p) => table.slice(2 * p, 2 * p + 2))
  expect(run(apply({ x }), bounds).data).toEqual([...rows(0, 1, 2), ...rows(0, 1, 2)])
  const offset = give(bound("i32", dense([2], [4, 1])))
  expect(run(apply({ x, offset }), bounds).data).toEqual([...rows(4, 5, 6), ...rows(1, 2, 3)])
})
