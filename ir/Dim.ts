import type { ring } from "fp-ts"
import { ShapeError } from "./errors.ts"

/**
 * A dimension: an integer polynomial over named symbols, such as `64`, `T`, `P + T` or `B*H`.
 *
 * Kept in a normal form (monomials sorted, no zero coefficient), so that equality is equality of `key`.
 * Symbols stand for lengths that are bound from the inputs at run time; polynomials with negative
 * coefficients (`S - T`) are values, such as an offset, and not sizes.
 *
 * Coefficients are exact: arithmetic that would leave the safe integers, or grow beyond 256 terms or degree 64, throws
 * a `ShapeError` instead of rounding or running away on a hostile shape.
 */
export interface Dim {
  readonly _tag: "Dim"
  readonly terms: ReadonlyArray<Monomial>
  /** The printed normal form; two dims are equal exactly when their keys are. */
  readonly key: string
}

/** `coefficient` times the product of `symbols`, which are sorted and may repeat (`T*T`). */
export interface Monomial {
  readonly coefficient: number
  readonly symbols: ReadonlyArray<string>
}

/** A dim as a person writes it: a number, a symbol's name, or a polynomial made with this module. */
export type DimLike = number | string | Dim

const symbolPattern = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/

/** Whether a text may name a symbol: a letter or underscore, then letters, digits, underscores; 64 at most. */
export const isSymbolName = (name: string): boolean => symbolPattern.test(name)

export const isDim = (x: unknown): x is Dim =>
  typeof x === "object" && x !== null && (x as Dim)._tag === "Dim"

const monomialKey = (m: Monomial): string => m.symbols.join("*")

const printMonomial = (m: Monomial): string =>
  m.symbols.length === 0
    ? String(m.coefficient)
    : m.coefficient === 1
      ? monomialKey(m)
      : m.coefficient === -1
        ? `-${monomialKey(m)}`
        : `${m.coefficient}*${monomialKey(m)}`

const printTerms = (terms: ReadonlyArray<Monomial>): string => {
  if (terms.length === 0) return "0"
  return terms.reduce((text, term, index) => {
    const printed = printMonomial(term)
    if (index === 0) return printed
    return printed.startsWith("-") ? `${text} - ${printed.slice(1)}` : `${text} + ${printed}`
  }, "")
}

/** Higher degree first, then alphabetical, the constant last: `B*H + 2*T + 1`. */
const byDegreeThenName = (a: Monomial, b: Monomial): number => {
  if (a.symbols.length !== b.symbols.length) return b.symbols.length - a.symbols.length
  const [x, y] = [monomialKey(a), monomialKey(b)]
  return x < y ? -1 : x > y ? 1 : 0
}

/** A positive term leads where there is one, so `S - T` never prints as `-T + S`. */
const positiveFirst = (terms: ReadonlyArray<Monomial>): ReadonlyArray<Monomial> => {
  const first = terms.findIndex((t) => t.coefficient > 0)
  return first <= 0 ? terms : [terms[first] as Monomial, ...terms.slice(0, first), ...terms.slice(first + 1)]
}

const MAX_TERMS = 256
const MAX_DEGREE = 64

const tooLarge = (what: string): ShapeError =>
  new ShapeError({ message: `a dimension grows ${what}`, hint: "use fewer or smaller sizes" })

const exact = (coefficient: number): number => {
  if (!Number.isSafeInteger(coefficient)) throw tooLarge("beyond the exact integers, 2^53")
  return coefficient
}

const single = (term: Monomial): Dim => ({ _tag: "Dim", terms: [term], key: printMonomial(term) })

const fromTerms = (terms: ReadonlyArray<Monomial>): Dim => {
  const sums = new Map<string, { coefficient: number; symbols: ReadonlyArray<string> }>()
  for (const term of terms) {
    if (term.symbols.length > MAX_DEGREE) throw tooLarge(`beyond degree ${MAX_DEGREE}`)
    const symbols = [...term.symbols].sort()
    const key = symbols.join("*")
    const known = sums.get(key)
    if (known) known.coefficient = exact(known.coefficient + term.coefficient)
    else sums.set(key, { coefficient: exact(term.coefficient), symbols })
  }
  const kept = positiveFirst([...sums.values()].filter((t) => t.coefficient !== 0).sort(byDegreeThenName))
  if (kept.length > MAX_TERMS) throw tooLarge(`beyond ${MAX_TERMS} terms`)
  return { _tag: "Dim", terms: kept, key: printTerms(kept) }
}

/** The constant polynomial. The value is an integer. */
export const constant = (value: number): Dim => {
  if (!Number.isSafeInteger(value)) throw new RangeError(`a dimension is an integer, not ${value}`)
  return value === 0 ? zero : single({ coefficient: value, symbols: [] })
}

/** The polynomial that is one symbol. */
export const symbol = (name: string): Dim => {
  if (!isSymbolName(name)) {
    throw new RangeError(
      `${JSON.stringify(name)} cannot name a dimension: use a letter or underscore, then letters, digits or underscores`
    )
  }
  return single({ coefficient: 1, symbols: [name] })
}

export const from = (x: DimLike): Dim => (isDim(x) ? x : typeof x === "number" ? constant(x) : symbol(x))

export const zero: Dim = { _tag: "Dim", terms: [], key: "0" }
export const one: Dim = constant(1)

export const add = (a: Dim, b: Dim): Dim => {
  if (a.terms.length === 0) return b
  if (b.terms.length === 0) return a
  const [x, y] = [value(a), value(b)]
  if (x !== undefined && y !== undefined) return constant(exact(x + y))
  return fromTerms(a.terms.concat(b.terms))
}

const negative = ({ coefficient, symbols }: Monomial): Monomial => ({ coefficient: -coefficient, symbols })

export const neg = (a: Dim): Dim => {
  const [only] = a.terms
  return a.terms.length === 1 && only !== undefined
    ? single(negative(only))
    : fromTerms(a.terms.map(negative))
}

export const sub = (a: Dim, b: Dim): Dim => add(a, neg(b))

export const mul = (a: Dim, b: Dim): Dim => {
  if (isOne(a) || b.terms.length === 0) return b
  if (isOne(b) || a.terms.length === 0) return a
  const [x, y] = [a.terms[0], b.terms[0]]
  // Sizes are numbers and symbols for the most part.
  if (a.terms.length === 1 && b.terms.length === 1 && x !== undefined && y !== undefined)
    return single(times(x, y))
  return fromTerms(a.terms.flatMap((x) => b.terms.map((y) => times(x, y))))
}

const times = (a: Monomial, b: Monomial): Monomial => {
  const coefficient = exact(a.coefficient * b.coefficient)
  if (b.symbols.length === 0) return { coefficient, symbols: a.symbols }
  if (a.symbols.length === 0) return { coefficient, symbols: b.symbols }
  if (a.symbols.length + b.symbols.length > MAX_DEGREE) throw tooLarge(`beyond degree ${MAX_DEGREE}`)
  return { coefficient, symbols: [...a.symbols, ...b.symbols].sort() }
}

export const product = (dims: Iterable<Dim>): Dim => {
  let result = one
  for (const d of dims) result = mul(result, d)
  return result
}

/** Polynomials form a commutative ring; the laws are tested. */
export const Ring: ring.Ring<Dim> = { add, zero, mul, one, sub }

/** Equality of polynomials, decided by normal form. Two unequal dims may still be bound to one size. */
export const equals = (a: Dim, b: Dim): boolean => a.key === b.key

/** The value of a constant dim, or undefined where a symbol occurs. */
export const value = (d: Dim): number | undefined =>
  d.terms.length === 0
    ? 0
    : d.terms.length === 1 && d.terms[0]?.symbols.length === 0
      ? d.terms[0].coefficient
      : undefined

export const isConstant = (d: Dim): boolean => value(d) !== undefined

export const isOne = (d: Dim): boolean => d.key === "1"

/** The symbols of a dim, sorted, each once. */
export const symbols = (d: Dim): ReadonlyArray<string> =>
  [...new Set(d.terms.flatMap((t) => t.symbols))].sort()

/**
 * Whether two sizes can be equal for some binding of their symbols to non-negative lengths. Sizes whose
 * difference is a non-zero constant, or has only terms of one sign and a constant of that sign, never meet.
 */
export const canEqual = (a: Dim, b: Dim): boolean => {
  const difference = sub(a, b)
  if (difference.terms.length === 0) return true
  const last = difference.terms.find((t) => t.symbols.length === 0)
  if (last === undefined) return true
  return difference.terms.some((t) => t.symbols.length > 0 && t.coefficient * last.coefficient < 0)
}

const divideMonomial = (a: Monomial, b: Monomial): Monomial | undefined => {
  if (a.coefficient % b.coefficient !== 0) return undefined
  const rest = [...a.symbols]
  for (const s of b.symbols) {
    const at = rest.indexOf(s)
    if (at < 0) return undefined
    rest.splice(at, 1)
  }
  return { coefficient: a.coefficient / b.coefficient, symbols: rest }
}

/** Exact quotient: the polynomial `q` with `q * b = a`, or undefined where there is none. */
export const divideExact = (a: Dim, b: Dim): Dim | undefined => {
  const lead = [...b.terms].sort(byDegreeThenName)[0]
  if (lead === undefined) return undefined
  let rest = a
  const quotient: Array<Monomial> = []
  // Each step removes the leading term of the rest, so at most as many steps as monomials can arise.
  for (let step = 0; rest.terms.length > 0; step++) {
    if (step > 64) return undefined
    const q = divideMonomial([...rest.terms].sort(byDegreeThenName)[0] as Monomial, lead)
    if (q === undefined) return undefined
    quotient.push(q)
    rest = sub(rest, mul(fromTerms([q]), b))
  }
  return fromTerms(quotient)
}

/** What each symbol is bound to in one call. */
export type Bindings = { readonly [symbol: string]: number }

/** The size under a binding. A symbol without a value is a caller's mistake and throws. */
export const evaluate = (d: Dim, bindings: Bindings): number => {
  let sum = 0
  for (const term of d.terms) {
    let product = term.coefficient
    for (const s of term.symbols) {
      const size = Object.hasOwn(bindings, s) ? bindings[s] : undefined
      if (size === undefined) throw new RangeError(`dimension ${d.key}: the symbol ${s} is not bound`)
      product *= size
    }
    sum += product
  }
  return sum
}

/** Replaces symbols by dims; symbols that are not named stay. */
export const substitute = (d: Dim, by: { readonly [symbol: string]: Dim }): Dim =>
  d.terms.reduce((sum, t) => {
    const factors = t.symbols.map((s) => (Object.hasOwn(by, s) ? (by[s] as Dim) : symbol(s)))
    return add(sum, mul(constant(t.coefficient), product(factors)))
  }, zero)

export const print = (d: Dim): string => d.key

/** Reads what `print` writes: sums of products of integers and symbols. Undefined where it is not one, or too large. */
export const parse = (text: string): Dim | undefined => {
  try {
    return read(text)
  } catch (error) {
    if (error instanceof ShapeError) return undefined
    throw error
  }
}

const read = (text: string): Dim | undefined => {
  const tokens = text.match(/\s+|\d+|[A-Za-z_]\w*|[-+*]|./g)?.filter((t) => t.trim() !== "") ?? []
  let at = 0
  const factor = (): Dim | undefined => {
    const token = tokens[at++]
    if (token === undefined) return undefined
    if (/^\d+$/.test(token)) return Number.isSafeInteger(Number(token)) ? constant(Number(token)) : undefined
    return isSymbolName(token) ? symbol(token) : undefined
  }
  const term = (): Dim | undefined => {
    let result = factor()
    while (result !== undefined && tokens[at] === "*") {
      at++
      const next = factor()
      result = next && mul(result, next)
    }
    return result
  }
  let sum: Dim | undefined = zero
  let sign = 1
  if (tokens[at] === "-") {
    sign = -1
    at++
  }
  while (sum !== undefined) {
    const next = term()
    sum = next && add(sum, sign < 0 ? neg(next) : next)
    if (sum === undefined || at === tokens.length) break
    const operator = tokens[at++]
    if (operator !== "+" && operator !== "-") return undefined
    sign = operator === "-" ? -1 : 1
  }
  return sum
}
