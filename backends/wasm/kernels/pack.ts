import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op, type Statement, shuffle, store, storeLane } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered, Ref } from "../Job.ts"
import type { tileColumns, tileRows } from "./tile.ts"

type V = Expr<"v128">
type Indices = ReadonlyArray<Value.Value>

/** One side of a contraction: how its elements are named, and how to compute them. */
export interface Side {
  readonly batch: Shape.Shape
  readonly free: Shape.Shape
  readonly depth: Shape.Shape
  readonly at: (body: Body.Body, e: Emitter, batch: Indices, free: Indices, depth: Indices) => Value.Value
}

/** What of a batch entry anybody reads: rows, or steps of the depth, from one on to before another. */
export interface Bounds {
  readonly axis: "free" | "depth"
  readonly of: (frame: Frame.Frame, entry: Expr<"i32">) => Range
}

interface Range {
  readonly lo: Expr<"i32">
  readonly hi: Expr<"i32">
}

/** A side that lies in panels: [batch, ceil(free / panel), depth, panel], as words. */
export interface Packed {
  readonly ref: Ref
  readonly lowered: Lowered
}

/** Number of panels. */
export const panels = (e: Emitter, free: Shape.Shape, panel: number): Expr<"i32"> =>
  e.div(e.add(e.dim(Shape.size(free)), i32(panel - 1)), i32(panel))

/** Bytes of one panel. */
export const panelBytes = (e: Emitter, depth: Shape.Shape, panel: number): Expr<"i32"> =>
  e.mul(e.dim(Shape.size(depth)), i32(4 * panel))

/**
 * Lays one side of a contraction out in panels of rows (or columns) that a tile reads one after the other: views, casts and 16-bit
 * floats are dealt with here, and the last panel is filled up with copies of its last row. What lies outside the bounds may stay as it is.
 */
export const pack = (
  job: Job,
  side: Side,
  panel: typeof tileRows | typeof tileColumns,
  bounds?: Bounds
): Packed => {
  const [count, depth, batch] = [side.free, side.depth, side.batch].map(Shape.size) as [
    Dim.Dim,
    Dim.Dim,
    Dim.Dim
  ]
  const ref = job.scratch(
    Dim.product([batch, Dim.add(count, Dim.constant(panel - 1)), depth, Dim.constant(4)])
  )
  const frame = Frame.open(job)
  const { e } = frame
  const to = frame.pointer(ref)
  const many = panels(e, side.free, panel)
  const fill = filler(frame, side)

  e.loop(frame.begin, frame.end, 1, (item) => {
    const b = e.div(item, many)
    const first = e.mul(e.sub(item, e.mul(b, many)), i32(panel))
    const whole = { lo: i32(0), hi: e.dim(depth) }
    const found = bounds?.of(frame, b)
    const within =
      found && bounds?.axis === "depth"
        ? { lo: e.max(found.lo, whole.lo), hi: e.min(found.hi, whole.hi) }
        : whole
    const all = (): void =>
      fill({
        panel,
        batch: Value.delinearize(e, Value.uniform(b), side.batch),
        first,
        depth: within,
        to: e.add(to, e.mul(item, panelBytes(e, side.depth, panel)))
      })
    if (found === undefined || within !== whole) {
      all()
      return
    }
    const { lo, hi } = found
    const inside = op("i32.and", op("i32.gt_s", e.add(first, i32(panel)), lo), op("i32.lt_s", first, hi))
    e.branch(e.bind(inside), all)
  })
  return { ref, lowered: frame.finish("pack", { times: batch, of: count, per: panel }) }
}

/** Where panels lie that another kernel has packed. */
export const panelsAt = (frame: Frame.Frame, side: Side, { ref }: Packed, panel: number) => {
  const { e } = frame
  const start = frame.pointer(ref)
  const [many, bytes] = [panels(e, side.free, panel), panelBytes(e, side.depth, panel)]
  return (entry: Expr<"i32">, number: Expr<"i32">): Expr<"i32"> =>
    e.add(start, e.mul(e.add(e.mul(entry, many), number), bytes))
}

/** Lays out panels of a side, in the order in which its elements are read fastest. */
export const filler = (frame: Frame.Frame, side: Side): ((panel: Panel) => void) => {
  const fill = liesAlong(frame.job, side) ? turned : straight
  return (panel) => fill(frame, side, panel)
}

interface Panel {
  readonly panel: number
  readonly batch: Indices
  readonly first: Expr<"i32">
  readonly depth: Range
  readonly to: Expr<"i32">
}

/** Rows lie one beside the other: vectors of them are copied. */
const straight = (frame: Frame.Frame, side: Side, { panel, batch, first, depth, to }: Panel): void => {
  const { e } = frame
  const body = Body.make(frame, frame.job.body)
  const count = Shape.size(side.free)
  const copy = (indexOf: (vector: number) => Value.Value): void => {
    const free = [0, 4].filter((n) => n < panel).map((n) => Value.delinearize(e, indexOf(n), side.free))
    e.loop(depth.lo, depth.hi, 1, (k) => {
      const own = Value.delinearize(e, Value.uniform(k), side.depth)
      const address = e.add(to, e.mul(k, i32(4 * panel)))
      free.forEach((indices, n) => {
        const value = Value.toVector(e, side.at(body, e, batch, indices, own))
        e.line(
          panel - 4 * n < 4
            ? storeLane("v128.store64_lane", op("i32.add", address, i32(16 * n)), value, 0)
            : store("v128.store", address, value, 16 * n)
        )
      })
    })
  }
  const last = e.sub(e.dim(count), i32(1))
  const align = panel % 4 === 0 ? 4 : 2
  e.branch(
    // Whole vectors are read, past the panel where its rows are no multiple of them.
    e.bind(op("i32.le_s", e.add(first, i32(4 * Math.ceil(panel / 4))), e.dim(count))),
    () => copy((n) => ({ _tag: "affine", base: e.add(first, i32(n)), step: 1, align, below: count })),
    () =>
      copy((n) => ({
        _tag: "lanes",
        lanes: [0, 1, 2, 3].map((lane) => e.min(e.add(first, i32(n + lane)), last))
      }))
  )
}

/** The elements of a row lie one beside the other: vectors of several rows are read, and turned in registers. */
const turned = (frame: Frame.Frame, side: Side, { panel, batch, first, to }: Panel): void => {
  const { e } = frame
  const body = Body.make(frame, frame.job.body)
  const depth = Shape.size(side.depth)
  const last = e.sub(e.dim(Shape.size(side.free)), i32(1))
  const rows = Array.from({ length: panel }, (_, r) =>
    Value.delinearize(e, Value.uniform(e.min(e.add(first, i32(r)), last)), side.free)
  )
  Frame.vectors(e, depth, Dim.value(depth), (k) => {
    const own = Value.delinearize(e, Value.along(e, k, depth), side.depth)
    const address = e.add(to, e.mul(k, i32(4 * panel)))
    const read = (r: number): V =>
      Value.toVector(e, side.at(body, e, batch, rows[Math.min(r, panel - 1)] as Indices, own))
    for (let r = 0; r < panel; r += 4) {
      const columns = transposed(e, [read(r), read(r + 1), read(r + 2), read(r + 3)])
      columns.slice(0, e.width).forEach((column, n) => {
        const offset = 4 * (n * panel + r)
        e.line(
          panel - r < 4
            ? storeLane("v128.store64_lane", op("i32.add", address, i32(offset)), column, 0)
            : store("v128.store", address, column, offset)
        )
      })
    }
  })
}

/** Rows of four as columns. */
export const transposed = (e: Emitter, [a, b, c, d]: readonly [V, V, V, V]): ReadonlyArray<V> => {
  const low = (x: V, y: V): V => e.now(shuffle(x, y, [0, 4, 1, 5]))
  const high = (x: V, y: V): V => e.now(shuffle(x, y, [2, 6, 3, 7]))
  const [ac, bd, ca, db] = [low(a, c), low(b, d), high(a, c), high(b, d)]
  return [low(ac, bd), high(ac, bd), low(ca, db), high(ca, db)]
}

/** Whether a vector of a row is read at once and a vector across rows is not. */
export const liesAlong = (job: Job, side: Side): boolean => reads(job, side, 0, 1) < reads(job, side, 1, 0)

/** The other way round. */
export const liesAcross = (job: Job, side: Side): boolean => reads(job, side, 1, 0) < reads(job, side, 0, 1)

/** Elements that are read one by one for a vector along these axes. */
const reads = (job: Job, side: Side, free: 0 | 1, depth: 0 | 1): number => {
  const frame = Frame.open(job)
  const { e } = frame
  const vector = (shape: Shape.Shape, step: 0 | 1): Indices =>
    Value.delinearize(
      e,
      { _tag: "affine", base: frame.begin, step, align: 4, below: Shape.size(shape) },
      shape
    )
  const batch = side.batch.map(() => Value.uniform(frame.end))
  side.at(Body.make(frame, job.body), e, batch, vector(side.free, free), vector(side.depth, depth))
  return laneLoads(e.statements())
}

/** How many elements statements read one by one into vectors. */
const laneLoads = (statements: ReadonlyArray<Statement>): number => {
  const inside = ({ name, operands }: Expr): number =>
    operands.reduce((sum, x) => sum + inside(x), name.endsWith("_lane") && name.includes("load") ? 1 : 0)
  return statements.reduce((sum, s) => (s._tag === "set" ? sum + inside(s.value) : sum), 0)
}
