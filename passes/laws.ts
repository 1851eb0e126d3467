import { rules as canonical } from "./canonicalize.ts"
import { rules as masks } from "./normalizeMask.ts"
import { rules as softmaxes } from "./normalizeSoftmax.ts"

/** What a rule makes of what, as mathematics or in words. */
export interface Law {
  readonly before: string
  readonly after: string
}

/** Where the first equals sign stands that no bracket encloses. */
const equalsAt = (law: string): number => {
  let depth = 0
  for (let at = 0; at < law.length; at++) {
    const c = law[at] as string
    if ("([{".includes(c)) depth++
    else if (")]}".includes(c)) depth--
    else if (depth === 0 && law.startsWith(" = ", at)) return at
  }
  return -1
}

const split = (law: string): Law => {
  const at = equalsAt(law)
  return at < 0
    ? { before: law, after: "the same, simpler" }
    : { before: law.slice(0, at), after: law.slice(at + 3) }
}

const law = (before: string, after: string): Law => ({ before, after })

/** Steps of passes that are no rules of algebra: they recognise, and carry something over into the attention node. */
const recognised: { readonly [rule: string]: Law } = {
  "fold-constants": law("arithmetic on constants", "the number it gives"),
  "unexpand-heads": law(
    "heads that are repeated before a contraction",
    "the heads there are, read in groups"
  ),
  "scale-of-queries": law("(q · c) kᵀ", "(q kᵀ) · c"),
  "scale-of-keys": law("q (k · c)ᵀ", "(q kᵀ) · c"),
  "scale-of-values": law("p (v · c)", "(p v) · c"),
  "group-of-heads": law("a key head for each query head", "query heads that share a key head"),
  "several-logits": law("q kᵀ + r sᵀ", "two logits of one pair, both summed in the loop"),
  "contraction-is-read": law("a contraction with keys that queries do not share", "a tensor the loop reads"),
  "infinity-is-a-mask": law("scores of -∞", "pairs that take no part"),
  "fill-is-kept": law("scores of a finite number", "the fill of the pairs the mask leaves out"),
  "zero-is-a-mask": law("weights of 0", "pairs that take no part"),
  "weights-without-softmax": law("f(q kᵀ) v", "the sum over keys as it is, without a normaliser"),
  "columns-without-values": law("columns of the softmax that meet no value", "a sink in the sum"),
  "factor-on-weights": law("softmax(x) · f", "a factor on each weight, in the loop"),
  "sum-is-shared": law("logsumexp of the same scores", "what the loop knows in the end"),
  "maximum-is-shared": law("max of the same scores", "what the loop knows in the end"),
  "weights-from-sum": law("softmax(x) that somebody else reads", "exp(x - max) / sum, of what the loop knows")
}

const laws = new Map<string, Law>([
  ...[...canonical, ...softmaxes, ...masks].map((rule) => [rule.name, split(rule.law)] as const),
  ...Object.entries(recognised)
])

/** What a rule does; undefined for a name that nobody explained. */
export const lawOf = (rule: string): Law | undefined => laws.get(rule)
