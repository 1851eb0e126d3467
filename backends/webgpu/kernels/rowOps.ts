import type { NodeOf } from "../../../ir/Node.ts"
import type { OfFamily } from "../../../ir/ops.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { allOf, anyOf, type Compute, literal } from "../wgsl/scalar.ts"

/** A row as an anchor's recipe sees it, whether one thread or a workgroup owns it. */
export interface RowOp {
  readonly emitter: Emitter
  /** Compute type of the elements. */
  readonly type: Compute
  /** Number of elements. */
  readonly length: string
  readonly threads: number
  readonly lane: string
  /** Loops over the columns of this thread. */
  readonly columns: (inside: (column: string) => void) => void
  readonly element: (column: string) => string
  /** One value of each thread to one value that every thread has. */
  readonly combine: (
    parts: ReadonlyArray<{ readonly type: string; readonly value: string }>,
    merge: (mine: ReadonlyArray<string>, other: ReadonlyArray<string>) => ReadonlyArray<string>
  ) => ReadonlyArray<string>
  /** Stores the row's result, once. */
  readonly storeRow: (value: string) => void
  /** Stores the result of one column. */
  readonly storeElement: (column: string, value: string) => void
  /** Stores the results of all columns. */
  readonly storeColumns: (value: (column: string) => string) => void
}

/** Ops that read whole rows. */
type RowOpName = OfFamily<"reduce" | "normalise">

export type RowAnchor = { [K in RowOpName]: NodeOf<K> }[RowOpName]

/** Least finite f32: the start of a maximum, so that no arithmetic meets -inf. */
const least = "-3.40282346e38"

/** A running value over the row, then over the threads. */
const fold = (
  row: RowOp,
  type: string,
  init: string,
  step: (total: string, column: string) => string,
  merge: (a: string, b: string) => string
): string => {
  const total = row.emitter.variable(type, init)
  row.columns((column) => row.emitter.line(`${total} = ${step(total, column)};`))
  return row.combine([{ type, value: total }], ([a], [b]) => [merge(a as string, b as string)])[0] as string
}

const zero = (type: Compute): string =>
  type === "f32" ? "0.0" : type === "u32" ? "0u" : type === "i32" ? "0" : "false"
const unit = (type: Compute): string =>
  type === "f32" ? "1.0" : type === "u32" ? "1u" : type === "i32" ? "1" : "true"

const infix = (operator: string) => (a: string, b: string) => `${a} ${operator} ${b}`

/** Sum of a term of every column, in f32. */
const sumOf = (row: RowOp, term: (column: string) => string): string =>
  fold(row, "f32", "0.0", (total, column) => `${total} + ${term(column)}`, infix("+"))

const reduction =
  (init: (type: Compute) => string, merge: (type: Compute) => (a: string, b: string) => string) =>
  (row: RowOp): void => {
    const join = merge(row.type)
    row.storeRow(
      fold(row, row.type, init(row.type), (total, column) => join(total, row.element(column)), join)
    )
  }

const extreme =
  (name: "max" | "min") =>
  (row: RowOp): void => {
    const { emitter, type } = row
    const { module } = emitter
    const bounds =
      name === "max"
        ? { f32: -Infinity, i32: -2147483648, u32: 0 }
        : { f32: Infinity, i32: 2147483647, u32: 4294967295 }
    if (type === "bool") {
      const join = infix(name === "max" ? "|" : "&")
      row.storeRow(
        fold(row, type, name === "max" ? "false" : "true", (total, c) => join(total, row.element(c)), join)
      )
      return
    }
    const join = (a: string, b: string) =>
      `${type === "f32" ? module.helper(`${name}_f32`) : name}(${a}, ${b})`
    row.storeRow(
      fold(row, type, literal(module, type, bounds[type]), (total, c) => join(total, row.element(c)), join)
    )
  }

/** The product of floats, as if exponents had no bounds: a part of it may be larger or smaller than any float. */
const product = (row: RowOp): void => {
  const { emitter } = row
  const [factor, times] = [emitter.module.helper("factor"), emitter.module.helper("product")]
  const total = emitter.variable("vec2<f32>", "vec2<f32>(1.0, 0.0)")
  row.columns((column) => {
    emitter.line(`${total} = ${times}(${total}, ${factor}(${row.element(column)}));`)
  })
  const parts = ["x", "y"].map((part) => ({ type: "f32", value: `${total}.${part}` }))
  const pair = (x: ReadonlyArray<string>): string => `vec2<f32>(${x.join(", ")})`
  const all = row.combine(parts, (mine, other) => {
    const both = emitter.constant(`${times}(${pair(mine)}, ${pair(other)})`)
    return [`${both}.x`, `${both}.y`]
  })
  row.storeRow(emitter.constant(`${emitter.module.helper("scaled")}(${pair(all)})`))
}

/** The greatest finite element and the sum of exponentials of the distances to it; -inf contributes nothing. */
const statistics = (
  row: RowOp,
  greatest: string
): { readonly max: string; readonly sum: string; readonly weight: (column: string) => string } => {
  const { emitter } = row
  const greater = (a: string, b: string): string => `${greatest}(${a}, ${b})`
  const max = fold(row, "f32", least, (total, column) => greater(total, row.element(column)), greater)
  const exp = emitter.module.helper("exp_f32")
  const weight = (column: string): string => emitter.bind(`${exp}(${row.element(column)} - ${max})`)
  return { max, weight, sum: sumOf(row, weight) }
}

/** What each anchor does with a row. */
export const rowOps: { readonly [K in RowOpName]: (row: RowOp, anchor: NodeOf<K>) => void } = {
  reduce_sum: reduction(zero, () => infix("+")),
  reduce_prod: (row) => (row.type === "f32" ? product(row) : reduction(unit, () => infix("*"))(row)),
  reduce_max: extreme("max"),
  reduce_min: extreme("min"),

  argmax: (row) => {
    const { emitter, type } = row
    const best = emitter.variable(type, zero(type))
    const at = emitter.variable("i32", "-1")
    row.columns((column) => {
      const x = row.element(column)
      emitter.branch(anyOf(`${at} < 0`, `${x} > ${best}`), () => {
        emitter.line(`${best} = ${x};`)
        emitter.line(`${at} = ${column};`)
      })
    })
    const [, winner] = row.combine(
      [
        { type, value: best },
        { type: "i32", value: at }
      ],
      ([a, i], [b, j]) => {
        const other = emitter.constant(
          allOf(`${j} >= 0`, anyOf(`${i} < 0`, `${b} > ${a}`, allOf(`${b} == ${a}`, `${j} < ${i}`)))
        )
        return [`select(${a}, ${b}, ${other})`, `select(${i}, ${j}, ${other})`]
      }
    )
    row.storeRow(emitter.constant(`max(${winner}, 0)`))
  },

  cumsum: (row) => {
    const { emitter, type, lane, threads } = row
    const total = emitter.variable(type, zero(type))
    const run = (first: string, end: string, each: (column: string, sum: string) => void): void =>
      emitter.loop(first, end, "1", (column) => {
        emitter.line(`${total} = ${total} + ${row.element(column)};`)
        each(column, total)
      })
    const put = (column: string, sum: string) => row.storeElement(column, emitter.constant(sum))
    if (threads === 1) return run("0", row.length, put)
    // Each thread owns a run of columns: sums of runs first, then every run again from the sum of those before it.
    const share = emitter.bind(`(${row.length} + ${threads - 1}) / ${threads}`)
    const first = emitter.bind(`min(${lane} * ${share}, ${row.length})`)
    const end = emitter.bind(`min(${first} + ${share}, ${row.length})`)
    run(first, end, () => {})
    const sums = emitter.module.workgroupArray(type, threads, threads * 4)
    emitter.line(`${sums}[${lane}] = ${total};`)
    emitter.line("workgroupBarrier();")
    emitter.line(`${total} = ${zero(type)};`)
    emitter.loop("0", lane, "1", (k) => emitter.line(`${total} = ${total} + ${sums}[${k}];`))
    run(first, end, put)
  },

  softmax: (row) => {
    const { emitter } = row
    const { sum, weight } = statistics(row, "max")
    const scale = emitter.constant(`select(1.0 / ${sum}, 0.0, ${sum} == 0.0)`)
    row.storeColumns((column) => emitter.bind(`${weight(column)} * ${scale}`))
  },

  logsumexp: (row) => {
    const { emitter } = row
    // An infinite maximum is the answer, unless there is a NaN.
    const { max, sum } = statistics(row, emitter.module.helper("max_f32"))
    const nothing = literal(emitter.module, "f32", -Infinity)
    const infinite = `${emitter.module.helper("inf_bits")}(${max})`
    // What the builtin makes of NaN differs from device to device.
    const log = `select(log(${sum}), ${sum}, ${emitter.module.helper("nan_bits")}(${sum}))`
    row.storeRow(
      emitter.constant(`select(select(${max} + ${log}, ${max}, ${infinite}), ${nothing}, ${sum} == 0.0)`)
    )
  },

  layer_norm: (row, { attrs }) => {
    const { emitter } = row
    const count = emitter.bind(`f32(${row.length})`)
    const mean = emitter.constant(`${sumOf(row, row.element)} / ${count}`)
    const distance = (column: string) => emitter.bind(`${row.element(column)} - ${mean}`)
    const squares = sumOf(row, (column) => {
      const d = distance(column)
      return `${d} * ${d}`
    })
    const scale = emitter.constant(
      `inverseSqrt(${squares} / ${count} + ${literal(emitter.module, "f32", attrs.epsilon)})`
    )
    row.storeColumns((column) => emitter.bind(`${distance(column)} * ${scale}`))
  },

  rms_norm: (row, { attrs }) => {
    const { emitter } = row
    const squares = sumOf(row, (column) => {
      const x = row.element(column)
      return `${x} * ${x}`
    })
    const scale = emitter.constant(
      `inverseSqrt(${squares} / f32(${row.length}) + ${literal(emitter.module, "f32", attrs.epsilon)})`
    )
    row.storeColumns((column) => emitter.bind(`${row.element(column)} * ${scale}`))
  }
}
