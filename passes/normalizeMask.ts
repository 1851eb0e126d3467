import { type Pass, quiet } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { masks } from "./rules/mask.ts"

/** The rules of this pass, for those who list or test them. */
export const rules: ReadonlyArray<Rule.Rule> = masks

/** A mask is a select on the scores, with the fill that was written. */
export const normalizeMask: Pass = {
  name: "normalize-mask",
  summary: "where / masked_fill / additive / multiplied masks: one predicate plus a fill that is kept",
  from: "traced",
  to: "traced",
  run: (graph, { count }) => quiet(Rule.rewrite(graph, rules, count))
}
