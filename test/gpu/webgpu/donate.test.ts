import { expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { cacheUpdate, type Donated, scattered } from "../../support/donated.ts"
import { limitsOf, runProgram } from "../../support/runProgram.ts"

/** What is expected with the first input kept and given away, and the kernels that each takes. */
const agrees = async (
  { plan, values, sizes }: Donated,
  kept: ReadonlyArray<string>,
  given: ReadonlyArray<string>
): Promise<void> => {
  const program = lower(plan, await limitsOf("cpu"))
  expect(program.outputs[0]?.donor).toBe(0)
  const [expected] = Reference.evaluate(plan.graph, values, sizes)
  expect(HostArray.toNumbers(expected as HostArray.HostArray)).not.toEqual(HostArray.toNumbers(values[0]))
  for (const [donated, kernels] of [
    [new Set<number>(), kept],
    [new Set([0]), given]
  ] as const) {
    const [actual] = await runProgram(program, values, sizes, donated)
    expect(actual?.data).toEqual(expected?.data)
    const names = Program.steps(program, sizes, donated).map((s) => program.kernels[s.kernel]?.name)
    expect(names).toEqual(kernels)
  }
}

test.each(["f32", "f16"] as const)(
  "an update of a donated %s input is written into its buffer",
  async (d) => {
    // The update alone is written: the rest of a donated buffer is neither read nor copied.
    for (const wrap of [false, true]) await agrees(cacheUpdate(d, wrap, true), ["map"], ["update"])
  }
)

test.each(["f32", "f16"] as const)("entries of %s are scattered into a donated buffer, or a copy", (d) =>
  agrees(scattered(d, true), ["map", "update"], ["update"])
)
