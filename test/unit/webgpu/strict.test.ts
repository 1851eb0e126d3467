/** What one compiler takes and another does not: texts are tested with one, and run on all. */
import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText, schedulesOf, small, smallQuads, smallStaged } from "../../support/flashText.ts"
import { kernelTexts } from "../../support/kernelTexts.ts"
import { planOf } from "../../support/plans.ts"
import { variants } from "../../support/runProgram.ts"

const sinks = {
  ...causal,
  captures: { sinks: "f32[4]" },
  sink: ["%z: f32[] = load %sinks, %h"],
  heads: [4, 2] as const
}

const texts = variants.flatMap(([, own]) => {
  const limits = { ...own, subgroups: { min: 4, max: 4 } }
  const kernels = (text: string, schedule?: typeof small) =>
    lower(planOf(graphOf(text), schedule && schedulesOf(schedule)(graphOf(text))), limits).kernels
  return [
    ...Object.values(kernelTexts).flatMap((text) => kernels(text)),
    ...[small, smallQuads, smallStaged].flatMap((s) => kernels(flashText(sinks), s))
  ].map(({ wgsl }) => wgsl)
})

test("nothing is subtracted from itself: Mesa's drivers take that for 0 where it is NaN", () => {
  const itself = /(?<![\w.\])] ?[*/%] ?)(\b[A-Za-z][\w.]*(?:\[\w+\])?) - \1(?![\w.[(])/
  expect("(x80 - x80)").toMatch(itself)
  expect("(x80 - x8)").not.toMatch(itself)
  for (const text of texts) expect(text).not.toMatch(itself)
})

test("a text asks for the features that it uses, in front, and for no others", () => {
  for (const text of texts) {
    const [first = "", ...rest] = text.split(/(?=^struct )/m)
    expect(first.includes("enable f16;")).toBe(/\bf16\b/.test(rest.join("")))
    expect(first.includes("enable subgroups;")).toBe(/\b(quad[A-Z]\w+|subgroup\w+)\b/.test(rest.join("")))
  }
})
