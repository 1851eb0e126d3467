import { describe, expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import type { Limits } from "../../../ir/Limits.ts"
import { opNames } from "../../../ir/ops.ts"
import { graphOf } from "../../support/evaluate.ts"
import { exampleText } from "../../support/examples.ts"
import { kernelTexts } from "../../support/kernelTexts.ts"
import { planOf } from "../../support/plans.ts"
import { validate, variants } from "../../support/runProgram.ts"

/** Compiles, for a device with these limits, the kernels of a text; says how many there were. */
const check = async (text: string, limits: Limits): Promise<number> => {
  const program = lower(planOf(graphOf(text)), limits)
  await validate(program)
  for (const kernel of program.kernels) {
    const bytes = kernel.workgroupBytes <= limits.maxComputeWorkgroupStorageSize
    const threads = kernel.workgroupSize.reduce((a, b) => a * b) <= limits.maxComputeInvocationsPerWorkgroup
    expect([bytes, threads, kernel.requires.f16 !== true || limits.shaderF16]).toEqual([true, true, true])
  }
  return program.kernels.length
}

const widths = ["f32", "f16", "bf16"]

describe.each(variants)("a compiler front end accepts, for %s,", (_, limits) => {
  test("the example of every op", async () => {
    // Attention needs a schedule; its kernels are validated with theirs.
    for (const op of opNames.filter((name) => name !== "flash_attention")) {
      const text = exampleText(op)
      for (const d of text.includes(": f32") ? widths : ["f32"]) {
        const only = op === "input" || op === "constant"
        expect(await check(text.replaceAll(": f32", `: ${d}`), limits), `${op} over ${d}`).toBeGreaterThan(
          only ? -1 : 0
        )
      }
    }
  })

  test.each(Object.keys(kernelTexts))("%s", async (name) => {
    expect(await check(kernelTexts[name] as string, limits)).toBeGreaterThan(0)
  })
})

test("the front end refuses what is no WGSL", async () => {
  const [, limits] = variants[0] as (typeof variants)[number]
  const program = lower(planOf(graphOf(kernelTexts["rows-sum"] as string)), limits)
  const broken = program.kernels.map((k) => ({ ...k, wgsl: k.wgsl.replace("fn main", "fn mian") }))
  await expect(validate({ ...program, kernels: broken })).rejects.toThrow()
})
