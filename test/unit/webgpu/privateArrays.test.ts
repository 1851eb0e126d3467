/** An array of a thread that numbers known only at run time index lies in memory: none does where keys are visited, or a depth is summed. */
import { describe, expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Limits from "../../../ir/Limits.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText } from "../../support/flashText.ts"
import { kernelTexts } from "../../support/kernelTexts.ts"
import { planOf } from "../../support/plans.ts"
import { variants } from "../../support/runProgram.ts"

const attentions = [5, 64, 256].flatMap((size) =>
  ["f32", "f16"].map((dtype) => {
    const text = flashText({
      ...causal,
      heads: [8, 2],
      head: [size, size],
      dtype,
      outputs: ["result", "lse"]
    })
    return [`attention of ${size} ${dtype}`, text] as const
  })
)

const products = ["matmul-scores", "matmul-long"].map((name) => [name, kernelTexts[name] as string] as const)

const devices = [
  ...variants,
  ["gpu with 32 KiB", { ...Limits.portable, maxComputeWorkgroupStorageSize: 32768 }]
] as const

const count = (line: string, brace: "{" | "}"): number => line.split(brace).length - 1

/** The lines of each loop that is in no other. */
const loops = (wgsl: string): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<Array<string>> = []
  let depth = 0
  let inside: number | undefined
  for (const line of wgsl.split("\n")) {
    if (inside === undefined && /^ *(for|loop|while)\b/.test(line)) {
      inside = depth
      found.push([])
    }
    if (inside !== undefined) found.at(-1)?.push(line)
    depth += count(line, "{") - count(line, "}")
    if (depth === inside) inside = undefined
  }
  return found
}

/** Indices of arrays that are a thread's own, which are no constants. */
const dynamic = (wgsl: string, lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const own = new Set([...wgsl.matchAll(/\bvar (\w+): array</g)].map(([, name]) => name))
  return lines
    .flatMap((line) => [...line.matchAll(/\b(\w+)\[([^\]]*)\]/g)])
    .flatMap(([text, name, index]) => (own.has(name) && !/^\d+u?$/.test(index as string) ? [text] : []))
}

describe.each(devices)("%s", (_, limits) => {
  test.each([...attentions, ...products])("%s", (_, text) => {
    for (const { name, wgsl } of lower(planOf(graphOf(text)), limits).kernels) {
      if (name.includes("combine")) continue
      const [longest = []] = [...loops(wgsl)].sort((a, b) => b.length - a.length)
      expect(longest.length, name).toBeGreaterThan(10)
      expect(dynamic(wgsl, longest), name).toEqual([])
    }
  })
})

test("one that a number of the call indexes is seen", () => {
  const wgsl =
    "fn main() {\n  var v0: array<f32, 4>;\n  for (var k0 = 0; k0 < 4; k0 += 1) {\n    if (k0 < 2) {\n      v0[k0] += v0[3];\n    }\n  }\n}"
  expect(loops(wgsl).map((lines) => dynamic(wgsl, lines))).toEqual([["v0[k0]"]])
})
