import * as Dim from "../../ir/Dim.ts"

/**
 * Where an element is read: an integer expression over index variables, as a sum of atoms with polynomial coefficients.
 *
 * Kept in a normal form, so that two expressions that the simplifier can show equal have one `key`. A variable runs over
 * 0 .. size-1; lengths are non-negative, and an expression is only ever asked about an element that exists.
 */
export interface IndexExpr {
  readonly terms: ReadonlyArray<Term>
  readonly constant: Dim.Dim
  readonly key: string
}

export interface Term {
  readonly atom: Atom
  readonly coefficient: Dim.Dim
}

/** What a sum is made of. `value` is an integer computed from data, known to its user by key. */
export type Atom =
  | { readonly _tag: "variable"; readonly key: string; readonly size: Dim.Dim }
  | { readonly _tag: "div"; readonly key: string; readonly of: IndexExpr; readonly by: Dim.Dim }
  | { readonly _tag: "mod"; readonly key: string; readonly of: IndexExpr; readonly by: Dim.Dim }
  | { readonly _tag: "value"; readonly key: string; readonly below: Dim.Dim | undefined }

const assemble = (terms: ReadonlyArray<Term>, constant: Dim.Dim): IndexExpr => {
  const sorted = [...terms].sort((a, b) => (a.atom.key < b.atom.key ? -1 : 1))
  const texts = sorted.map((t) => `(${t.coefficient.key})${t.atom.key}`)
  return { terms: sorted, constant, key: [...texts, constant.key].join("+") }
}

export const dim = (value: Dim.Dim): IndexExpr => assemble([], value)
export const constant = (value: number): IndexExpr => dim(Dim.constant(value))
export const zero: IndexExpr = constant(0)

const ofAtom = (atom: Atom): IndexExpr => assemble([{ atom, coefficient: Dim.one }], Dim.zero)

/** A variable that runs over 0 .. size-1. An axis of size 1 has no variable. */
export const variable = (name: string, size: Dim.Dim): IndexExpr =>
  Dim.isOne(size) ? zero : ofAtom({ _tag: "variable", key: name, size })

/** An integer that data decides; below `below` where that is known, and then never negative. */
export const value = (key: string, below?: Dim.Dim): IndexExpr => ofAtom({ _tag: "value", key, below })

/** The number of a constant expression. */
export const constantOf = (e: IndexExpr): number | undefined =>
  e.terms.length === 0 ? Dim.value(e.constant) : undefined

/** The only atom of an expression that is one atom. */
export const atomOf = (e: IndexExpr): Atom | undefined => {
  const [only, ...rest] = e.terms
  return only !== undefined &&
    rest.length === 0 &&
    Dim.isOne(only.coefficient) &&
    e.constant.terms.length === 0
    ? only.atom
    : undefined
}

const printAtom = (atom: Atom): string => {
  switch (atom._tag) {
    case "variable":
      return atom.key
    case "value":
      return "(a value)"
    case "div":
    case "mod":
      return `(${print(atom.of)} ${atom._tag} ${Dim.print(atom.by)})`
  }
}

const printFactor = (d: Dim.Dim): string => (d.terms.length > 1 ? `(${Dim.print(d)})` : Dim.print(d))

/** For people: `k0 - 1`, `S - 1 - k0`, `2*s1 + (q0 mod 4)`. `key` says the same to programs. */
export const print = (e: IndexExpr): string => {
  const falls = (d: Dim.Dim): boolean => (d.terms[0]?.coefficient ?? 0) < 0
  const parts = e.terms.map(({ atom, coefficient }) => {
    const [minus, size] = falls(coefficient) ? [true, Dim.neg(coefficient)] : [false, coefficient]
    return { minus, text: Dim.isOne(size) ? printAtom(atom) : `${printFactor(size)}*${printAtom(atom)}` }
  })
  const constant = falls(e.constant) ? Dim.neg(e.constant) : e.constant
  const last = { minus: falls(e.constant), text: Dim.print(constant) }
  const all = e.constant.terms.length === 0 && parts.length > 0 ? parts : [...parts, last]
  return [...all.filter((p) => !p.minus), ...all.filter((p) => p.minus)]
    .map(({ minus, text }, i) =>
      i === 0 ? (minus ? `-${text}` : text) : minus ? ` - ${text}` : ` + ${text}`
    )
    .join("")
}

export const equals = (a: IndexExpr, b: IndexExpr): boolean => a.key === b.key

const merge = (terms: Iterable<Term>, constant: Dim.Dim): IndexExpr => {
  const sums = new Map<string, Term>()
  for (const t of terms) {
    const known = sums.get(t.atom.key)
    const coefficient = known === undefined ? t.coefficient : Dim.add(known.coefficient, t.coefficient)
    if (coefficient.terms.length === 0) sums.delete(t.atom.key)
    else sums.set(t.atom.key, { atom: t.atom, coefficient })
  }
  // (x div n) · n + x mod n = x
  for (const { atom, coefficient } of sums.values()) {
    if (atom._tag !== "mod") continue
    const quotient = atomOf(div(atom.of, atom.by))
    const other = quotient === undefined ? undefined : sums.get(quotient.key)
    if (other === undefined || !Dim.equals(other.coefficient, Dim.mul(coefficient, atom.by))) continue
    sums.delete(atom.key)
    sums.delete(other.atom.key)
    const whole = scale(atom.of, coefficient)
    return merge([...sums.values(), ...whole.terms], Dim.add(constant, whole.constant))
  }
  return assemble([...sums.values()], constant)
}

export const add = (a: IndexExpr, b: IndexExpr): IndexExpr =>
  merge([...a.terms, ...b.terms], Dim.add(a.constant, b.constant))

export const scale = (e: IndexExpr, by: Dim.Dim): IndexExpr =>
  by.terms.length === 0
    ? zero
    : merge(
        e.terms.map((t) => ({ atom: t.atom, coefficient: Dim.mul(t.coefficient, by) })),
        Dim.mul(e.constant, by)
      )

export const sub = (a: IndexExpr, b: IndexExpr): IndexExpr => add(a, scale(b, Dim.constant(-1)))

/** Whether a polynomial is non-negative for all lengths of 0 or more. Unknown counts as no. */
export const isNonNegative = (d: Dim.Dim): boolean => d.terms.every((t) => t.coefficient >= 0)

/** The largest value of an atom, which is never below 0 where this is known. */
const atomMax = (atom: Atom): Dim.Dim | undefined => {
  switch (atom._tag) {
    case "variable":
      return Dim.sub(atom.size, Dim.one)
    case "mod":
      return Dim.sub(atom.by, Dim.one)
    case "value":
      return atom.below && Dim.sub(atom.below, Dim.one)
    case "div": {
      const [low, high] = [least(atom.of), greatest(atom.of)]
      if (low === undefined || high === undefined || !isNonNegative(low)) return undefined
      const count = Dim.divideExact(Dim.add(high, Dim.one), atom.by)
      if (count !== undefined) return Dim.sub(count, Dim.one)
      const [n, m] = [Dim.value(high), Dim.value(atom.by)]
      return n === undefined || m === undefined || m <= 0 ? undefined : Dim.constant(Math.floor(n / m))
    }
  }
}

/** `side` 1 for the greatest value, -1 for the least. */
const bound = (e: IndexExpr, side: 1 | -1): Dim.Dim | undefined => {
  let sum = e.constant
  for (const { atom, coefficient } of e.terms) {
    const max = atomMax(atom)
    if (max === undefined) return undefined
    const sign = isNonNegative(coefficient) ? 1 : isNonNegative(Dim.neg(coefficient)) ? -1 : 0
    if (sign === 0) return undefined
    if (sign === side) sum = Dim.add(sum, Dim.mul(coefficient, max))
  }
  return sum
}

/** An upper bound that is reached or not; undefined where none is known. */
export const greatest = (e: IndexExpr): Dim.Dim | undefined => bound(e, 1)

/** A lower bound; undefined where none is known. */
export const least = (e: IndexExpr): Dim.Dim | undefined => bound(e, -1)

/** Whether e < limit is certain. */
export const isBelow = (e: IndexExpr, limit: Dim.Dim): boolean => {
  const max = greatest(e)
  return max !== undefined && isNonNegative(Dim.sub(Dim.sub(limit, Dim.one), max))
}

/** Whether e >= limit is certain. */
export const isAtLeast = (e: IndexExpr, limit: Dim.Dim): boolean => {
  const min = least(e)
  return min !== undefined && isNonNegative(Dim.sub(min, limit))
}

/** Whether 0 <= e < size is certain. */
export const isWithin = (e: IndexExpr, size: Dim.Dim): boolean => isAtLeast(e, Dim.zero) && isBelow(e, size)

/** e = by · quotient + rest, with every multiple of `by` that can be seen in the quotient. */
const separate = (e: IndexExpr, by: Dim.Dim): { readonly quotient: IndexExpr; readonly rest: IndexExpr } => {
  const quotient: Array<Term> = []
  const rest: Array<Term> = []
  for (const t of e.terms) {
    const q = Dim.divideExact(t.coefficient, by)
    if (q === undefined) rest.push(t)
    else quotient.push({ atom: t.atom, coefficient: q })
  }
  const exact = Dim.divideExact(e.constant, by)
  if (exact !== undefined) return { quotient: merge(quotient, exact), rest: merge(rest, Dim.zero) }
  const [c, n] = [Dim.value(e.constant), Dim.value(by)]
  const whole = c === undefined || n === undefined || n <= 0 ? 0 : Math.floor(c / n)
  return {
    quotient: merge(quotient, Dim.constant(whole)),
    rest: merge(rest, Dim.sub(e.constant, Dim.mul(by, Dim.constant(whole))))
  }
}

/** A proper divisor c of `by` with rest = c · outer + inner, 0 <= inner < c: the digit boundary of a mixed radix. */
const digit = (rest: IndexExpr, by: Dim.Dim) => {
  for (const { coefficient } of rest.terms) {
    if (Dim.isOne(coefficient)) continue
    const radix = Dim.divideExact(by, coefficient)
    if (radix === undefined) continue
    const { quotient, rest: inner } = separate(rest, coefficient)
    if (isWithin(inner, coefficient)) return { coefficient, radix, outer: quotient, inner }
  }
  return undefined
}

/** floor(e / by), for by of 1 or more. */
export const div = (e: IndexExpr, by: Dim.Dim): IndexExpr => {
  if (Dim.isOne(by)) return e
  const { quotient, rest } = separate(e, by)
  if (isWithin(rest, by)) return quotient
  const found = digit(rest, by)
  if (found !== undefined) return add(quotient, div(found.outer, found.radix))
  const atom = atomOf(rest)
  // (x div a) div b = x div ab
  if (atom?._tag === "div") return add(quotient, div(atom.of, Dim.mul(atom.by, by)))
  // (x mod ab) div a = (x div a) mod b
  const outer = atom?._tag === "mod" ? Dim.divideExact(atom.by, by) : undefined
  if (atom?._tag === "mod" && outer !== undefined) return add(quotient, mod(div(atom.of, by), outer))
  return add(quotient, ofAtom({ _tag: "div", key: `(${rest.key})div(${by.key})`, of: rest, by }))
}

/** e - by · floor(e / by), for by of 1 or more. */
export const mod = (e: IndexExpr, by: Dim.Dim): IndexExpr => {
  if (Dim.isOne(by)) return zero
  const { rest } = separate(e, by)
  if (isWithin(rest, by)) return rest
  const found = digit(rest, by)
  if (found !== undefined) return add(scale(mod(found.outer, found.radix), found.coefficient), found.inner)
  const atom = atomOf(rest)
  // (x mod ab) mod a = x mod a
  if (atom?._tag === "mod" && Dim.divideExact(atom.by, by) !== undefined) return mod(atom.of, by)
  return ofAtom({ _tag: "mod", key: `(${rest.key})mod(${by.key})`, of: rest, by })
}

/** Replaces variables and computed integers by name; those that `by` does not name stay. Expressions nest no deeper than the reshapes that made them. */
export const substitute = (e: IndexExpr, by: ReadonlyMap<string, IndexExpr>): IndexExpr =>
  e.terms.reduce(
    (sum, { atom, coefficient }) => add(sum, scale(substituteAtom(atom, by), coefficient)),
    dim(e.constant)
  )

const substituteAtom = (atom: Atom, by: ReadonlyMap<string, IndexExpr>): IndexExpr => {
  switch (atom._tag) {
    case "variable":
    case "value":
      return by.get(atom.key) ?? ofAtom(atom)
    case "div":
      return div(substitute(atom.of, by), atom.by)
    case "mod":
      return mod(substitute(atom.of, by), atom.by)
  }
}

/** The atoms an expression is built from, those inside quotients and remainders included. */
export const atoms = (e: IndexExpr): ReadonlyArray<Atom> =>
  e.terms.flatMap(({ atom }) =>
    atom._tag === "div" || atom._tag === "mod" ? [atom, ...atoms(atom.of)] : [atom]
  )

/** Names of the variables an expression depends on. */
export const variables = (e: IndexExpr): ReadonlySet<string> =>
  new Set(atoms(e).flatMap((a) => (a._tag === "variable" ? [a.key] : [])))

/** An axis as one digit of a mixed radix, outermost first. */
export interface Digit {
  readonly name: string
  readonly size: Dim.Dim
}

/** The digits of an expression that counts 0 .. size-1 through its variables, each value once; undefined where it does not. */
export const digits = (e: IndexExpr, size: Dim.Dim): ReadonlyArray<Digit> | undefined => {
  if (e.constant.terms.length > 0) return undefined
  const rest = [...e.terms]
  const inner: Array<Digit> = []
  let stride = Dim.one
  while (rest.length > 0) {
    const at = rest.findIndex((t) => Dim.equals(t.coefficient, stride))
    const [term] = at < 0 ? [] : rest.splice(at, 1)
    if (term === undefined || term.atom._tag !== "variable") return undefined
    inner.unshift({ name: term.atom.key, size: term.atom.size })
    stride = Dim.mul(stride, term.atom.size)
  }
  return Dim.equals(stride, size) ? inner : undefined
}

/** The digits of an expression that counts one piece of 0 .. size-1, or every step-th of it, which begins at its constant. */
export const piece = (
  e: IndexExpr,
  size: Dim.Dim
): { readonly digits: ReadonlyArray<Digit>; readonly step: number } | undefined => {
  const strides = e.terms.flatMap(({ coefficient }) => Dim.value(coefficient) ?? [])
  const step = strides.length === 0 ? 1 : Math.min(...strides)
  if (step < 1) return undefined
  const length = Dim.product(e.terms.map(({ atom }) => (atom._tag === "variable" ? atom.size : Dim.zero)))
  // How many steps fit into a symbolic length is no polynomial.
  if (step > 1 && !((Dim.value(length) ?? 0) > 0)) return undefined
  const rest = Dim.sub(size, pieceEnd(e.constant, length, step))
  if (!isNonNegative(e.constant) || !isNonNegative(rest)) return undefined
  const terms: Array<Term> = []
  for (const { atom, coefficient } of e.terms) {
    const own = Dim.divideExact(coefficient, Dim.constant(step))
    if (own === undefined) return undefined
    terms.push({ atom, coefficient: own })
  }
  const found = digits(assemble(terms, Dim.zero), length)
  return found && { digits: found, step }
}

/** One past the last element of a piece. */
export const pieceEnd = (start: Dim.Dim, length: Dim.Dim, step: number): Dim.Dim =>
  Dim.sub(Dim.add(start, Dim.mul(Dim.constant(step), length)), Dim.constant(step - 1))

/** The expression that counts through digits, outermost first. */
export const count = (digits: ReadonlyArray<Digit>): IndexExpr =>
  digits.reduce((sum, d) => add(scale(sum, d.size), variable(d.name, d.size)), zero)
