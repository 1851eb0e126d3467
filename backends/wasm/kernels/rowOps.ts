import type { NodeOf } from "../../../ir/Node.ts"
import type { OfFamily } from "../../../ir/ops.ts"
import { type Expr, op, splat, words } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import { type Real, reals, swapped, where } from "../emit/real.ts"
import { type Compute, isReal } from "../emit/scalar.ts"
import type { Register } from "../emit/Value.ts"

type V = Expr<"v128">
type R = Register

/** A row, or four, as an anchor's recipe sees it. */
export interface RowOp {
  readonly e: Emitter
  /** Whether a vector is columns of one row; elsewhere it is a column of neighbouring rows, and lanes have nothing to do with each other. */
  readonly alongRow: boolean
  /** Compute type of the elements. */
  readonly type: Compute
  /** Number of elements. */
  readonly length: Expr<"i32">
  /** Loops over the columns; `inside` is given their elements and what is needed to store results there. */
  readonly columns: (inside: (element: R, column: Column) => void) => void
  /** The same, one column after the other. */
  readonly oneByOne: (inside: (element: R, column: Column) => void) => void
  /** As `columns`, where `keep` has left a value for every column. */
  readonly again: (inside: (kept: R, column: Column) => void) => void
  /** Stores the row's result: the same in all lanes along a row. */
  readonly storeRow: (value: R) => void
}

export interface Column {
  /** The number of each. */
  readonly number: V
  /** Leaves a value for another pass. */
  readonly keep: (value: R) => void
  /** Stores the results. */
  readonly store: (value: R) => void
}

/** Ops that read whole rows. */
type RowOpName = OfFamily<"reduce" | "normalise">

export type RowAnchor = { [K in RowOpName]: NodeOf<K> }[RowOpName]

/** At the end of a row only lane 0 holds an element; the others do nothing. */
export const active = <T extends R>(e: Emitter, x: T, neutral: T): T =>
  e.width === 4 ? x : (e.bind(where(words(-1, 0, 0, 0), x, neutral)) as T)

/** All lanes to one, which all of them hold afterwards. */
export const across = <T extends R>(e: Emitter, x: T, merge: (a: T, b: T) => T): T => {
  const half = e.now(merge(x, swapped(x, 2) as T)) as T
  return e.now(merge(half, swapped(half, 1) as T)) as T
}

type Merge = (a: R, b: R) => R

interface Monoid {
  readonly neutral: R
  readonly merge: Merge
}

const fold = (
  { e, alongRow, columns }: Pick<RowOp, "e" | "alongRow" | "columns">,
  { neutral, merge }: Monoid,
  term: (element: R) => R = (x) => x
): R => {
  const total = e.variable(neutral)
  columns((x) => total.set(merge(total.value, alongRow ? active(e, term(x), neutral) : term(x))))
  return alongRow ? across(e, total.value, merge) : e.now(total.value)
}

const sum = (real: Real): Monoid => ({ neutral: real.splat(0), merge: real.add })

const onWords = (merge: (a: V, b: V) => V): Merge => merge as Merge

const integers = (neutral: number, merge: (a: V, b: V) => V) => ({
  i32: { neutral: splat(neutral), merge: onWords(merge) },
  u32: { neutral: splat(neutral), merge: onWords(merge) }
})

const floats = (make: (real: Real) => Monoid) => ({ f32: make(reals.f32), f64: make(reals.f64) })

const every: Monoid = { neutral: splat(-1), merge: onWords((a, b) => op("v128.and", a, b)) }
const some: Monoid = { neutral: splat(0), merge: onWords((a, b) => op("v128.or", a, b)) }

const largest = (real: Real): Monoid => ({ neutral: real.splat(-Infinity), merge: real.max })

/** The same where NaN shows elsewhere: engines need one instruction for it, and several for the other. */
const largestNumber = (real: Real): Monoid => ({ ...largest(real), merge: real.pmax })

/** The arithmetic of a row's elements. */
const realOf = ({ type }: RowOp): Real => reals[type as Real["type"]]

/** The greatest element, or the least finite number over nothing but -inf, and the sum of exponentials of the distances to it, which are kept. */
const statistics = (row: RowOp, monoid: (real: Real) => Monoid): { readonly max: R; readonly sum: R } => {
  const { e } = row
  const real = realOf(row)
  const kept: RowOp["columns"] = (inside) =>
    row.columns((x, column) => {
      column.keep(x)
      inside(x, column)
    })
  const greatest = fold({ ...row, columns: kept }, monoid(real))
  // Comparisons with NaN are false: it stays.
  const max = e.now(real.pmax(greatest, real.splat(real.least)))
  const weights: RowOp["columns"] = (inside) =>
    row.again((x, column) => {
      const weight = real.expBelow(e, real.sub(x, max))
      column.keep(weight)
      inside(weight, column)
    })
  return { max, sum: fold({ ...row, columns: weights }, sum(real)) }
}

const lengthOf = ({ e, length }: RowOp, real: Real): R => e.bind(real.fromInt(length))

/** One over the root of a mean and a little more. */
const inverseRoot = (row: RowOp, total: R, epsilon: number): R => {
  const real = realOf(row)
  const mean = real.div(total, lengthOf(row, real))
  return row.e.now(real.div(real.splat(1), real.sqrt(real.add(mean, real.splat(epsilon)))))
}

const greater = (type: Compute, a: R, b: R): V =>
  isReal(type) ? reals[type].gt(a, b) : op(type === "i32" ? "i32x4.gt_s" : "i32x4.gt_u", a as V, b as V)

const equal = (type: Compute, a: R, b: R): V =>
  isReal(type) ? reals[type].eq(a, b) : op("i32x4.eq", a as V, b as V)

type Reduction = Extract<RowOpName, `reduce_${string}`>

/** What each reduction adds up, and how. */
const monoids: { readonly [K in Reduction]: { readonly [T in Compute]?: Monoid } } = {
  reduce_sum: { ...floats(sum), ...integers(0, (a, b) => op("i32x4.add", a, b)), bool: some },
  reduce_prod: {
    ...integers(1, (a, b) => op("i32x4.mul", a, b)),
    bool: every
  },
  reduce_max: {
    ...floats(largest),
    ...integers(0, (a, b) => op("i32x4.max_u", a, b)),
    i32: { neutral: splat(-2147483648), merge: onWords((a, b) => op("i32x4.max_s", a, b)) },
    bool: some
  },
  reduce_min: {
    ...floats((real) => ({ neutral: real.splat(Infinity), merge: real.min })),
    ...integers(-1, (a, b) => op("i32x4.min_u", a, b)),
    i32: { neutral: splat(2147483647), merge: onWords((a, b) => op("i32x4.min_s", a, b)) },
    bool: every
  }
}

/** How an anchor merges the elements of a row, where that is all it does. */
export const monoidOf = (op: RowOpName, type: Compute): Monoid | undefined =>
  Object.hasOwn(monoids, op) ? monoids[op as Reduction][type] : undefined

const reduction =
  (name: Reduction) =>
  (row: RowOp): void =>
    row.storeRow(fold(row, monoids[name][row.type] as Monoid))

/** A number times a power of what `Real.step` is. */
type Scaled = readonly [x: R, turns: R]

/** The product of floats, as if exponents had no bounds: a part of it may be larger or smaller than any float. */
const product = (row: RowOp): void => {
  const { e, alongRow } = row
  const real = realOf(row)
  const [zero, one, step] = [0, 1, real.step].map(real.splat) as [R, R, R]
  const down = real.splat(1 / real.step)
  const near = ([x, turns]: Scaled): Scaled => {
    const a = e.bind(real.abs(x))
    const isSmall = e.bind(real.lt(a, real.splat(real.step ** -0.5)))
    const isLarge = e.bind(real.gt(a, real.splat(real.step ** 0.5)))
    const turn = where(isLarge, one, where(isSmall, real.splat(-1), zero))
    return [
      e.bind(real.mul(x, where(isLarge, down, where(isSmall, step, one)))),
      e.bind(real.add(turns, turn))
    ]
  }
  const times = ([x, m]: Scaled, [y, n]: Scaled): Scaled => near([real.mul(x, y), real.add(m, n)])
  const [total, turns] = [e.variable(one), e.variable(zero)]
  row.columns((x) => {
    const own = near(near([alongRow ? active(e, x, one) : x, zero]))
    const [all, count] = times([total.value, turns.value], own)
    total.set(all)
    turns.set(count)
  })
  let all: Scaled = [e.now(total.value), e.now(turns.value)]
  for (const by of alongRow ? ([2, 1] as const) : [])
    all = times(all, [e.now(swapped(all[0], by)), e.now(swapped(all[1], by))])
  const [x, count] = all
  const scaled = [1, 2, 3].reduce((y, n) => {
    const [isMany, isFew] = [real.ge(count, real.splat(n)), real.le(count, real.splat(-n))]
    return e.now(real.mul(y, where(isMany, step, where(isFew, down, one))))
  }, x)
  row.storeRow(scaled)
}

/** What each anchor does with a row. */
export const rowOps: { readonly [K in RowOpName]: (row: RowOp, anchor: NodeOf<K>) => void } = {
  reduce_sum: reduction("reduce_sum"),
  reduce_prod: (row) => (isReal(row.type) ? product(row) : reduction("reduce_prod")(row)),
  reduce_max: reduction("reduce_max"),
  reduce_min: reduction("reduce_min"),

  argmax: (row) => {
    const { e, type } = row
    const best = e.variable(type === "f64" ? reals.f64.splat(0) : (splat(0) as R))
    const at = e.variable(splat(-1))
    row.columns((x, column) => {
      // NaN is no candidate but as the first element of the row: what a lane begins with must not stay there.
      const fit = op("v128.or", equal(type, x, x), op("i32x4.eq", column.number, splat(0)))
      const none = op("v128.and", fit, op("i32x4.lt_s", at.value, splat(0)))
      const wins = op("v128.or", none, greater(type, x, best.value))
      const here = e.now(row.alongRow ? active(e, e.now(wins), splat(0)) : wins)
      best.set(where(here, x, best.value))
      at.set(op("v128.bitselect", column.number, at.value, here))
    })
    for (const by of row.alongRow ? ([2, 1] as const) : []) {
      const [b, j] = [e.now(swapped(best.value, by)), e.now(swapped(at.value, by) as V)]
      const tie = op("v128.and", equal(type, b, best.value), op("i32x4.lt_s", j, at.value))
      const better = op("v128.or", greater(type, b, best.value), tie)
      const none = op("i32x4.lt_s", at.value, splat(0))
      const other = e.now(op("v128.and", op("i32x4.ge_s", j, splat(0)), op("v128.or", none, better)))
      best.set(where(other, b, best.value))
      at.set(op("v128.bitselect", j, at.value, other))
    }
    row.storeRow(e.now(op("i32x4.max_s", at.value, splat(0))))
  },

  cumsum: (row) => {
    const { neutral, merge } = monoids.reduce_sum[row.type] as Monoid
    const total = row.e.variable(neutral)
    row.oneByOne((x, column) => {
      total.set(merge(total.value, x))
      column.store(row.e.now(total.value))
    })
  },

  softmax: (row) => {
    const { e } = row
    const real = realOf(row)
    const { sum } = statistics(row, largestNumber)
    const some = real.ne(sum, real.splat(0))
    const scale = e.now(where(some, real.div(real.splat(1), sum), real.splat(0)))
    row.again((weight, column) => column.store(e.bind(real.mul(weight, scale))))
  },

  logsumexp: (row) => {
    const { e } = row
    const real = realOf(row)
    const { max, sum } = statistics(row, largest)
    const value = real.add(max, real.call(e, "log", sum))
    // Over nothing log gives -inf; an infinite maximum is the answer.
    row.storeRow(e.now(where(real.eq(max, real.splat(Infinity)), max, value)))
  },

  layer_norm: (row, { attrs }) => {
    const { e } = row
    const real = realOf(row)
    const kept: RowOp["columns"] = (inside) =>
      row.columns((x, column) => {
        column.keep(x)
        inside(x, column)
      })
    const mean = e.now(real.div(fold({ ...row, columns: kept }, sum(real)), lengthOf(row, real)))
    const squares = fold({ ...row, columns: row.again }, sum(real), (x) => {
      const d = e.bind(real.sub(x, mean))
      return real.mul(d, d)
    })
    const scale = inverseRoot(row, squares, attrs.epsilon)
    row.again((x, column) => column.store(e.bind(real.mul(real.sub(x, mean), scale))))
  },

  rms_norm: (row, { attrs }) => {
    const { e } = row
    const real = realOf(row)
    const kept: RowOp["columns"] = (inside) =>
      row.columns((x, column) => {
        column.keep(x)
        inside(x, column)
      })
    const squares = fold({ ...row, columns: kept }, sum(real), (x) => real.mul(x, x))
    const scale = inverseRoot(row, squares, attrs.epsilon)
    row.again((x, column) => column.store(e.bind(real.mul(x, scale))))
  }
}
