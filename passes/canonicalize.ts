import { foldConstants } from "./foldConstants.ts"
import { type Pass, quiet } from "./Pass.ts"
import * as Rule from "./Rule.ts"
import { arithmetic } from "./rules/arithmetic.ts"
import { casts } from "./rules/casts.ts"
import { contractions } from "./rules/contraction.ts"
import { movement } from "./rules/movement.ts"
import { repeats } from "./rules/repeats.ts"

/** The rules of this pass, for those who list or test them. */
export const rules: ReadonlyArray<Rule.Rule> = [
  ...arithmetic,
  ...casts,
  ...movement,
  ...repeats,
  ...contractions
]

/** Fewer spellings of one meaning: constants computed, identities gone, chains of views and casts as short as they get. */
export const canonicalize: Pass = {
  name: "canonicalize",
  summary: "so later passes meet one spelling of scale, transpose, reshape and cast chains",
  from: "any",
  to: "same",
  run: (graph, { count }) => quiet(Rule.rewrite(foldConstants(graph, count), rules, count))
}
