/** Texts of a million tokens: sine and cosine of large angles on every backend. */
import { Effect } from "effect"
import { test } from "vitest"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { compile } from "../../src/compile.ts"
import * as nn from "../../src/nn/index.ts"
import { spec } from "../../src/spec.ts"
import type * as Tensor from "../../src/Tensor.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as Arrays from "../support/arrays.ts"
import { expectOutputs } from "../support/tolerance.ts"
import { sharedLayer } from "../support/webgpu.ts"

// Where reduction changes its way, where positions are round, and beyond.
const places = [0, 1, 12867, 12868, 65535, 99999, 131071, 131072, 200003, 262143, 524287, 999999, 1048576]

const longer = { factor: 8, trained: 8192 } as const
const kinds: { readonly [name: string]: nn.RopeConfig } = {
  plain: {},
  interleaved: { interleaved: true, base: 500000 },
  "part of a head": { dims: 6 },
  linear: { scaling: { kind: "linear", factor: 8 } },
  ntk: { scaling: { kind: "ntk", factor: 8 } },
  yarn: { scaling: { kind: "yarn", ...longer } },
  llama3: { base: 500000, scaling: { kind: "llama3", ...longer, low: 1, high: 4 } }
}

const sizes = { B: 2, T: places.length }
const positions = HostArray.fromNumbers("i32", [places.length], places)

const onAll = async (
  turn: (x: Tensor.Tensor, at: Tensor.Tensor, first: Tensor.Tensor) => Tensor.Tensor,
  first: ReadonlyArray<number>
): Promise<void> => {
  const signature = {
    x: spec("f32", ["B", 3, "T", 16]),
    at: spec("i32", ["T"]),
    first: spec("i32", ["B"])
  } as const
  for (const layer of [Wasm.layer, Wasm.layerWith({ simd: false }), await sharedLayer()]) {
    const program = Effect.gen(function* () {
      const f = yield* compile(({ x, at, first }) => turn(x, at, first), signature)
      const x = Arrays.array(Arrays.random(5), "f32", [2, 3, places.length, 16], "uniform")
      const given = { x, at: positions, first: HostArray.fromNumbers("i32", [2], first) }
      const traced = f.graph("traced")
      const inputs = traced.inputs.map(({ attrs }) => given[attrs.name as keyof typeof given])
      // Angles are products of floats, as written, so what is expected rounds them, too.
      const expected = ReferenceBackend.evaluate(traced, inputs, sizes)
      expectOutputs(traced, sizes, [yield* f(given)], expected, { reassociated: true, expected: "rounded" })
    })
    await Effect.runPromise(Effect.provide(program, layer))
  }
}

test.each(Object.entries(kinds))("positions: %s", (_, config) =>
  onAll((x, at) => nn.rope(x, config, { positions: at }), [0, 0])
)

test("rows of a batch that stand apart", () =>
  onAll((x, _, first) => nn.rope(x, {}, { offset: first }), [131072, 1048560]))
