import { Result } from "effect"
import { expect, test } from "vitest"
import { lower } from "../../backends/webgpu/lower.ts"
import type { Node } from "../../ir/Node.ts"
import type { Schedule } from "../../ir/Schedule.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { smallStaged } from "../support/flashText.ts"
import { call, inFloat32, runs, traced } from "../support/programs/judge.ts"
import { draw } from "../support/programs/Program.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** Programs over f16, drawn at random. */
const programs = Array.from({ length: 400 }, (_, n) => draw(n + 1))
  .filter(({ choices }) => choices.dtype === "f16")
  .slice(0, 12)

test("attention drawn at random agrees with what was written where products are in f16", async () => {
  const device = await limitsOf("gpu")
  const able = { ...device, shaderF16: true }
  let inHalf = 0
  for (const p of programs) {
    const graph = traced(p)
    const compiled = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: able, arithmetic: "f16" }))
    const { schedules, memory } = compiled
    if (memory === undefined) throw new Error("plan-memory ran last")
    // Small tiles, which these lengths fill and which compile quickly.
    const small = new Map<Node, Schedule>(
      [...schedules].map(([node, s]) => {
        if (s.kind !== "flash" || s.prefill.arithmetic === undefined) return [node, s] as const
        inHalf++
        return [node, { ...smallStaged, prefill: { ...smallStaged.prefill, arithmetic: "f16" } }] as const
      })
    )
    // The software device rounds in the place of f16.
    const program = lower({ graph: compiled.graph, schedules: small, memory }, device)
    for (const lengths of runs(p)) {
      const c = call(p, graph, lengths)
      const exponent = 40
      const f32 = Tolerance.of(graph, c.sizes, { reassociated: true, exponent, arithmetic: "f16" })
      const actual = await runProgram(program, c.given, c.sizes)
      const why = inFloat32(graph, { ...c, tolerances: { ...c.tolerances, f32 } }, actual)
      expect(why, `seed ${p.seed}: ${JSON.stringify(p.choices)}`).toBeUndefined()
    }
  }
  expect(inHalf).toBeGreaterThan(8)
})
