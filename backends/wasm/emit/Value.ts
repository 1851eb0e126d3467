import * as Dim from "../../../ir/Dim.ts"
import { matchAxes } from "../../../ir/matchAxes.ts"
import type * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, lane, op, select, splat, words } from "../assembler/Instruction.ts"
import { constantOf, type Emitter, keyOf as exprKey } from "./Emitter.ts"

/**
 * The elements at hand: those of one vector. What is known of integers is kept, since they become addresses: where the numbers of the
 * lanes lie at regular distances, one scalar stands for all.
 */
export type Value = Vector | Doubles | Affine | Lanes

export interface Vector {
  readonly _tag: "vector"
  readonly v: Expr<"v128">
}

export interface Doubles {
  readonly _tag: "doubles"
  readonly v: Expr<"v256">
}

/** Elements in a register: words, or doubles. */
export type Register = Expr<"v128" | "v256">

/** base, base + step, base + 2 step, … */
export interface Affine {
  readonly _tag: "affine"
  readonly base: Expr<"i32">
  readonly step: number
  /** A power of two that divides the base. */
  readonly align: number
  /** All lanes are 0 or more, and less than this. */
  readonly below?: Dim.Dim
}

/** A scalar for each lane. */
export interface Lanes {
  readonly _tag: "lanes"
  readonly lanes: ReadonlyArray<Expr<"i32">>
}

const mostAlign = 64

const alignOf = (n: number): number => (n === 0 ? mostAlign : Math.min(mostAlign, n & -n))

export const vector = (v: Expr<"v128">): Value => ({ _tag: "vector", v })

export const doubles = (v: Expr<"v256">): Value => ({ _tag: "doubles", v })

export const ofRegister = (v: Register): Value => (isDoubles(v) ? doubles(v) : vector(v as Expr<"v128">))

export const isDoubles = (v: Register): v is Expr<"v256"> => v.type === "v256"

/** Text of a value: equal exactly for equal ones. */
export const keyOf = (x: Value): string =>
  x._tag === "affine"
    ? `${exprKey(x.base)}+${x.step}`
    : x._tag === "vector" || x._tag === "doubles"
      ? exprKey(x.v)
      : x.lanes.map(exprKey).join()

/** One number in all lanes. */
export const uniform = (base: Expr<"i32">, below?: Dim.Dim): Affine => {
  const known = constantOf(base)
  return {
    _tag: "affine",
    base,
    step: 0,
    align: known === undefined ? 1 : alignOf(known),
    ...(below === undefined ? {} : { below })
  }
}

export const integer = (n: number): Affine => uniform(i32(n))

/** The indices of a loop over an axis: a multiple of the width and its neighbours. */
export const along = (e: Emitter, base: Expr<"i32">, below: Dim.Dim): Affine => ({
  _tag: "affine",
  base,
  step: e.width === 1 ? 0 : 1,
  align: e.width,
  below
})

/** The same in all lanes. */
export const isUniform = (x: Value): x is Affine & { readonly step: 0 } => x._tag === "affine" && x.step === 0

/** As a register. */
export const toRegister = (e: Emitter, x: Value): Register => (x._tag === "doubles" ? x.v : toVector(e, x))

export const toDoubles = (x: Value): Expr<"v256"> => {
  if (x._tag === "doubles") return x.v
  throw new Error("the elements are no doubles")
}

/** As words. */
export const toVector = (e: Emitter, x: Value): Expr<"v128"> => {
  switch (x._tag) {
    case "vector":
      return x.v
    case "affine": {
      const known = constantOf(x.base)
      const { step } = x
      if (known !== undefined) return words(known, known + step, known + 2 * step, known + 3 * step)
      const all = e.bind(op("i32x4.splat", x.base))
      return step === 0 ? all : e.bind(op("i32x4.add", all, words(0, step, 2 * step, 3 * step)))
    }
    case "doubles":
      throw new Error("the elements are doubles")
    case "lanes":
      return x.lanes.reduce<Expr<"v128">>(
        (all, one, n) =>
          n === 0 ? e.bind(op("i32x4.splat", one)) : e.bind(lane("i32x4.replace_lane", n, all, one)),
        splat(0)
      )
  }
}

/** As scalars, one for each element at hand. */
export const toLanes = (e: Emitter, x: Value): ReadonlyArray<Expr<"i32">> => {
  const all = Array.from({ length: e.width }, (_, n) => n)
  switch (x._tag) {
    case "vector":
      return all.map((n) => e.bind(lane("i32x4.extract_lane", n, x.v)))
    case "affine":
      return all.map((n) => e.add(x.base, i32(n * x.step)))
    case "doubles":
      throw new Error("doubles are no indices")
    case "lanes":
      return x.lanes
  }
}

/** Lane 0. */
export const first = (e: Emitter, x: Value): Expr<"i32"> =>
  x._tag === "affine" ? x.base : (toLanes(e, x)[0] as Expr<"i32">)

const lanewise = (
  e: Emitter,
  a: Value,
  b: Value,
  f: (x: Expr<"i32">, y: Expr<"i32">) => Expr<"i32">
): Lanes => {
  const [x, y] = [toLanes(e, a), toLanes(e, b)]
  return { _tag: "lanes", lanes: x.map((one, n) => f(one, y[n] as Expr<"i32">)) }
}

export const add = (e: Emitter, a: Value, b: Value): Value => {
  if (a._tag !== "affine" || b._tag !== "affine") return lanewise(e, a, b, e.add)
  const isZero = (x: Affine): boolean => x.step === 0 && constantOf(x.base) === 0
  if (isZero(a)) return b
  if (isZero(b)) return a
  const base = e.add(a.base, b.base)
  return { _tag: "affine", base, step: a.step + b.step, align: Math.min(a.align, b.align) }
}

export const sub = (e: Emitter, a: Value, b: Value): Value => {
  if (a._tag !== "affine" || b._tag !== "affine") return lanewise(e, a, b, e.sub)
  if (b.step === 0 && constantOf(b.base) === 0) return a
  const base = e.sub(a.base, b.base)
  return { _tag: "affine", base, step: a.step - b.step, align: Math.min(a.align, b.align) }
}

/** By a number that all lanes share. */
export const scale = (e: Emitter, a: Value, by: Expr<"i32">): Value => {
  const known = constantOf(by)
  if (known === 1) return a
  if (a._tag === "affine" && (a.step === 0 || known !== undefined)) {
    const align = known === undefined ? a.align : Math.min(mostAlign, a.align * alignOf(known))
    return {
      _tag: "affine",
      base: e.mul(a.base, by),
      step: a.step === 0 ? 0 : a.step * (known as number),
      align
    }
  }
  return { _tag: "lanes", lanes: toLanes(e, a).map((x) => e.mul(x, by)) }
}

/** Quotient and rest of numbers of 0 or more by a size. */
const divide = (e: Emitter, a: Value, size: Dim.Dim): readonly [quotient: Value, rest: Value] => {
  const by = e.dim(size)
  const known = Dim.value(size)
  const scalar = (x: Expr<"i32">) => {
    const q = e.div(x, by)
    return [q, e.sub(x, e.mul(q, by))] as const
  }
  if (a._tag === "affine") {
    // A vector that begins at a multiple of 4 does not cross multiples of larger ones.
    const together = a.step === 0 || (a.step === 1 && known !== undefined && known % 4 === 0 && a.align >= 4)
    if (together) {
      const [q, rest] = scalar(a.base)
      const align = Math.min(a.align, known === undefined ? 1 : alignOf(known))
      return [uniform(q), { _tag: "affine", base: rest, step: a.step, align, below: size }]
    }
  }
  const both = toLanes(e, a).map(scalar)
  return [
    { _tag: "lanes", lanes: both.map(([q]) => q) },
    { _tag: "lanes", lanes: both.map(([, rest]) => rest) }
  ]
}

/** Into an axis, 0 where that has no length; a value that is known to lie there stays as it is. */
export const clamp = (e: Emitter, a: Value, size: Dim.Dim, unsigned = false): Value => {
  if (a._tag === "affine" && a.below !== undefined && Dim.equals(a.below, size)) return a
  const last = e.sub(e.dim(size), i32(1))
  const one = (x: Expr<"i32">): Expr<"i32"> => {
    // As an unsigned number what is past 2^31 is past the end.
    const within = unsigned ? e.bind(select(x, last, op("i32.lt_u", x, last))) : e.min(x, last)
    return e.max(within, i32(0))
  }
  if (a._tag === "affine" && a.step === 0) return uniform(one(a.base))
  return { _tag: "lanes", lanes: toLanes(e, a).map(one) }
}

/**
 * Row-major number of an index tuple, times `unit`, plus `origin`: an element number, or an address. Outer terms are added first,
 * so that their sum leaves the inner loops.
 */
export const linearize = (
  e: Emitter,
  indices: ReadonlyArray<Value>,
  shape: Shape.Shape,
  unit = 1,
  origin: Expr<"i32"> = i32(0)
): Value => {
  const terms: Array<Value> = constantOf(origin) === 0 ? [] : [uniform(origin)]
  let stride: Dim.Dim = Dim.constant(unit)
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as Dim.Dim
    if (!Dim.isOne(size)) terms.push(scale(e, indices[axis] as Value, e.dim(stride)))
    stride = Dim.mul(stride, size)
  }
  const depth = (x: Value): number =>
    x._tag === "affine"
      ? e.depth(x.base)
      : x._tag === "lanes"
        ? 1000 + Math.max(...x.lanes.map(e.depth))
        : 2000
  const sorted = terms.map((t) => ({ t, d: depth(t) })).sort((a, b) => a.d - b.d)
  return sorted.reduce<Value>((sum, { t }) => add(e, sum, t), integer(0))
}

/** The index tuple of a row-major number. */
export const delinearize = (e: Emitter, linear: Value, shape: Shape.Shape): ReadonlyArray<Value> => {
  const result: Array<Value> = shape.map(() => integer(0))
  const axes = shape.flatMap((d, axis) => (Dim.isOne(d) ? [] : [axis]))
  let rest = linear
  axes.toReversed().forEach((axis, i) => {
    const size = shape[axis] as Dim.Dim
    if (i === axes.length - 1) {
      result[axis] = rest._tag === "affine" ? { ...rest, below: size } : rest
      return
    }
    const [q, r] = divide(e, rest, size)
    result[axis] = r
    rest = q
  })
  return result
}

/** Index tuple in `to` of the element at `indices` in `from`; both hold the same number of elements. */
export const reshape = (
  e: Emitter,
  indices: ReadonlyArray<Value>,
  from: Shape.Shape,
  to: Shape.Shape
): ReadonlyArray<Value> =>
  matchAxes(from, to).flatMap((group) => {
    const linear = linearize(e, indices.slice(...group.from), from.slice(...group.from))
    return delinearize(e, linear, to.slice(...group.to))
  })
