/** Loads of keys and values, counted where kernels make them: what `keyValueBytesRead` says, and no more. */
import { describe, expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import type * as Program from "../../../backends/webgpu/Program.ts"
import { statsOf } from "../../../backends/webgpu/stats.ts"
import { choose } from "../../../ir/chooseFlash.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { type Attention, causal, flashText, schedulesOf, window } from "../../support/flashText.ts"
import { planOf } from "../../support/plans.ts"
import { runProgram } from "../../support/runProgram.ts"

const [keys, values] = [1, 2]

/** The kernels of a program that counts visits, counting loads of keys and of values in their place. */
const counting = (program: Program.Program): Program.Program => ({
  ...program,
  kernels: program.kernels.map((kernel, index) => {
    const { buffers } = program.steps.find((s) => s.kernel === index) as Program.Step
    const bindings = (input: number): ReadonlyArray<string> =>
      buffers.flatMap(({ _tag, index }, n) => (_tag === "input" && index === input ? [`b${n}`] : []))
    const counters = bindings(program.inputs.findIndex(({ name }) => name === "visits"))[0] ?? "none"
    const counted = (line: string): string => {
      if (line.includes(`atomicAdd(&${counters}[`)) return ""
      const added = [keys, values].filter((input) => bindings(input).some((b) => line.includes(`${b}[`)))
      for (const _ of added) expect(line).toMatch(/^ *let x\d+ = b\d\[x\d+\];$/)
      return [...added.map((input) => `atomicAdd(&${counters}[${input - 1}], 1u);`), line].join("\n")
    }
    return { ...kernel, wgsl: kernel.wgsl.split("\n").map(counted).join("\n") }
  })
})

const [D, group, heads, S] = [16, 4, 2, 128]

/** Loads of keys and of values by a call of so many queries, those that are said, and those that ends of tiles may add. */
const loads = async (attention: Attention, limits: Limits.Limits, T: number) => {
  const graph = graphOf(flashText({ heads: [heads * group, heads], head: [D, D], ...attention }))
  const schedule = choose(limits, D, D, group)
  const plan = planOf(graph, schedulesOf(schedule)(graph))
  const program = lower(plan, limits, { visits: true })
  const from = arrays.random(3)
  const sizes = { T, S }
  const inputs = graph.inputs.map(({ type }) =>
    arrays.array(from, type.dtype, Shape.evaluate(type.shape, sizes))
  )
  const zeros = HostArray.fromNumbers("u32", [3], new Float64Array(3))
  const all = await runProgram(counting(program), [...inputs, zeros], sizes, new Set([inputs.length]))
  const [ofKeys, ofValues] = HostArray.toNumbers(all.at(-1) as HostArray.HostArray)
  const said = statsOf(plan, program, limits, sizes).keyValueBytesRead / 2 / 16
  // Both ends of what a block visits; a decode's threads each begin with a key.
  const ends = 2 * Math.max(schedule.prefill.keys, schedule.short?.keys ?? 0, schedule.decode.threads)
  const blocks = Math.ceil((group * T) / schedule.prefill.rows) * schedule.prefill.threads
  return { ofKeys, ofValues, said, most: said + heads * blocks * ends * (D / 4) }
}

const software: Limits.Limits = { ...Limits.portable, kind: "cpu", subgroups: { min: 4, max: 4 } }

describe.each([
  ["a GPU", Limits.portable, [1, 2, 8, 64]],
  ["a software device", software, [1, 8, 64]],
  ["a software device without subgroups", { ...software, subgroups: undefined }, [1, 7, 70]]
] as const)("on %s", (_, limits, lengths) => {
  test.each(lengths)("%i queries that see every key: each is loaded as often as it is said", async (T) => {
    const { ofKeys, ofValues, said } = await loads({}, limits, T)
    expect([ofKeys, ofValues]).toEqual([said, said])
  })

  test.each(lengths)(
    "%i queries under a mask: no more than what rows see, and the ends of tiles",
    async (T) => {
      for (const attention of [causal, window(40)]) {
        const { ofKeys, ofValues, said, most } = await loads(attention, limits, T)
        for (const count of [ofKeys, ofValues]) {
          expect(count).toBeGreaterThanOrEqual(said)
          expect(count).toBeLessThanOrEqual(most)
        }
      }
    }
  )
})
