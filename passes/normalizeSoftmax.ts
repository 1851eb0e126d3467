import { type Pass, quiet } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { divisions } from "./rules/division.ts"
import { softmaxes } from "./rules/softmax.ts"

/** The rules of this pass, for those who list or test them. */
export const rules: ReadonlyArray<Rule.Rule> = [...softmaxes, ...divisions]

/** Softmax as an op, however it was spelled; sinks as columns of the scores. */
export const normalizeSoftmax: Pass = {
  name: "normalize-softmax",
  summary: "op, max-shifted, safe, base-2, division after P·V: one spelling",
  from: "traced",
  to: "traced",
  run: (graph, { count }) => quiet(Rule.rewrite(graph, rules, count))
}
