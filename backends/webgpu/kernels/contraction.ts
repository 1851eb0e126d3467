import * as Dim from "../../../ir/Dim.ts"
import { matmulSchedule } from "../../../ir/matmulSchedule.ts"
import { illegalMatmul } from "../../../ir/matmulSchedules.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { Matmul } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import { anchorsOf, type Job } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import type * as Emitter from "../wgsl/Emitter.ts"
import * as Epilogue from "../wgsl/epilogue.ts"
import { allOf } from "../wgsl/scalar.ts"

/** What the variants of matrix products share: the axes of a `dot` by their part in it, loads, stores, blocks of results. */

export interface Operand {
  readonly node: Node
  readonly batch: ReadonlyArray<number>
  readonly free: ReadonlyArray<number>
  readonly contract: ReadonlyArray<number>
}

export interface Contraction {
  readonly lhs: Operand
  /** One, or two of one shape. */
  readonly rhs: ReadonlyArray<Operand>
  readonly batch: Shape.Shape
  readonly rows: Shape.Shape
  readonly columns: Shape.Shape
  readonly depth: Shape.Shape
}

export const contractionOf = (job: Job): Contraction => {
  const { operands, attrs } = job.anchor as NodeOf<"dot">
  const [left, right] = operands as readonly [Node, Node]
  const operand = (node: Node, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>): Operand => ({
    node,
    batch,
    contract,
    free: node.type.shape.flatMap((_, axis) =>
      batch.includes(axis) || contract.includes(axis) ? [] : [axis]
    )
  })
  const lhs = operand(left, attrs.lhsBatch, attrs.lhsContract)
  const rhs = operand(right, attrs.rhsBatch, attrs.rhsContract)
  const others = anchorsOf(job).slice(1)
  const sizes = (o: Operand, axes: ReadonlyArray<number>): Shape.Shape =>
    axes.map((axis) => o.node.type.shape[axis] as Dim.Dim)
  return {
    lhs,
    rhs: [rhs, ...others.map((dot) => operand(dot.operands[1] as Node, attrs.rhsBatch, attrs.rhsContract))],
    batch: sizes(lhs, lhs.batch),
    rows: sizes(lhs, lhs.free),
    columns: sizes(rhs, rhs.free),
    depth: sizes(lhs, lhs.contract)
  }
}

/** What variants share once a thread knows its batch entry. */
export interface Place {
  readonly emitter: Emitter.Emitter
  /** Indices of the batch axes. */
  readonly entry: ReadonlyArray<string>
  readonly lhs: (row: string, depth: string) => string
  readonly rhs: ReadonlyArray<(depth: string, column: string) => string>
  /** Stores the result of a row and a column, which the caller has checked, from an element of each product. */
  readonly store: (row: string, column: string, values: ReadonlyArray<string>) => void
  /** Stores a column and the next as one word, where 16-bit results of a row lie side by side. */
  readonly storePair?: (
    row: string,
    column: string,
    values: readonly [even: ReadonlyArray<string>, odd: ReadonlyArray<string>]
  ) => void
}

export const placeOf = (job: Job, c: Contraction, emitter: Emitter.Emitter, batch: string): Place => {
  const body = Body.make(emitter, job.body)
  const epilogue = Epilogue.make(emitter, job, () => Body.make(emitter, job.body))
  const entry = emitter.delinearize(batch, c.batch)
  const element = (o: Operand, free: ReadonlyArray<string>, depth: ReadonlyArray<string>): string =>
    body.at(
      o.node,
      o.node.type.shape.map((_, axis) => {
        const [b, f] = [o.batch.indexOf(axis), o.free.indexOf(axis)]
        return (b >= 0 ? entry[b] : f >= 0 ? free[f] : depth[o.contract.indexOf(axis)]) as string
      })
    )
  const indices = (row: string, column: string): ReadonlyArray<string> => [
    ...entry,
    ...emitter.delinearize(row, c.rows),
    ...emitter.delinearize(column, c.columns)
  ]
  return {
    emitter,
    entry,
    lhs: (row, k) => element(c.lhs, emitter.delinearize(row, c.rows), emitter.delinearize(k, c.depth)),
    rhs: c.rhs.map(
      (rhs) => (k, column) =>
        element(rhs, emitter.delinearize(column, c.columns), emitter.delinearize(k, c.depth))
    ),
    store: (row, column, values) => epilogue.store(indices(row, column), ...values),
    ...(epilogue.storePair !== undefined && c.columns.length > 0
      ? {
          storePair: (row, column, [even, odd]) =>
            epilogue.storePair?.(
              { indices: indices(row, column), values: even },
              { indices: indices(row, emitter.bind(`${column} + 1`)), values: odd }
            )
        }
      : {})
  }
}

export interface Tile {
  /** How many there are, in all parts of the depth. */
  readonly tiles: Size.Size
  /** Which part of the depth is summed. */
  readonly part: string
  readonly batch: string
  readonly firstRow: string
  readonly firstColumn: string
  /** Whether the tile is one, where threads without one stay. */
  readonly inside?: string
}

/** The tile of a number, in the order part, batch, rows, columns. Threads past the last leave, or `stay` and repeat it. */
export const tileOf = (
  emitter: Emitter.Emitter,
  number: string,
  c: Contraction,
  perRow: number,
  perColumn: number,
  { stay = false, parts = Size.one }: { readonly stay?: boolean; readonly parts?: Size.Size | undefined } = {}
): Tile => {
  const { module } = emitter
  const [down, across] = [
    Size.ceilDiv(Shape.size(c.rows), perRow),
    Size.ceilDiv(Shape.size(c.columns), perColumn)
  ]
  const perPart = Size.product([Shape.size(c.batch), down, across])
  const tiles = Size.mul(parts, perPart)
  const count = Size.wgsl(tiles, module.symbol)
  const own = stay ? emitter.constant(`min(${number}, ${count} - 1)`) : number
  if (!stay) emitter.line(`if (${number} >= ${count}) { return; }`)
  const whole = Size.value(parts) === 1
  const size = whole ? "" : emitter.bind(Size.wgsl(perPart, module.symbol))
  const part = whole ? "0" : emitter.bind(`${own} / ${size}`)
  const tile = whole ? own : emitter.sub(own, emitter.mul(part, size))
  const acrossText = emitter.bind(Size.wgsl(across, module.symbol))
  const perEntry = emitter.mul(emitter.bind(Size.wgsl(down, module.symbol)), acrossText)
  const batch = emitter.bind(`${tile} / ${perEntry}`)
  const rest = emitter.sub(tile, emitter.mul(batch, perEntry))
  const tileRow = emitter.bind(`${rest} / ${acrossText}`)
  return {
    tiles,
    part,
    batch,
    firstRow: emitter.mul(tileRow, String(perRow)),
    firstColumn: emitter.mul(emitter.sub(rest, emitter.mul(tileRow, acrossText)), String(perColumn)),
    ...(stay ? { inside: `${number} < ${count}` } : {})
  }
}

/** Whether a size is known to be a multiple. */
export const divides = (per: number, size: Dim.Dim): boolean =>
  per === 1 || (Dim.value(size) ?? 1) % per === 0

export const steps = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

export const scheduleOf = (job: Job, c: Omit<Contraction, "lhs">): Matmul => {
  if (job.schedule?.kind === "matmul") {
    const refused = illegalMatmul(job.schedule, job.limits, c.rhs.length)
    if (refused === undefined) return job.schedule
    throw new UnsupportedByDevice({ message: `dot: the schedule does not fit: ${refused}` })
  }
  const [batch, rows, columns, depth] = [c.batch, c.rows, c.columns, c.depth].map((axes) =>
    Dim.value(Shape.size(axes))
  )
  return matmulSchedule(job.limits, { batch, rows, columns, depth }, c.rhs.length)
}

/** Accumulators of a thread, rows first. */
export type Sums = ReadonlyArray<ReadonlyArray<string>>

/** Declares the accumulators of a thread and gives their names. */
export const accumulators = (emitter: Emitter.Emitter, type: string, rows: number, columns: number): Sums =>
  steps(rows).map(() => steps(columns).map(() => emitter.variable(type, `${type}(0)`)))

export const multiplyAdd = (
  emitter: Emitter.Emitter,
  type: string,
  sum: string,
  a: string,
  b: string
): void =>
  emitter.line(type === "f32" ? `${sum} = fma(${a}, ${b}, ${sum});` : `${sum} = ${sum} + ${a} * ${b};`)

export interface Span {
  readonly first: string
  readonly size: Dim.Dim
  /** Where line `i` of the block is line `i ^ turn` from the first. */
  readonly turn?: string
  /** Whether the block certainly lies within the size. */
  readonly inside: boolean
}

/**
 * Stores a thread's block of results. The accumulators are copied to an array first, so that what follows the product is in
 * the text once and not once for each of them: compilers take long over repeated text.
 */
export const storeBlock = (
  place: Pick<Place, "emitter" | "store" | "storePair">,
  type: string,
  products: ReadonlyArray<Sums>,
  spans: { readonly rows: Span; readonly columns: Span },
  /** The threads that have the same block and store a part of it each. */
  team: { readonly first: string; readonly of: number } = { first: "0", of: 1 }
): void => {
  const { emitter } = place
  const across = products[0]?.[0]?.length as number
  const all = products.map((sums) => sums.flat())
  const count = all[0]?.length as number
  const within = (row: string, column: string, store: () => void): void => {
    const inside = [
      ...(spans.rows.inside ? [] : [`${row} < ${emitter.dim(spans.rows.size)}`]),
      ...(spans.columns.inside ? [] : [`${column} < ${emitter.dim(spans.columns.size)}`])
    ]
    if (inside.length === 0) store()
    else emitter.branch(allOf(...inside), store)
  }
  if (count === 1 && team.of === 1) {
    const values = all.map(([sum]) => emitter.constant(sum as string))
    within(spans.rows.first, spans.columns.first, () =>
      place.store(spans.rows.first, spans.columns.first, values)
    )
    return
  }
  const pairs = across % 2 === 0 ? place.storePair : undefined
  const results = all.map((sums) =>
    emitter.variable(`array<${type}, ${count}>`, `array<${type}, ${count}>(${sums.join(", ")})`)
  )
  const run = pairs === undefined ? 1 : 2
  emitter.loop(emitter.mul(team.first, String(run)), String(count), String(run * team.of), (item) => {
    const { turn } = spans.rows
    const line = emitter.bind(`${item} / ${across}`)
    const row = emitter.add(spans.rows.first, turn === undefined ? line : emitter.bind(`${line} ^ ${turn}`))
    const column = emitter.add(spans.columns.first, emitter.bind(`${item} % ${across}`))
    const values = results.map((r) => emitter.constant(`${r}[${item}]`))
    if (pairs === undefined) within(row, column, () => place.store(row, column, values))
    else {
      const next = results.map((r) => emitter.constant(`${r}[${item} + 1]`))
      within(row, column, () => pairs(row, column, [values, next]))
    }
  })
}
