import type { Node } from "../../ir/Node.ts"
import * as A from "./arithmetic.ts"
import { boundsOf, type Scope } from "./bounds.ts"
import * as Keys from "./Keys.ts"
import * as Linear from "./Linear.ts"

/** A condition and its opposite, as far as they are known. */
export interface Known {
  readonly yes: Keys.Keys
  readonly no: Keys.Keys
}

/** Maxima and choices that a comparison is taken apart by; more of them are not analysed. */
const mostParts = 8

/** Where x ≤ 0. `condition` knows the conditions of choices. */
export const atMostZero = (
  x: Linear.Linear,
  scope: Scope,
  condition: (node: Node) => Known,
  parts = 0
): Keys.Keys => {
  if (!Linear.isTame(x) || parts > mostParts) return Keys.unknown
  for (const { atom, coefficient } of x.terms.values()) {
    const at = (replacement: Linear.Linear): Keys.Keys =>
      atMostZero(
        Linear.plus(Linear.minus(x, Linear.scale(Linear.one(atom), coefficient)), replacement, coefficient),
        scope,
        condition,
        parts + 1
      )
    if (atom.tag === "max") {
      // max(a, b) ≤ r means a ≤ r and b ≤ r; r ≤ max(a, b) means r ≤ a or r ≤ b.
      const [left, right] = [at(atom.left), at(atom.right)]
      return coefficient > 0 ? Keys.and(left, right) : Keys.or(left, right, scope.keys)
    }
    if (atom.tag === "choice") {
      const { yes, no } = condition(atom.condition)
      return Keys.or(Keys.and(yes, at(atom.then)), Keys.and(no, at(atom.otherwise)), scope.keys)
    }
  }
  return linearAtMostZero(Linear.simplify(x), scope)
}

const linearAtMostZero = (x: Linear.Linear, scope: Scope): Keys.Keys => {
  const j = x.terms.get("j")
  if (j !== undefined)
    return alongKeys(j.coefficient, Linear.minus(x, Linear.scale(Linear.j, j.coefficient)), scope)
  for (const { atom, coefficient } of x.terms.values()) {
    if (atom.tag !== "quotient" || Math.abs(coefficient) !== 1 || !Linear.atomDependence(atom).j) continue
    const rest = Linear.minus(x, Linear.scale(Linear.one(atom), coefficient))
    // floor(u / n) ≤ -r means u + n r ≤ n - 1; r ≤ floor(u / n) means n r - u ≤ 0.
    const cleared =
      coefficient === 1
        ? Linear.plus(Linear.plus(atom.of, rest, atom.by), Linear.constant(1 - atom.by))
        : Linear.minus(Linear.scale(rest, atom.by), atom.of)
    return Linear.isTame(cleared) ? linearAtMostZero(Linear.simplify(cleared), scope) : Keys.unknown
  }
  const bounds = boundsOf(x, scope)
  if (bounds === undefined) return Keys.unknown
  return {
    some: Keys.when(A.le(bounds.least, A.int(0)), scope.keys),
    every: Keys.when(A.le(bounds.most, A.int(0)), scope.keys)
  }
}

/** Where c * j + rest ≤ 0: up to some key for a positive c, from some key on for a negative one. */
const alongKeys = (c: number, rest: Linear.Linear, scope: Scope): Keys.Keys => {
  const step = Math.abs(c)
  // j ≤ floor(-rest / c) means j < floor((c - rest) / c); j ≥ ceil(rest / n) means j ≥ floor((rest + n - 1) / n).
  const end = c > 0 ? Linear.minus(Linear.constant(c), rest) : Linear.plus(rest, Linear.constant(step - 1))
  const bounds = boundsOf(end, scope)
  if (bounds === undefined) return Keys.unknown
  const [least, most] = [A.floorDiv(bounds.least, step), A.floorDiv(bounds.most, step)]
  return c > 0 ? { some: { hi: most }, every: { hi: least } } : { some: { lo: least }, every: { lo: most } }
}
