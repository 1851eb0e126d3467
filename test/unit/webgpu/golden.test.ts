import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import { graphOf } from "../../support/evaluate.ts"
import { expectGolden } from "../../support/golden.ts"
import { kernelTexts } from "../../support/kernelTexts.ts"
import { planOf } from "../../support/plans.ts"
import { variants } from "../../support/runProgram.ts"

for (const [name, text] of Object.entries(kernelTexts)) {
  test(name, () => {
    const printed = variants.map(([variant, limits]) => {
      const program = lower(planOf(graphOf(text)), limits)
      return `# ${variant}\n${Program.print(program, { wgsl: true })}`
    })
    expectGolden(new URL(`golden/${name}.txt`, import.meta.url), printed.join("\n\n"))
  })
}

test("a program depends on its graph and the limits alone", () => {
  for (const text of Object.values(kernelTexts)) {
    const print = () =>
      Program.print(lower(planOf(graphOf(text)), (variants[0] as (typeof variants)[number])[1]), {
        wgsl: true
      })
    expect(print()).toBe(print())
  }
})

test("no name from outside reaches WGSL", () => {
  const text = (kernelTexts["matmul-scores"] as string)
    .replaceAll("%q", "%hostile_a")
    .replaceAll('"q"', '"*/ evil(); /*"')
    .replace(/\bT\b/g, "hostile_symbol")
  for (const [, limits] of variants) {
    const program = lower(planOf(graphOf(text)), limits)
    expect(program.symbols).toContain("hostile_symbol")
    for (const kernel of program.kernels) expect(kernel.wgsl).not.toMatch(/hostile|evil/)
  }
})
