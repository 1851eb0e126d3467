import { expect, test } from "vitest"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { lower } from "../../../backends/wasm/lower.ts"
import * as Program from "../../../backends/wasm/Program.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText } from "../../support/flashText.ts"
import { expectGolden } from "../../support/golden.ts"
import { kernelTexts } from "../../support/kernelTexts.ts"
import { planOf } from "../../support/plans.ts"

const features = { simd: true, relaxed: false }

/** Those of WebGPU's goldens; of products one, which has what each of them has, and the sum of a function of one. */
const names = [
  "map-swish-f16",
  "map-heads",
  "map-cache",
  "rows-softmax",
  "rows-rms-norm",
  "rows-sum",
  "matmul-gelu",
  "matmul-sum"
] as const

test.each(names)("%s, as text", (name) => {
  const program = lower(planOf(graphOf(kernelTexts[name] as string)), features)
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
