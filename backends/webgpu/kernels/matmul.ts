import * as Dim from "../../../ir/Dim.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { Matmul } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Job, type Lowered, result } from "../Job.ts"
import * as Size from "../Size.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Epilogue from "../wgsl/epilogue.ts"
import * as Module from "../wgsl/Module.ts"
import { compute } from "../wgsl/scalar.ts"
import { storePair } from "../wgsl/storage.ts"
import { strided } from "../wgsl/strided.ts"

/**
 * General contraction: for each batch entry, rows (free axes of lhs) × columns (free axes of rhs) of sums over the
 * contracted axes, in f32 or in the integer type. Any layout: operands are read through the views of the body.
 */
export const matmul = (job: Job): Lowered => {
  const contraction = contractionOf(job)
  return job.limits.kind === "cpu" ? fromRegisters(job, contraction) : fromTiles(job, contraction)
}

interface Operand {
  readonly node: Node
  readonly batch: ReadonlyArray<number>
  readonly free: ReadonlyArray<number>
  readonly contract: ReadonlyArray<number>
}

interface Contraction {
  readonly lhs: Operand
  readonly rhs: Operand
  readonly batch: Shape.Shape
  readonly rows: Shape.Shape
  readonly columns: Shape.Shape
  readonly depth: Shape.Shape
}

const contractionOf = (job: Job): Contraction => {
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
  const sizes = (o: Operand, axes: ReadonlyArray<number>): Shape.Shape =>
    axes.map((axis) => o.node.type.shape[axis] as Dim.Dim)
  return {
    lhs,
    rhs,
    batch: sizes(lhs, lhs.batch),
    rows: sizes(lhs, lhs.free),
    columns: sizes(rhs, rhs.free),
    depth: sizes(lhs, lhs.contract)
  }
}

/** What both variants share once a thread knows its batch entry. */
interface Place {
  readonly emitter: Emitter.Emitter
  readonly lhs: (row: string, depth: string) => string
  readonly rhs: (depth: string, column: string) => string
  /** Stores the result of a row and a column; the caller has checked both. */
  readonly store: (row: string, column: string, value: string) => void
  /** Stores a column and the next as one word, where 16-bit results of a row lie side by side. */
  readonly storePair?: (row: string, column: string, values: readonly [string, string]) => void
}

const placeOf = (job: Job, c: Contraction, emitter: Emitter.Emitter, batch: string): Place => {
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
    lhs: (row, k) => element(c.lhs, emitter.delinearize(row, c.rows), emitter.delinearize(k, c.depth)),
    rhs: (k, column) =>
      element(c.rhs, emitter.delinearize(column, c.columns), emitter.delinearize(k, c.depth)),
    store: (row, column, value) => epilogue.store(indices(row, column), value),
    ...(epilogue.pairs && c.columns.length > 0
      ? {
          storePair: (row, column, [even, odd]) => {
            const next = emitter.bind(`${column} + 1`)
            const values = [
              epilogue.value(indices(row, column), even),
              epilogue.value(indices(row, next), odd)
            ] as const
            const { dtype } = (job.body.outputs[0] as { readonly node: Node }).node.type
            storePair(
              emitter,
              result,
              dtype,
              emitter.bind(`${epilogue.position(indices(row, column))} / 2`),
              values
            )
          }
        }
      : {})
  }
}

/** Whether a size is known to be a multiple. */
const divides = (per: number, size: Dim.Dim): boolean => per === 1 || (Dim.value(size) ?? 1) % per === 0

const steps = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

const scheduleOf = (job: Job, c: Contraction): Matmul => {
  if (job.schedule?.kind === "matmul") return job.schedule
  const [rows, columns] = [Dim.value(Shape.size(c.rows)) ?? 64, Dim.value(Shape.size(c.columns)) ?? 64]
  const threadRows = Math.max(1, Math.min(4, rows))
  const threadColumns = Math.max(1, Math.min(4, columns))
  // 64 threads, or 16 to 32 where there are few rows.
  const down = Math.min(8, 2 ** Math.ceil(Math.log2(Math.max(1, Math.ceil(rows / threadRows)))))
  return {
    kind: "matmul",
    rows: down * threadRows,
    columns: Math.min(64 / down, 16) * threadColumns,
    depth: 16,
    threadRows,
    threadColumns
  }
}

/** Declares the accumulators of a thread and gives their names, rows first. */
const accumulators = (
  emitter: Emitter.Emitter,
  type: string,
  rows: number,
  columns: number
): ReadonlyArray<ReadonlyArray<string>> =>
  steps(rows).map(() => steps(columns).map(() => emitter.variable(type, `${type}(0)`)))

const multiplyAdd = (emitter: Emitter.Emitter, type: string, sum: string, a: string, b: string): void =>
  emitter.line(type === "f32" ? `${sum} = fma(${a}, ${b}, ${sum});` : `${sum} = ${sum} + ${a} * ${b};`)

interface Span {
  readonly first: string
  readonly size: Dim.Dim
  /** Whether the block certainly lies within the size. */
  readonly inside: boolean
}

/**
 * Stores a thread's block of results. The accumulators are copied to an array first, so that what follows the product is in
 * the text once and not once for each of them: compilers take long over repeated text.
 */
const storeBlock = (
  place: Place,
  type: string,
  sums: ReadonlyArray<ReadonlyArray<string>>,
  spans: { readonly rows: Span; readonly columns: Span }
): void => {
  const { emitter } = place
  const across = (sums[0] as ReadonlyArray<string>).length
  const all = sums.flat()
  const within = (row: string, column: string, store: () => void): void => {
    const inside = [
      ...(spans.rows.inside ? [] : [`${row} < ${emitter.dim(spans.rows.size)}`]),
      ...(spans.columns.inside ? [] : [`${column} < ${emitter.dim(spans.columns.size)}`])
    ]
    if (inside.length === 0) store()
    else emitter.branch(inside.join(" && "), store)
  }
  if (all.length === 1) {
    const value = emitter.constant(all[0] as string)
    within(spans.rows.first, spans.columns.first, () =>
      place.store(spans.rows.first, spans.columns.first, value)
    )
    return
  }
  const pairs = across % 2 === 0 ? place.storePair : undefined
  const results = emitter.variable(
    `array<${type}, ${all.length}>`,
    `array<${type}, ${all.length}>(${all.join(", ")})`
  )
  emitter.loop("0", String(all.length), pairs === undefined ? "1" : "2", (item) => {
    const row = emitter.add(spans.rows.first, emitter.bind(`${item} / ${across}`))
    const column = emitter.add(spans.columns.first, emitter.bind(`${item} % ${across}`))
    const value = emitter.constant(`${results}[${item}]`)
    if (pairs === undefined) within(row, column, () => place.store(row, column, value))
    else {
      const next = emitter.constant(`${results}[${item} + 1]`)
      within(row, column, () => pairs(row, column, [value, next]))
    }
  })
}

/**
 * For processors that run shaders in software: each thread computes a few rows and columns straight from storage. Barriers
 * and workgroup memory cost there what loads cost; only registers are cheaper.
 */
const fromRegisters = (job: Job, c: Contraction): Lowered => {
  const type = compute(c.lhs.node.type.dtype)
  const { threadRows, threadColumns } = scheduleOf(job, c)
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const threads = 16
  const down = Size.ceilDiv(rows, threadRows)
  const across = Size.ceilDiv(columns, threadColumns)
  const tiles = Size.product([Shape.size(c.batch), down, across])
  const tile = emitter.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  emitter.line(`if (${tile} >= ${Size.wgsl(tiles, module.symbol)}) { return; }`)
  const perRow = emitter.bind(Size.wgsl(across, module.symbol))
  const perEntry = emitter.mul(emitter.bind(Size.wgsl(down, module.symbol)), perRow)
  const batch = emitter.bind(`${tile} / ${perEntry}`)
  const rest = emitter.sub(tile, emitter.mul(batch, perEntry))
  const tileRow = emitter.bind(`${rest} / ${perRow}`)
  const tileColumn = emitter.sub(rest, emitter.mul(tileRow, perRow))
  const place = placeOf(job, c, emitter, batch)

  /** Numbers of a thread's rows or columns; one past the end repeats the last, its result is not stored. */
  const lines = (first: string, size: Dim.Dim, per: number) =>
    steps(per).map((i) => {
      const index = emitter.add(emitter.mul(first, String(per)), String(i))
      return divides(per, size) ? index : emitter.bind(`min(${index}, ${emitter.dim(size)} - 1)`)
    })
  const own = { rows: lines(tileRow, rows, threadRows), columns: lines(tileColumn, columns, threadColumns) }
  const sums = accumulators(emitter, type, threadRows, threadColumns)
  emitter.loop("0", emitter.dim(depth), "1", (k) => {
    const a = own.rows.map((r) => place.lhs(r, k))
    const b = own.columns.map((col) => place.rhs(k, col))
    a.forEach((x, i) => {
      b.forEach((y, j) => {
        multiplyAdd(emitter, type, (sums[i] as ReadonlyArray<string>)[j] as string, x, y)
      })
    })
  })
  storeBlock(place, type, sums, {
    rows: { first: emitter.mul(tileRow, String(threadRows)), size: rows, inside: divides(threadRows, rows) },
    columns: {
      first: emitter.mul(tileColumn, String(threadColumns)),
      size: columns,
      inside: divides(threadColumns, columns)
    }
  })
  return module.finish({
    name: "matmul",
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(tiles, threads)
  })
}

/** For GPUs: tiles of both operands go through workgroup memory, each thread computes a block of the tile's product. */
const fromTiles = (job: Job, c: Contraction): Lowered => {
  const type = compute(c.lhs.node.type.dtype)
  const schedule = scheduleOf(job, c)
  const { threadRows, threadColumns, depth: step } = schedule
  const [rows, columns, depth] = [Shape.size(c.rows), Shape.size(c.columns), Shape.size(c.depth)]
  const [across, down] = [schedule.columns / threadColumns, schedule.rows / threadRows]
  const threads = across * down
  const module = Module.make(job)
  const emitter = Emitter.make(module)
  const tilesDown = Size.ceilDiv(rows, schedule.rows)
  const tilesAcross = Size.ceilDiv(columns, schedule.columns)
  const tiles = Size.product([Shape.size(c.batch), tilesDown, tilesAcross])
  const tile = emitter.constant(Module.workgroupIndex)
  emitter.line(`if (${tile} >= ${Size.wgsl(tiles, module.symbol)}) { return; }`)
  const perRow = emitter.bind(Size.wgsl(tilesAcross, module.symbol))
  const perEntry = emitter.mul(emitter.bind(Size.wgsl(tilesDown, module.symbol)), perRow)
  const batch = emitter.bind(`${tile} / ${perEntry}`)
  const rest = emitter.sub(tile, emitter.mul(batch, perEntry))
  const tileRow = emitter.bind(`${rest} / ${perRow}`)
  const firstRow = emitter.mul(tileRow, String(schedule.rows))
  const firstColumn = emitter.mul(emitter.sub(rest, emitter.mul(tileRow, perRow)), String(schedule.columns))
  const place = placeOf(job, c, emitter, batch)
  const lane = emitter.constant("i32(lix)")
  const threadRow = emitter.mul(emitter.bind(`${lane} / ${across}`), String(threadRows))
  const threadColumn = emitter.mul(emitter.bind(`${lane} % ${across}`), String(threadColumns))

  // A row of padding keeps threads that write along the depth off one memory bank.
  const widths = { lhs: schedule.rows + 1, rhs: schedule.columns + 1 }
  const left = module.workgroupArray(type, step * widths.lhs, step * widths.lhs * 4)
  const right = module.workgroupArray(type, step * widths.rhs, step * widths.rhs * 4)

  /** Fills one tile; neighbouring threads read neighbouring memory where the operand has a contiguous axis. */
  const fill = (
    array: string,
    width: number,
    size: number,
    along: "depth" | "free",
    read: (free: string, k: string) => { readonly value: () => string; readonly inside: string }
  ): void => {
    emitter.loop(lane, String(size * step), String(threads), (item) => {
      const inner = along === "depth" ? step : size
      const [slow, fast] = [emitter.bind(`${item} / ${inner}`), emitter.bind(`${item} % ${inner}`)]
      const [free, k] = along === "depth" ? [slow, fast] : [fast, slow]
      const { value, inside } = read(free, k)
      const element = value()
      emitter.line(`${array}[${k} * ${width} + ${free}] = select(${type}(0), ${element}, ${inside});`)
    })
  }

  const sums = accumulators(emitter, type, threadRows, threadColumns)
  emitter.loop("0", emitter.dim(depth), String(step), (first) => {
    fill(left, widths.lhs, schedule.rows, contiguous(job, c.lhs), (free, k) => {
      const [row, at] = [emitter.add(firstRow, free), emitter.add(first, k)]
      return {
        value: () => place.lhs(row, at),
        inside: `${row} < ${emitter.dim(rows)} && ${at} < ${emitter.dim(depth)}`
      }
    })
    fill(right, widths.rhs, schedule.columns, contiguous(job, c.rhs), (free, k) => {
      const [column, at] = [emitter.add(firstColumn, free), emitter.add(first, k)]
      return {
        value: () => place.rhs(at, column),
        inside: `${column} < ${emitter.dim(columns)} && ${at} < ${emitter.dim(depth)}`
      }
    })
    emitter.line("workgroupBarrier();")
    emitter.loop("0", String(step), "1", (k) => {
      const a = steps(threadRows).map((i) =>
        emitter.constant(`${left}[${k} * ${widths.lhs} + ${threadRow} + ${i}]`)
      )
      const b = steps(threadColumns).map((j) =>
        emitter.constant(`${right}[${k} * ${widths.rhs} + ${threadColumn} + ${j}]`)
      )
      a.forEach((x, i) => {
        b.forEach((y, j) => {
          multiplyAdd(emitter, type, (sums[i] as ReadonlyArray<string>)[j] as string, x, y)
        })
      })
    })
    emitter.line("workgroupBarrier();")
  })
  storeBlock(place, type, sums, {
    rows: { first: emitter.add(firstRow, threadRow), size: rows, inside: divides(schedule.rows, rows) },
    columns: {
      first: emitter.add(firstColumn, threadColumn),
      size: columns,
      inside: divides(schedule.columns, columns)
    }
  })
  return module.finish({
    name: "matmul",
    lines: emitter.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: tiles
  })
}

/** Along which of its axes an operand's elements lie side by side; the depth where that is unknown. */
const contiguous = (job: Job, o: Operand): "depth" | "free" => {
  const view = strided(job.body, o.node)
  const last = o.free.at(-1)
  return view !== undefined && last !== undefined && Dim.isOne(view.strides[last] as Dim.Dim)
    ? "free"
    : "depth"
}
