import { Effect } from "effect"
import { afterEach, describe, expect, test, vi } from "vitest"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import { compile } from "../../src/compile.ts"
import * as arrays from "../support/arrays.ts"
import { sharedDevice } from "../support/dawn.ts"
import { blocks, movement, type OpProgram } from "../support/opPrograms.ts"
import { checked } from "../support/roundTrips.ts"
import { expectOutputs } from "../support/tolerance.ts"
import { sharedLayer } from "../support/webgpu.ts"

afterEach(() => void vi.restoreAllMocks())

/** Compiled once, on WebGPU, and run at several lengths: each time what the float64 oracle makes of the traced graph. */
const agrees = async (
  program: OpProgram,
  lengths: ReadonlyArray<{ readonly B: number; readonly T: number }>
): Promise<void> => {
  const device = await sharedDevice()
  const made = vi.spyOn(device, "createComputePipelineAsync")
  const whole = Effect.gen(function* () {
    const f = yield* compile(program.build, program.signature, { hooks: [checked] })
    const traced = f.graph("traced")
    let pipelines: number | undefined
    for (const [n, sizes] of lengths.entries()) {
      const from = arrays.random(n + 1)
      const given = traced.inputs.map((i) =>
        arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes))
      )
      const expected = ReferenceBackend.evaluate(traced, given, sizes, { precision: "f64" })
      const results = yield* f(
        Object.fromEntries(traced.inputs.map((i, at) => [i.attrs.name, given[at]])) as never
      )
      const actual = traced.outputs.map(({ name }) => results[name] as HostArray)
      expectOutputs(traced, sizes, actual, expected, { reassociated: true, exponent: 16 })
      pipelines ??= made.mock.calls.length
    }
    expect(made.mock.calls.length).toBe(pipelines)
  })
  await Effect.runPromise(Effect.provide(whole, await sharedLayer()))
}

describe("programs without attention, at any lengths by the same kernels", () => {
  test.each(Object.entries(blocks))("%s", (_, program) =>
    agrees(program, [
      { B: 2, T: 7 },
      { B: 1, T: 13 },
      { B: 3, T: 1 },
      { B: 1, T: 0 }
    ])
  )
})

describe("elements that only move", () => {
  const dtypes = ["f32", "f16", "bf16", "i32", "u32", "bool"] as const
  test.each(Array.from({ length: 12 }, (_, i) => [dtypes[i % 6] as (typeof dtypes)[number], i] as const))(
    "%s, seed %i",
    (dtype, seed) =>
      agrees(movement(dtype, seed), [
        { B: 2, T: 5 },
        { B: 3, T: 2 },
        { B: 1, T: 1 }
      ])
  )
})
