import { Effect } from "effect"
import { expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import { upload } from "../../../src/transfer.ts"

it("a definition applies a layer to parameters as drawn, by name, and on the device", async () => {
  const layer = nn.mlp({ features: 3, hidden: 4 })
  const block = nn.define(layer, { x: spec("f32", ["T", 3]) }, (apply, { x }) => apply(x))
  expect(Object.keys(block.signature)).toEqual([
    ...["params.up.weight", "params.up.bias", "params.down.weight", "params.down.bias", "x"]
  ])
  const params = layer.init(1)
  const x = HostArray.fromNumbers("f32", [2, 3], [1, 2, 3, 4, 5, 6])
  const outputs = await Effect.runPromise(
    Effect.gen(function* () {
      const f = yield* compile(block.fn, block.signature, block.options)
      const flat = nn.Params.flatten(params)
      const onDevice = yield* Effect.all(
        Object.fromEntries(Object.entries(flat).map(([name, value]) => [name, upload(value)]))
      )
      return [
        yield* f(block.inputs(params, { x })),
        yield* f(block.inputs(flat, { x })),
        yield* f(block.inputs(onDevice, { x }))
      ]
    }).pipe(Effect.scoped, Effect.provide(Reference.layer))
  )
  expect(outputs[0]?.shape).toEqual([2, 3])
  expect(outputs[1]).toEqual(outputs[0])
  expect(outputs[2]).toEqual(outputs[0])
})
