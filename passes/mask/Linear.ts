import type { Node } from "../../ir/Node.ts"

/**
 * Integer expressions of a query index i and a key index j, as sums of atoms with integer coefficients. Equal sums have equal
 * terms, so what cancels is gone: `(i + 3) - (i - j)` is `j + 3`.
 */
export interface Linear {
  readonly terms: ReadonlyMap<string, Term>
  readonly constant: number
}

export interface Term {
  readonly atom: Atom
  readonly coefficient: number
}

export type Atom =
  | { readonly tag: "i" | "j" }
  /** Independent of i and j: lengths, captured scalars, anything of b and h. */
  | { readonly tag: "unit"; readonly node: Node }
  /** Rounded-down quotient by a positive number. */
  | { readonly tag: "quotient"; readonly of: Linear; readonly by: number }
  /** Remainder in 0..by - 1. */
  | { readonly tag: "remainder"; readonly of: Linear; readonly by: number }
  /** Quotient or remainder by a size, as where the heads of a group are packed into the queries. */
  | { readonly tag: "wrapped"; readonly op: "floor_div" | "mod"; readonly of: Linear; readonly by: Node }
  | { readonly tag: "max"; readonly left: Linear; readonly right: Linear }
  | {
      readonly tag: "choice"
      readonly condition: Node
      readonly then: Linear
      readonly otherwise: Linear
    }
  /** Anything else that depends on i or j, such as an element of a captured tensor. */
  | { readonly tag: "unknown"; readonly node: Node }

/** Sums of more terms, and numbers beyond this size, are not analysed: bounds on them must not overflow an i32. */
const mostTerms = 24
export const largest = 2 ** 28

const ids = new WeakMap<Node, number>()
let next = 0

const idOf = (node: Node): number => {
  const known = ids.get(node)
  if (known !== undefined) return known
  ids.set(node, next)
  return next++
}

const key = (x: Linear): string =>
  [...[...x.terms].map(([k, t]) => `${t.coefficient}${k}`).sort(), x.constant].join("+")

const atomKey = (atom: Atom): string => {
  switch (atom.tag) {
    case "i":
    case "j":
      return atom.tag
    case "unit":
    case "unknown":
      return `n${idOf(atom.node)}`
    case "quotient":
      return `(${key(atom.of)})/${atom.by}`
    case "remainder":
      return `(${key(atom.of)})%${atom.by}`
    case "wrapped":
      return `(${key(atom.of)})${atom.op} n${idOf(atom.by)}`
    case "max":
      return `max(${key(atom.left)},${key(atom.right)})`
    case "choice":
      return `if(n${idOf(atom.condition)},${key(atom.then)},${key(atom.otherwise)})`
  }
}

export const constant = (value: number): Linear => ({ terms: new Map(), constant: value })

export const one = (atom: Atom): Linear => ({
  terms: new Map([[atomKey(atom), { atom, coefficient: 1 }]]),
  constant: 0
})

export const i: Linear = one({ tag: "i" })
export const j: Linear = one({ tag: "j" })

/** `a + factor * b`. */
export const plus = (a: Linear, b: Linear, factor = 1): Linear => {
  const terms = new Map(a.terms)
  for (const [k, { atom, coefficient }] of b.terms) {
    const sum = (terms.get(k)?.coefficient ?? 0) + factor * coefficient
    if (sum === 0) terms.delete(k)
    else terms.set(k, { atom, coefficient: sum })
  }
  return { terms, constant: a.constant + factor * b.constant }
}

export const minus = (a: Linear, b: Linear): Linear => plus(a, b, -1)

export const scale = (a: Linear, factor: number): Linear => plus(constant(0), a, factor)

/** The value, where nothing but a number is left. */
export const value = (a: Linear): number | undefined => (a.terms.size === 0 ? a.constant : undefined)

/** Whether bounds on the expression can be computed: it is short, and its numbers are small. */
export const isTame = (a: Linear): boolean =>
  a.terms.size <= mostTerms &&
  Math.abs(a.constant) <= largest &&
  [...a.terms.values()].every(
    (t) => Number.isSafeInteger(t.coefficient) && Math.abs(t.coefficient) <= 2 ** 20
  )

/** Multiples of `by`, and what is left with a constant in 0..by - 1. */
const split = (a: Linear, by: number): readonly [multiple: Linear, rest: Linear] => {
  const [multiple, rest] = [new Map<string, Term>(), new Map<string, Term>()]
  for (const [k, t] of a.terms) {
    if (t.coefficient % by === 0) multiple.set(k, { atom: t.atom, coefficient: t.coefficient / by })
    else rest.set(k, t)
  }
  const whole = Math.floor(a.constant / by)
  return [
    { terms: multiple, constant: whole },
    { terms: rest, constant: a.constant - by * whole }
  ]
}

/** Choices and maxima in a sum, those within them included. */
const branches = (a: Linear): number =>
  [...a.terms.values()].reduce((sum, { atom }) => {
    if (atom.tag === "choice") return sum + 1 + branches(atom.then) + branches(atom.otherwise)
    return atom.tag === "max" ? sum + 1 + branches(atom.left) + branches(atom.right) : sum
  }, 0)

/** More of them stay inside a quotient or a remainder: each that leaves it writes it twice. */
const mostBranches = 3

/** `f(a)` with a choice outside: `f` of either side. */
const eachChoice = (a: Linear, f: (side: Linear) => Linear): Linear | undefined => {
  for (const { atom, coefficient } of a.terms.values()) {
    if (atom.tag !== "choice" || branches(a) > mostBranches) continue
    const rest = minus(a, scale(one(atom), coefficient))
    const [then, otherwise] = [
      f(plus(rest, atom.then, coefficient)),
      f(plus(rest, atom.otherwise, coefficient))
    ]
    return one({ tag: "choice", condition: atom.condition, then, otherwise })
  }
  return undefined
}

/** floor(a / by) for a positive number. Multiples leave the quotient: `(4 * i + 5) / 4` is `i + 1`. Choices do, too. */
export const quotient = (a: Linear, by: number): Linear => {
  if (by === 1) return a
  const chosen = eachChoice(a, (side) => quotient(side, by))
  if (chosen !== undefined) return chosen
  const [multiple, rest] = split(a, by)
  if (rest.terms.size === 0) return multiple
  const [only] = rest.terms.values()
  if (rest.terms.size === 1 && only?.atom.tag === "quotient" && only.coefficient === 1) {
    const { of, by: inner } = only.atom
    // floor((floor(u / m) + r) / n) = floor((u + m r) / (m n)).
    return plus(multiple, quotient(plus(of, constant(inner * rest.constant)), inner * by))
  }
  return plus(multiple, one({ tag: "quotient", of: rest, by }))
}

/** a - by * floor(a / by) for a positive number. */
export const remainder = (a: Linear, by: number): Linear => {
  const chosen = eachChoice(a, (side) => remainder(side, by))
  if (chosen !== undefined) return chosen
  const [, rest] = split(a, by)
  return rest.terms.size === 0 ? rest : one({ tag: "remainder", of: rest, by })
}

export const max = (left: Linear, right: Linear): Linear => {
  const difference = value(minus(left, right))
  if (difference !== undefined) return difference >= 0 ? left : right
  return one({ tag: "max", left, right })
}

export const min = (a: Linear, b: Linear): Linear => scale(max(scale(a, -1), scale(b, -1)), -1)

export interface Dependence {
  readonly i: boolean
  readonly j: boolean
}

const either = (a: Dependence, b: Dependence): Dependence => ({ i: a.i || b.i, j: a.j || b.j })

/** What an expression depends on; of what is unknown, both. */
export const dependence = (a: Linear): Dependence =>
  [...a.terms.values()].reduce<Dependence>((sum, t) => either(sum, atomDependence(t.atom)), {
    i: false,
    j: false
  })

export const atomDependence = (atom: Atom): Dependence => {
  switch (atom.tag) {
    case "i":
      return { i: true, j: false }
    case "j":
      return { i: false, j: true }
    case "unit":
      return { i: false, j: false }
    case "quotient":
    case "remainder":
    case "wrapped":
      return dependence(atom.of)
    case "max":
      return either(dependence(atom.left), dependence(atom.right))
    case "choice":
    case "unknown":
      return { i: true, j: true }
  }
}

/** Values that are added to others, with their largest factor: where they are small, no sum wraps. */
export const addends = (a: Linear): ReadonlyMap<Node, number> => {
  const found = new Map<Node, number>()
  const visit = (x: Linear): void => {
    const alone = x.terms.size === 1 && x.constant === 0
    for (const { atom, coefficient } of x.terms.values()) {
      if (atom.tag === "unit" && !(alone && coefficient === 1))
        found.set(atom.node, Math.max(found.get(atom.node) ?? 0, Math.abs(coefficient)))
      if (atom.tag === "quotient" || atom.tag === "remainder" || atom.tag === "wrapped") visit(atom.of)
      if (atom.tag === "max") [atom.left, atom.right].forEach(visit)
      if (atom.tag === "choice") [atom.then, atom.otherwise].forEach(visit)
    }
  }
  visit(a)
  return found
}

/**
 * The same value with fewer terms, where a quotient and a remainder say the same: `i - i % 4` is `4 * (i / 4)`, and
 * `i - 4 * (i / 4)` is `i % 4`. Fewer terms give closer bounds, since bounds forget how terms depend on each other.
 */
export const simplify = (a: Linear): Linear => {
  for (const { atom, coefficient } of a.terms.values()) {
    if (atom.tag !== "quotient" && atom.tag !== "remainder") continue
    const { of, by } = atom
    const without = minus(a, scale(one(atom), coefficient))
    let rewritten: Linear
    if (atom.tag === "remainder") {
      rewritten = plus(plus(without, of, coefficient), quotient(of, by), -coefficient * by)
    } else {
      if (coefficient % by !== 0) continue
      rewritten = plus(without, minus(of, remainder(of, by)), coefficient / by)
    }
    if (rewritten.terms.size < a.terms.size) return simplify(rewritten)
  }
  return a
}
