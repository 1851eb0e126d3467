import type { Bindings } from "../../ir/Dim.ts"
import type { Plan, Stats } from "../Backend.ts"
import * as Program from "./Program.ts"
import * as Size from "./Size.ts"

/** What one call costs, counted from the steps that its lengths select. */
export const statsOf = (_plan: Plan, program: Program.Program, sizes: Bindings): Stats => {
  const steps = Program.steps(program, sizes)
  const used = Program.slotsOf(steps)
  return {
    dispatches: steps.length,
    scratchBytes: program.slots.reduce(
      (sum, s, i) => (used.has(i) ? sum + Size.evaluate(s.bytes, sizes) : sum),
      0
    ),
    keyValueBytesRead: 0,
    pipelines: program.kernels.length
  }
}
