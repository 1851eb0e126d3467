import type { Emitter } from "../wgsl/Emitter.ts"
import { allOf, anyOf, literal } from "../wgsl/scalar.ts"
import { type Frame, laneOf, range } from "./frame.ts"
import * as Output from "./output.ts"
import * as Owned from "./owned.ts"
import type { Problem, Statistic } from "./Problem.ts"
import { joinSlices, reduce } from "./share.ts"
import * as Visit from "./visit.ts"

/** Sums of whole rows, for each four rows of the thread; the values of the first slice are whole afterwards. */
export const join = (frame: Frame): ReadonlyArray<string> => {
  if (frame.tile.owned && !frame.tile.shared) return frame.sums
  const sums = reduce(frame, frame.sums, "sum")
  joinSlices(frame)
  return sums
}

/** Starts rows anew, whose sums are stored, but for maxima above which a row takes no masked keys. */
export const forget = ({ e, problem, maxima, sums, values, owned, lowest }: Frame): void => {
  const limit = Visit.limitOf({ e, problem })
  for (const m of maxima) e.line(`${m} = select(vec4<f32>(${lowest}), ${m}, ${m} > vec4<f32>(${limit}));`)
  for (const sum of sums) e.line(`${sum} = vec4<f32>();`)
  const all = values.flat()
  if (owned === "") for (const value of all) e.line(`${value} = vec4<f32>();`)
  else e.loop("0", String(all.length), "1", (n) => e.line(`${owned}[${n}] = vec4<f32>();`))
}

/** Runs `each` for the rows of the thread that exist. `row` is the number of the row within the thread, static. */
const existing = (frame: Frame, each: (row: number) => void): void => {
  frame.rows.forEach((row, a) => {
    frame.e.branch(`${row.number} < ${frame.rowCount}`, () => each(a))
  })
}

/** Runs `inside` in one of the threads that share rows: the one whose number, a literal where there is but one, is 0. */
const once = ({ e }: Frame, number: string, inside: () => void): void => {
  if (number === "0") inside()
  else e.branch(`${number} == 0`, inside)
}

/** Stores what is asked for. */
export const storeResult = (frame: Frame, sums: ReadonlyArray<string>): void => {
  for (const { kind, job } of frame.problem.outputs) {
    const output = Output.make(frame.e, frame.problem, job)
    if (kind === "result") storeValues(frame, sums, output)
    else storeStatistic(frame, sums, output, kind)
  }
}

/** Stores what a row says of itself. Without keys the log-sum-exp and the maximum are -inf. */
const storeStatistic = (
  frame: Frame,
  sums: ReadonlyArray<string>,
  output: Output.Output,
  kind: Statistic
): void => {
  const { e, b, rows, maxima } = frame
  once(frame, frame.column, () => {
    existing(frame, (a) => {
      const [quad, lane] = laneOf(a)
      const { h, i } = rows[a] as Frame["rows"][number]
      const row = frame.tile.owned ? ([b, e.constant(h), e.constant(i)] as const) : ([b, h, i] as const)
      output.scalar(row, statistic(e, kind, `${maxima[quad]}.${lane}`, `${sums[quad]}.${lane}`))
    })
  })
}

/** Divides by the sums once and stores the result. A row without keys gives 0. */
const storeValues = (frame: Frame, sums: ReadonlyArray<string>, output: Output.Output): void => {
  const { e, problem, b, rows, slice } = frame
  const store = (): void => {
    if (frame.tile.owned) {
      const totals = problem.normalised ? totalsOf(frame, sums) : undefined
      Owned.eachValue(frame, ({ a, h, i }, chunk, value) => {
        const sum = totals === undefined ? undefined : e.constant(`${totals}[${a}]`)
        output.chunk([b, h, i], chunk, normalised(e, problem, value, sum))
      })
      return
    }
    if (output.isShort) {
      existing(frame, (a) => {
        const [quad, lane] = laneOf(a)
        const { h, i } = rows[a] as Frame["rows"][number]
        const sum = problem.normalised ? `${sums[quad]}.${lane}` : undefined
        eachChunk(frame, (n, chunk) => {
          output.chunk([b, h, i], chunk, normalised(e, problem, `${frame.values[a]?.[n]}`, sum))
        })
      })
      return
    }
    inTurn(frame, sums, (a, chunk, value, sum) => {
      const h = e.constant(pick(frame, a, (row) => row.h))
      const i = e.constant(pick(frame, a, (row) => row.i))
      output.chunk([b, h, i], chunk, normalised(e, problem, value, sum))
    })
  }
  once(frame, slice, store)
}

/** Weighted values over the sum of the weights, if there is one. */
export const normalised = (
  e: Emitter,
  { node, S }: Problem,
  value: string,
  sum: string | undefined
): string => {
  if (sum === undefined) return e.constant(value)
  // Without any key there is nothing that a sink of NaN could be the weight of.
  const nothing = node.attrs.sink === undefined ? [] : [`${e.dim(S)} == 0`]
  return e.constant(`select(${value} / ${sum}, vec4<f32>(), ${anyOf(`${sum} == 0.0`, ...nothing)})`)
}

/** What a row's maximum, as `marked` says, and sum say of it. The sum is 0 where the row has no keys, and NaN where a score is NaN or +inf. */
export const statistic = (e: Emitter, kind: Statistic, top: string, sum: string): string => {
  if (kind === "sum") return e.constant(sum)
  const nothing = e.bind(literal(e.module, "f32", -Infinity))
  const [isNaN, isInf] = [e.module.helper("nan_bits"), e.module.helper("inf_bits")]
  // What `log` makes of NaN differs from device to device.
  const value = kind === "lse" ? `${top} + log(${sum})` : top
  const special = `select(-${nothing}, ${sum}, ${isInf}(${top}))`
  return e.constant(`select(select(${value}, ${special}, ${isNaN}(${sum})), ${nothing}, ${sum} == 0.0)`)
}

/** The chunks of the thread that exist. */
const eachChunk = (frame: Frame, each: (n: number, chunk: string) => void): void => {
  const { e, tile, problem, valueColumn } = frame
  const needed = Math.ceil(problem.E / 4)
  for (const n of range(tile.chunks)) {
    const chunk = e.add(valueColumn, String(n * tile.valueColumns))
    if (tile.valueColumns * tile.chunks === needed) each(n, chunk)
    else e.branch(`${chunk} < ${needed}`, () => each(n, chunk))
  }
}

/** A field of one of the thread's rows, by its number at run time. */
const pick = ({ e, rows }: Frame, a: string, field: (row: Frame["rows"][number]) => string): string => {
  const array = e.remember(`rows:${rows.map(field).join()}`, () =>
    e.variable(`array<i32, ${rows.length}>`, `array<i32, ${rows.length}>(${rows.map(field).join(", ")})`)
  )
  return `${array}[${a}]`
}

/** The sums of the thread's rows as an array. */
const totalsOf = ({ e, rows }: Frame, sums: ReadonlyArray<string>): string => {
  const type = `array<f32, ${rows.length}>`
  return e.variable(type, `${type}(${rows.map((_, a) => `${sums[a >> 2]}.${laneOf(a)[1]}`).join(", ")})`)
}

/** A loop over the thread's rows and chunks, for stores that are too long to be repeated for each. */
const inTurn = (
  frame: Frame,
  sums: ReadonlyArray<string>,
  each: (a: string, chunk: string, value: string, sum: string | undefined) => void
): void => {
  const { e, tile, problem, rows, rowCount, values, valueColumn } = frame
  const [needed, count] = [Math.ceil(problem.E / 4), rows.length * tile.chunks]
  const array = (type: string, length: number, items: ReadonlyArray<string>): string =>
    e.variable(`array<${type}, ${length}>`, `array<${type}, ${length}>(${items.join(", ")})`)
  const all = array("vec4<f32>", count, values.flat())
  const numbers = array(
    "i32",
    rows.length,
    rows.map((row) => row.number)
  )
  const totals = problem.normalised ? totalsOf(frame, sums) : undefined
  // Made before the loop, where they stay.
  pick(frame, "0", (row) => row.h)
  pick(frame, "0", (row) => row.i)
  e.loop("0", String(count), "1", (n) => {
    const a = e.bind(`${n} / ${tile.chunks}`)
    const chunk = e.bind(`${valueColumn} + (${n} - ${a} * ${tile.chunks}) * ${tile.valueColumns}`)
    e.branch(allOf(`${numbers}[${a}] < ${rowCount}`, `${chunk} < ${needed}`), () => {
      const sum = totals === undefined ? undefined : e.constant(`${totals}[${a}]`)
      each(a, chunk, e.constant(`${all}[${n}]`), sum)
    })
  })
}

/** Vectors that a split leaves for each row: its values, then, of a softmax, maximum and sum. */
export const partWidth = ({ E, hasResult, normalised }: Problem): number =>
  (hasResult ? Math.ceil(E / 4) : 0) + (normalised ? 1 : 0)

/** The vectors of each row that exists. */
export const storePartial = (
  frame: Frame,
  sums: ReadonlyArray<string>,
  buffer: string,
  firstRow: string
): void => {
  const { e, problem, rows, maxima, values } = frame
  const width = partWidth(problem)
  const place = (a: number): string =>
    e.mul(e.add(firstRow, (rows[a] as { number: string }).number), String(width))
  if (problem.hasResult && frame.tile.owned) {
    Owned.eachValue(frame, ({ number }, chunk, value) => {
      const at = e.add(e.mul(e.add(firstRow, number), String(width)), chunk)
      e.line(`${buffer}[${at}] = ${value};`)
    })
  } else if (problem.hasResult) {
    once(frame, frame.slice, () => {
      existing(frame, (a) => {
        const at = place(a)
        eachChunk(frame, (n, chunk) => {
          e.line(`${buffer}[${e.add(at, chunk)}] = ${values[a]?.[n]};`)
        })
      })
    })
  }
  if (!problem.normalised) return
  once(frame, frame.column, () => {
    existing(frame, (a) => {
      const [quad, lane] = laneOf(a)
      const at = e.add(place(a), String(width - 1))
      e.line(`${buffer}[${at}] = vec4<f32>(${maxima[quad]}.${lane}, ${sums[quad]}.${lane}, 0.0, 0.0);`)
    })
  })
}
