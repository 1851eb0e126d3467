import { Effect } from "effect"
import { expect, it } from "vitest"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import {
  type Bound,
  bound,
  build,
  type Dense,
  dense,
  expectDense,
  randomDense,
  run
} from "../../support/tensors.ts"

const [B, T, C, features] = [2, 6, 9, 16]

const cut = (x: Dense, from: number, to: number): Dense =>
  build([B, to - from, features], (b, t, f) => x.data[(b * T + from + t) * features + f] as number)

/** A layer over constants, so that whole and stepwise runs share its parameters. */
const prepared = (config: Partial<nn.AttentionConfig>) => {
  const layer = nn.attention({ features, heads: 4, kvHeads: 2, causal: true, dtype: "f64", ...config })
  const parameters = Object.entries(nn.Params.flatten<nn.Params.Param>(layer.params)).map(
    ([name, p], n) =>
      [name, bound("f64", randomDense(50 + n, p.spec.shape as ReadonlyArray<number>))] as const
  )
  const tensors = Object.fromEntries(parameters.map(([name, x]) => [name, x.tensor]))
  return { layer, params: nn.Params.nest(layer.params, tensors), bounds: parameters.map(([, x]) => x) }
}

/** Runs the layer over `steps` rows at a time, the cache going from call to call as numbers. */
const stepwise = (
  { layer, params, bounds }: ReturnType<typeof prepared>,
  x: Dense,
  steps: ReadonlyArray<number>,
  capacity: number,
  ring: boolean
): ReadonlyArray<Dense> => {
  let [key, value, length]: [Dense, Dense, Dense] = [
    build([B, 2, capacity, 4], () => 99),
    build([B, 2, capacity, 4], () => 99),
    dense([B], [0, 0])
  ]
  let first = 0
  return steps.map((count) => {
    const own: ReadonlyArray<Bound> = [
      bound("f64", cut(x, first, first + count)),
      bound("f64", key),
      bound("f64", value),
      bound("i32", length)
    ]
    first += count
    const [query, k, v, l] = own.map((b) => b.tensor) as [
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor,
      Tensor.Tensor
    ]
    const { out, cache } = layer.apply(params, { query, cache: { key: k, value: v, length: l, ring } })
    const result = (t: Tensor.Tensor | undefined): Dense => run(t as Tensor.Tensor, [...bounds, ...own])
    ;[key, value, length] = [result(cache?.key), result(cache?.value), result(cache?.length)]
    return result(out)
  })
}

it.each([
  ["row by row", [1, 1, 1, 1, 1, 1]],
  ["a prefill, then rows", [4, 1, 1]],
  ["two at a time", [2, 2, 2]]
])("equals the whole at once: %s", (_, steps) => {
  const made = prepared({ rope: { base: 50 } })
  const x = randomDense(3, [B, T, features])
  const whole = bound("f64", x)
  const { out } = made.layer.apply(made.params, { query: whole.tensor })
  const expected = run(out, [...made.bounds, whole])
  let first = 0
  stepwise(made, x, steps, C, false).forEach((part, n) => {
    const count = steps[n] as number
    expectDense(part, cut(expected, first, first + count))
    first += count
  })
})

it.each([
  ["row by row, around it and around again", [1, 1, 1, 1, 1, 1], 2, 3],
  ["a prefill that fills it, then rows", [4, 1, 1], 2, 6],
  ["two at a time, across the end", [2, 2, 2], 1, 3],
  ["a window of the own key alone", [1, 2, 3], 0, 3]
])("a ring equals a window over the whole: %s", (_, steps, window, capacity) => {
  const made = prepared({ rope: { base: 50 }, window })
  const x = randomDense(3, [B, T, features])
  const whole = bound("f64", x)
  const expected = run(made.layer.apply(made.params, { query: whole.tensor }).out, [...made.bounds, whole])
  let first = 0
  stepwise(made, x, steps, capacity, true).forEach((part, n) => {
    const count = steps[n] as number
    expectDense(part, cut(expected, first, first + count))
    first += count
  })
})

it("a ring without a window holds as many keys as fit", () => {
  const x = randomDense(3, [B, T, features])
  const [open, windowed] = [prepared({}), prepared({ window: 3 })]
  const rows = [1, 1, 1, 1, 1, 1]
  const expected = stepwise(windowed, x, rows, 4, true)
  stepwise(open, x, rows, 4, true).forEach((part, n) => {
    expectDense(part, expected[n] as Dense)
  })
})

it("a ring is one flash_attention that reads keys where they lie", async () => {
  const layer = nn.attention({ features, heads: 4, kvHeads: 2, causal: true, window: 3 })
  const rows = spec("f32", [B, 2, "C", 4])
  const f = await Effect.runPromise(
    compile(
      ({ x, key, value, length, ...p }) => {
        const call = { query: x, cache: { key, value, length, ring: true } }
        const { out, cache } = layer.apply(nn.Params.nest(layer.params, p), call)
        return { out, key: cache?.key ?? key, value: cache?.value ?? value }
      },
      {
        ...nn.Params.signature(layer.params),
        ...{ x: spec("f32", [B, 1, features]), key: rows, value: rows, length: spec("i32", [B]) }
      },
      { requireFused: true, donate: ["key", "value"] }
    ).pipe(Effect.provide(Reference.layer))
  )
  const { nodes } = f.graph("after-fuse-attention")
  const attended = nodes.filter(({ op }) => op === "flash_attention")
  expect(attended).toHaveLength(1)
  expect(attended[0]?.operands.slice(1, 3).map(({ op }) => op)).toEqual(["update_slice", "update_slice"])
  const memory = f.diagnostics.find(({ pass }) => pass === "plan-memory")
  expect(memory?.subject).toMatch(/2 results in place/)
})

it("refuses a ring that does not hold its window", () => {
  const x = randomDense(3, [B, T, features])
  expect(() => stepwise(prepared({ window: 3 }), x, [2], 4, true)).toThrow(
    /ring of 4 does not hold a window of 3 and 2 new keys/
  )
})

it("refuses keys of other heads than the cache holds", () => {
  const { layer, params } = prepared({})
  const [x, key, length] = [
    bound("f64", randomDense(3, [B, 1, features])),
    bound("f64", randomDense(4, [B, 3, C, 4])),
    bound("i32", dense([B], [0, 0]))
  ]
  expect(() =>
    layer.apply(params, {
      query: x.tensor,
      cache: { key: key.tensor, value: key.tensor, length: length.tensor }
    })
  ).toThrow(/cached keys.*\[2, 3, 9, 4\]/)
})
