import { expect, test } from "vitest"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { lower } from "../../../backends/wasm/lower.ts"
import * as Program from "../../../backends/wasm/Program.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText } from "../../support/flashText.ts"
import { expectGolden } from "../../support/golden.ts"
import { planOf } from "../../support/onWasm.ts"

const features = { simd: true, relaxed: false }

const programs: { readonly [name: string]: string } = {
  map: `
%x: f32[T, S] = input {name = "x"}
%y: f32[S] = input {name = "y"}
%sum: f32[T, S] = add %x, %y
return %sum`,
  rows: `
%x: f16[T, 6] = input {name = "x"}
%sum: f16[T] = reduce_sum %x {axes = [1]}
return %sum`
}

test.each(Object.entries(programs))("%s, as text", (name, text) => {
  const program = lower(planOf(graphOf(text)), features)
  expectGolden(new URL(`golden/${name}.wat`, import.meta.url), Program.wat(program))
})

test("the plan of attention", () => {
  const program = lower(planOf(graphOf(flashText({ ...causal, heads: [4, 2] }))), features)
  expectGolden(new URL("golden/attention.txt", import.meta.url), Program.print(program))
  const bytes = encode(program.module)
  expect((engine() as Engine).validate(bytes)).toBe(true)
  // Sent to nobody, but compiled at each start.
  expect(bytes.length).toBeLessThan(24_000)
})
