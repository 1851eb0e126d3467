import type { NodeOf } from "../../../ir/Node.ts"
import type { OfFamily } from "../../../ir/ops.ts"
import { call, type Expr, op, shuffle, splat, splatF32, words } from "../assembler/Instruction.ts"
import type { Emitter, Variable } from "../emit/Emitter.ts"
import { exp2Below } from "../emit/math.ts"
import type { Compute } from "../emit/scalar.ts"

type V = Expr<"v128">

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
  readonly columns: (inside: (element: V, column: Column) => void) => void
  /** The same, one column after the other. */
  readonly oneByOne: (inside: (element: V, column: Column) => void) => void
  /** As `columns`, where `keep` has left a value for every column. */
  readonly again: (inside: (kept: V, column: Column) => void) => void
  /** Stores the row's result: the same in all lanes along a row. */
  readonly storeRow: (value: V) => void
}

export interface Column {
  /** The number of each. */
  readonly number: V
  /** Leaves a value for another pass. */
  readonly keep: (value: V) => void
  /** Stores the results. */
  readonly store: (value: V) => void
}

/** Ops that read whole rows. */
type RowOpName = OfFamily<"reduce" | "normalise">

export type RowAnchor = { [K in RowOpName]: NodeOf<K> }[RowOpName]

/** At the end of a row only lane 0 holds an element; the others do nothing. */
export const active = (e: Emitter, x: V, neutral: V): V =>
  e.width === 4 ? x : e.bind(op("v128.bitselect", x, neutral, words(-1, 0, 0, 0)))

const swapped = (x: V, by: 1 | 2): V => shuffle(x, x, by === 2 ? [2, 3, 0, 1] : [1, 0, 3, 2])

/** All lanes to one, which all of them hold afterwards. */
export const across = (e: Emitter, x: V, merge: (a: V, b: V) => V): V => {
  const half = e.now(merge(x, swapped(x, 2)))
  return e.now(merge(half, swapped(half, 1)))
}

type Merge = (a: V, b: V) => V

interface Monoid {
  readonly neutral: V
  readonly merge: Merge
}

const fold = (
  { e, alongRow, columns }: Pick<RowOp, "e" | "alongRow" | "columns">,
  { neutral, merge }: Monoid,
  term: (element: V) => V = (x) => x
): V => {
  const total: Variable<"v128"> = e.variable(neutral)
  columns((x) => total.set(merge(total.value, alongRow ? active(e, term(x), neutral) : term(x))))
  return alongRow ? across(e, total.value, merge) : e.now(total.value)
}

const sum: Monoid = { neutral: splatF32(0), merge: (a, b) => op("f32x4.add", a, b) }

const integers = (neutral: number, merge: Merge): { readonly i32: Monoid; readonly u32: Monoid } => ({
  i32: { neutral: splat(neutral), merge },
  u32: { neutral: splat(neutral), merge }
})

const every: Monoid = { neutral: splat(-1), merge: (a, b) => op("v128.and", a, b) }
const some: Monoid = { neutral: splat(0), merge: (a, b) => op("v128.or", a, b) }

const largest: Monoid = { neutral: splatF32(-Infinity), merge: (a, b) => op("f32x4.max", a, b) }

/** The same where NaN shows elsewhere: engines need one instruction for it, and several for the other. */
const largestNumber: Monoid = { ...largest, merge: (a, b) => op("f32x4.pmax", a, b) }

/** exp(x - max), where nothing is greater than that. */
const expBelow = (e: Emitter, x: V, max: V): V =>
  exp2Below(e, e.bind(op("f32x4.mul", op("f32x4.sub", x, max), splatF32(Math.LOG2E))))

/** The greatest element, or the least finite number over nothing but -inf, and the sum of exponentials of the distances to it, which are kept. */
const statistics = (row: RowOp, monoid: Monoid): { readonly max: V; readonly sum: V } => {
  const { e } = row
  const kept: RowOp["columns"] = (inside) =>
    row.columns((x, column) => {
      column.keep(x)
      inside(x, column)
    })
  const greatest = fold({ ...row, columns: kept }, monoid)
  // Comparisons with NaN are false: it stays.
  const max = e.now(op("f32x4.pmax", greatest, splatF32(-3.4028234663852886e38)))
  const weights: RowOp["columns"] = (inside) =>
    row.again((x, column) => {
      const weight = expBelow(e, x, max)
      column.keep(weight)
      inside(weight, column)
    })
  return { max, sum: fold({ ...row, columns: weights }, sum) }
}

const lengthOf = ({ e, length }: RowOp): V => e.bind(op("f32x4.splat", op("f32.convert_i32_s", length)))

/** One over the root of a mean and a little more. */
const inverseRoot = (row: RowOp, total: V, epsilon: number): V =>
  row.e.now(
    op(
      "f32x4.div",
      splatF32(1),
      op("f32x4.sqrt", op("f32x4.add", op("f32x4.div", total, lengthOf(row)), splatF32(epsilon)))
    )
  )

const greater = (type: Compute, a: V, b: V): V =>
  type === "f32" ? op("f32x4.gt", a, b) : op(type === "i32" ? "i32x4.gt_s" : "i32x4.gt_u", a, b)

type Reduction = Extract<RowOpName, `reduce_${string}`>

/** What each reduction adds up, and how. */
const monoids: { readonly [K in Reduction]: { readonly [T in Compute]: Monoid } } = {
  reduce_sum: { f32: sum, ...integers(0, (a, b) => op("i32x4.add", a, b)), bool: some },
  reduce_prod: {
    f32: { neutral: splatF32(1), merge: (a, b) => op("f32x4.mul", a, b) },
    ...integers(1, (a, b) => op("i32x4.mul", a, b)),
    bool: every
  },
  reduce_max: {
    f32: largest,
    i32: { neutral: splat(-2147483648), merge: (a, b) => op("i32x4.max_s", a, b) },
    u32: { neutral: splat(0), merge: (a, b) => op("i32x4.max_u", a, b) },
    bool: some
  },
  reduce_min: {
    f32: { neutral: splatF32(Infinity), merge: (a, b) => op("f32x4.min", a, b) },
    i32: { neutral: splat(2147483647), merge: (a, b) => op("i32x4.min_s", a, b) },
    u32: { neutral: splat(-1), merge: (a, b) => op("i32x4.min_u", a, b) },
    bool: every
  }
}

/** How an anchor merges the elements of a row, where that is all it does. */
export const monoidOf = (op: RowOpName, type: Compute): Monoid | undefined =>
  Object.hasOwn(monoids, op) ? monoids[op as Reduction][type] : undefined

const reduction =
  (name: Reduction) =>
  (row: RowOp): void =>
    row.storeRow(fold(row, monoids[name][row.type]))

/** What each anchor does with a row. */
export const rowOps: { readonly [K in RowOpName]: (row: RowOp, anchor: NodeOf<K>) => void } = {
  reduce_sum: reduction("reduce_sum"),
  reduce_prod: reduction("reduce_prod"),
  reduce_max: reduction("reduce_max"),
  reduce_min: reduction("reduce_min"),

  argmax: (row) => {
    const { e, type } = row
    const best = e.variable(splat(0))
    const at = e.variable(splat(-1))
    row.columns((x, column) => {
      const none = op("i32x4.lt_s", at.value, splat(0))
      const wins = op("v128.or", none, greater(type, x, best.value))
      const here = e.now(row.alongRow ? active(e, e.now(wins), splat(0)) : wins)
      best.set(op("v128.bitselect", x, best.value, here))
      at.set(op("v128.bitselect", column.number, at.value, here))
    })
    for (const by of row.alongRow ? ([2, 1] as const) : []) {
      const [b, j] = [e.now(swapped(best.value, by)), e.now(swapped(at.value, by))]
      const tie = op(
        "v128.and",
        op(type === "f32" ? "f32x4.eq" : "i32x4.eq", b, best.value),
        op("i32x4.lt_s", j, at.value)
      )
      const better = op("v128.or", greater(type, b, best.value), tie)
      const none = op("i32x4.lt_s", at.value, splat(0))
      const other = e.now(op("v128.and", op("i32x4.ge_s", j, splat(0)), op("v128.or", none, better)))
      best.set(op("v128.bitselect", b, best.value, other))
      at.set(op("v128.bitselect", j, at.value, other))
    }
    row.storeRow(e.now(op("i32x4.max_s", at.value, splat(0))))
  },

  cumsum: (row) => {
    const { e, type } = row
    const total = e.variable(splat(0))
    row.oneByOne((x, column) => {
      total.set(op(type === "f32" ? "f32x4.add" : "i32x4.add", total.value, x))
      column.store(e.now(total.value))
    })
  },

  softmax: (row) => {
    const { e } = row
    const { sum } = statistics(row, largestNumber)
    const some = op("f32x4.ne", sum, splatF32(0))
    const scale = e.now(op("v128.and", op("f32x4.div", splatF32(1), sum), some))
    row.again((weight, column) => column.store(e.bind(op("f32x4.mul", weight, scale))))
  },

  logsumexp: (row) => {
    const { e } = row
    const { max, sum } = statistics(row, largest)
    const value = op("f32x4.add", max, call(e.unit.helper("log"), sum))
    // Over nothing log gives -inf; an infinite maximum is the answer.
    row.storeRow(e.now(op("v128.bitselect", max, value, op("f32x4.eq", max, splatF32(Infinity)))))
  },

  layer_norm: (row, { attrs }) => {
    const { e } = row
    const kept: RowOp["columns"] = (inside) =>
      row.columns((x, column) => {
        column.keep(x)
        inside(x, column)
      })
    const mean = e.now(op("f32x4.div", fold({ ...row, columns: kept }, sum), lengthOf(row)))
    const squares = fold({ ...row, columns: row.again }, sum, (x) => {
      const d = e.bind(op("f32x4.sub", x, mean))
      return op("f32x4.mul", d, d)
    })
    const scale = inverseRoot(row, squares, attrs.epsilon)
    row.again((x, column) => column.store(e.bind(op("f32x4.mul", op("f32x4.sub", x, mean), scale))))
  },

  rms_norm: (row, { attrs }) => {
    const { e } = row
    const kept: RowOp["columns"] = (inside) =>
      row.columns((x, column) => {
        column.keep(x)
        inside(x, column)
      })
    const squares = fold({ ...row, columns: kept }, sum, (x) => op("f32x4.mul", x, x))
    const scale = inverseRoot(row, squares, attrs.epsilon)
    row.again((x, column) => column.store(e.bind(op("f32x4.mul", x, scale))))
  }
}
