import { Effect } from "effect"
import { expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Arrays from "../../support/arrays.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { sharedLayer } from "../../support/webgpu.ts"

test("a cache of pages on the device is that of the reference, attention fused", async () => {
  const layer = nn.attention({ features: 8, heads: 4, kvHeads: 2, causal: true })
  const [B, T, P, R] = [2, 3, 5, 2]
  const signature = {
    ...nn.Params.signature(layer.params),
    x: spec("f32", [B, T, 8]),
    key: spec("f32", [P, R, 2, 2]),
    value: spec("f32", [P, R, 2, 2]),
    table: spec("i32", [B, 3]),
    length: spec("i32", [B])
  }
  const from = Arrays.random(5)
  const inputs = Object.fromEntries(
    Object.entries(signature).map(([name, own]) => [
      name,
      Arrays.array(from, "f32", own.shape as ReadonlyArray<number>)
    ])
  )
  const given = {
    ...inputs,
    // Both begin with page 4, which is full.
    table: HostArray.fromNumbers("i32", [B, 3], [4, 0, 2, 4, 3, 1]),
    length: HostArray.fromNumbers("i32", [B], [2, 3])
  }
  const program = compile(
    ({ x, key, value, table, length, ...p }) => {
      const call = { query: x, cache: { key, value, table, length } }
      const { out, cache } = layer.apply(nn.Params.nest(layer.params, p), call)
      return { out, key: cache?.key ?? key, value: cache?.value ?? value }
    },
    signature,
    { requireFused: true }
  )
  const run = Effect.gen(function* () {
    const f = yield* program
    return { f, results: yield* f(given as never) }
  })
  const expected = await Effect.runPromise(run.pipe(Effect.provide(Reference.layer)))
  const actual = await Effect.runPromise(run.pipe(Effect.provide(await sharedLayer())))
  const names = ["out", "key", "value"] as const
  const arrays = (results: typeof actual.results) => names.map((name) => results[name] as HostArray.HostArray)
  expectOutputs(actual.f.graph("traced"), {}, arrays(actual.results), arrays(expected.results), {
    expected: "exact",
    reassociated: true
  })
  const ops = actual.f.graph("after-fuse-attention").nodes.map(({ op }) => op)
  expect(ops.filter((op) => op === "flash_attention")).toHaveLength(1)
})
