import type { Node } from "../../ir/Node.ts"
import * as A from "./arithmetic.ts"

/**
 * A range of keys lo..hi - 1, clamped to the keys there are when it is used. Without `lo` it starts at the first key, without `hi` it
 * ends after the last; it is empty where lo ≥ hi.
 */
export interface Range {
  readonly lo?: Node | undefined
  readonly hi?: Node | undefined
}

/**
 * What is known of a condition for the queries of a block. `some` holds every key for which it is true for some query, and
 * `every` only keys for which it is true for every query.
 */
export interface Keys {
  readonly some: Range
  readonly every: Range
}

const zero = A.int(0)

export const all: Range = {}
export const none: Range = { hi: zero }

const isNone = (r: Range): boolean => r.lo === undefined && r.hi !== undefined && A.valueOf(r.hi) === 0
const isAll = (r: Range): boolean => r.lo === undefined && r.hi === undefined

/** Nothing is known: any key may be seen, none certainly is. */
export const unknown: Keys = { some: all, every: none }

/** All keys where the condition holds, none elsewhere. */
export const when = (condition: A.Condition, keys: Node): Range =>
  typeof condition === "boolean" ? (condition ? all : none) : { hi: A.select(condition, keys, zero) }

/** What is known if a condition holds, and nothing where it does not. */
export const provided = (condition: A.Condition, { some, every }: Keys, keys: Node): Keys => {
  if (typeof condition === "boolean") return condition ? { some, every } : unknown
  return {
    some: {
      lo: some.lo && A.select(condition, some.lo, zero),
      hi: some.hi && A.select(condition, some.hi, keys)
    },
    every: isNone(every) ? every : { lo: every.lo, hi: A.select(condition, every.hi ?? keys, zero) }
  }
}

const join = <T>(combine: (a: T, b: T) => T, a: T | undefined, b: T | undefined): T | undefined =>
  a === undefined ? b : b === undefined ? a : combine(a, b)

const meet = (a: Range, b: Range): Range => {
  if (isNone(a) || isNone(b)) return none
  return { lo: join(A.max, a.lo, b.lo), hi: join(A.min, a.hi, b.hi) }
}

interface Clamped {
  readonly lo: Node
  readonly hi: Node
  readonly some: A.Condition
}

const clamped = (r: Range, keys: Node): Clamped => {
  const lo = r.lo === undefined ? zero : A.max(r.lo, zero)
  const hi = r.hi === undefined ? keys : A.min(r.hi, keys)
  return { lo, hi, some: A.lt(lo, hi) }
}

/** The smallest range that holds both. */
const hull = (a: Range, b: Range, keys: Node): Range => {
  if (isAll(a) || isNone(b)) return a
  if (isAll(b) || isNone(a)) return b
  const shared = sharedEnd(a, b)
  if (shared !== undefined) return shared
  const [x, y] = [clamped(a, keys), clamped(b, keys)]
  // What is empty has no place of its own.
  return {
    lo: A.min(A.select(x.some, x.lo, keys), A.select(y.some, y.lo, keys)),
    hi: A.max(A.select(x.some, x.hi, zero), A.select(y.some, y.hi, zero))
  }
}

/** Ranges that start or end together overlap, so their union is a range; an empty one adds nothing. */
const sharedEnd = (a: Range, b: Range): Range | undefined => {
  if (a.lo === undefined && b.lo === undefined) return { hi: a.hi && b.hi && A.max(a.hi, b.hi) }
  if (a.hi === undefined && b.hi === undefined) return { lo: a.lo && b.lo && A.min(a.lo, b.lo) }
  return undefined
}

/** A range within the union of both: the union where they touch, the longer one elsewhere. */
const core = (a: Range, b: Range, keys: Node): Range => {
  if (isAll(a) || isNone(b)) return a
  if (isAll(b) || isNone(a)) return b
  const shared = sharedEnd(a, b)
  if (shared !== undefined) return shared
  const [x, y] = [clamped(a, keys), clamped(b, keys)]
  const touch = A.both(A.both(x.some, y.some), A.le(A.max(x.lo, y.lo), A.min(x.hi, y.hi)))
  const first = A.le(A.sub(y.hi, y.lo), A.sub(x.hi, x.lo))
  return {
    lo: A.select(touch, A.min(x.lo, y.lo), A.select(first, x.lo, y.lo)),
    hi: A.select(touch, A.max(x.hi, y.hi), A.select(first, x.hi, y.hi))
  }
}

export const and = (a: Keys, b: Keys): Keys => ({
  some: meet(a.some, b.some),
  every: meet(a.every, b.every)
})

export const or = (a: Keys, b: Keys, keys: Node): Keys => ({
  some: hull(a.some, b.some, keys),
  every: core(a.every, b.every, keys)
})

/** Ends within 0..keys, in order. */
export const ends = (r: Range, keys: Node): readonly [lo: Node, hi: Node] => {
  const lo = r.lo === undefined ? zero : A.clamp(r.lo, zero, keys)
  const hi = r.hi === undefined ? keys : A.min(r.hi, keys)
  return [lo, A.max(lo, hi)]
}
