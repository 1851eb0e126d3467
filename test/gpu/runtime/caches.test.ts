import { Effect } from "effect"
import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Arrays from "../../support/arrays.ts"
import { cachePlan, onPagesAndWhole } from "../../support/nn/pages.ts"
import { limitsOf, runProgram, validate, variants } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { sharedLayer } from "../../support/webgpu.ts"

const [B, T] = [2, 3]

const cases = {
  pages: {
    window: undefined,
    rows: [5, 2, 2, 2],
    ring: false,
    // Both begin with page 4, which is full.
    table: [4, 0, 2, 4, 3, 1],
    lengths: [2, 3]
  },
  "a ring, one sequence around its end": {
    window: 2,
    rows: [B, 2, 5, 2],
    ring: true,
    table: undefined,
    lengths: [1, 8]
  }
}

test.each(Object.entries(cases))(
  "%s: on the device as on the reference, one flash_attention",
  async (_, own) => {
    const { window, rows, ring, table: places = [], lengths } = own
    const layer = nn.attention({ features: 8, heads: 4, kvHeads: 2, causal: true, window })
    const signature = {
      ...nn.Params.signature(layer.params),
      ...{ x: spec("f32", [B, T, 8]), key: spec("f32", rows), value: spec("f32", rows) },
      ...{ table: spec("i32", [B, places.length / B]), length: spec("i32", [B]) }
    }
    const from = Arrays.random(5)
    const given = {
      ...Object.fromEntries(
        Object.entries(signature).map(([name, { shape }]) => [
          name,
          Arrays.array(from, "f32", shape as ReadonlyArray<number>)
        ])
      ),
      table: HostArray.fromNumbers("i32", [B, places.length / B], places),
      length: HostArray.fromNumbers("i32", [B], lengths)
    }
    const run = Effect.gen(function* () {
      const f = yield* compile(
        ({ x, key, value, table, length, ...p }) => {
          const cache = { key, value, length, ...(ring ? { ring } : { table }) }
          const after = layer.apply(nn.Params.nest(layer.params, p), { query: x, cache })
          return { out: after.out, key: after.cache?.key ?? key, value: after.cache?.value ?? value }
        },
        signature,
        { requireFused: true }
      )
      return { f, results: yield* f(given as never) }
    })
    const expected = await Effect.runPromise(run.pipe(Effect.provide(Reference.layer)))
    const actual = await Effect.runPromise(run.pipe(Effect.provide(await sharedLayer())))
    const arrays = (results: typeof actual.results) =>
      (["out", "key", "value"] as const).map((name) => results[name] as HostArray.HostArray)
    expectOutputs(actual.f.graph("traced"), {}, arrays(actual.results), arrays(expected.results), {
      expected: "exact",
      reassociated: true
    })
    const ops = actual.f.graph("after-fuse-attention").nodes.map(({ op }) => op)
    expect(ops.filter((op) => op === "flash_attention")).toHaveLength(1)
  }
)

test.each([
  ["f32", 8, 1],
  ["f16", 4, 2],
  ["f32", 6, 3]
] as const)(
  "pages give what a cache that lies whole gives, bit for bit: %s, %i, %i",
  async (dtype, headSize, count) => {
    const both = onPagesAndWhole(dtype, headSize, count).pipe(Effect.provide(await sharedLayer()))
    const { paged, whole } = await Effect.runPromise(both)
    expect(paged.data).toEqual(whole.data)
  }
)

test("pages past the rows of a sequence are not visited", async () => {
  const limits = await limitsOf("cpu")
  const program = lower(cachePlan(true, limits), limits, { visits: true })
  const [W, P] = [40, 4]
  const sizes = { B: 2, T: 1, W, P }
  const visited = async (lengths: ReadonlyArray<number>): Promise<number> => {
    const from = Arrays.random(4)
    const inputs = program.inputs.map(({ name, type }) => {
      const shape = Shape.evaluate(type.shape, sizes)
      if (name === "length") return HostArray.fromNumbers("i32", shape, lengths)
      return type.dtype === "f32" ? Arrays.array(from, "f32", shape) : HostArray.zeros(type.dtype, shape)
    })
    const results = await runProgram(program, inputs, sizes, new Set([inputs.length - 1]))
    const [, , keys] = HostArray.toNumbers(results.at(-1) as HostArray.HostArray)
    return keys as number
  }
  // Two key/value heads visit the filled rows and the new one.
  expect(await visited([5, 90])).toBe(2 * (6 + 91))
  expect(await visited([0, 319])).toBe(2 * (1 + 320))
})

test.each(variants)("kernels that read pages compile for every device: %s", async (_, limits) => {
  const program = lower(cachePlan(true, limits), limits)
  expect(program.kernels.filter(({ name }) => name.startsWith("flash")).length).toBeGreaterThan(2)
  await validate(program)
})
