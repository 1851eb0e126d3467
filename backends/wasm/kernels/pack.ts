import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import { type Expr, i32, op, store, storeLane } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Frame from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Job, Lowered, Ref } from "../Job.ts"
import type { tileColumns, tileRows } from "./tile.ts"

type Indices = ReadonlyArray<Value.Value>

/** One side of a contraction: how its elements are named, and how to compute them. */
export interface Side {
  readonly batch: Shape.Shape
  readonly free: Shape.Shape
  readonly depth: Shape.Shape
  readonly at: (body: Body.Body, e: Emitter, batch: Indices, free: Indices, depth: Indices) => Value.Value
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
 * floats are dealt with here, and the last panel is filled up with copies of its last row.
 */
export const pack = (job: Job, side: Side, panel: typeof tileRows | typeof tileColumns): Packed => {
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
  const body = Body.make(frame, job.body)
  const to = frame.pointer(ref)
  const many = panels(e, side.free, panel)

  e.loop(frame.begin, frame.end, 1, (item) => {
    const b = e.div(item, many)
    const first = e.mul(e.sub(item, e.mul(b, many)), i32(panel))
    const batchIndices = Value.delinearize(e, Value.uniform(b), side.batch)
    const start = e.add(to, e.mul(item, panelBytes(e, side.depth, panel)))
    const fill = (indexOf: (vector: number) => Value.Value): void => {
      const free = [0, 4].filter((n) => n < panel).map((n) => Value.delinearize(e, indexOf(n), side.free))
      e.loop(i32(0), e.dim(depth), 1, (k) => {
        const own = Value.delinearize(e, Value.uniform(k), side.depth)
        const address = e.add(start, e.mul(k, i32(4 * panel)))
        free.forEach((indices, n) => {
          const value = Value.toVector(e, side.at(body, e, batchIndices, indices, own))
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
      () => fill((n) => ({ _tag: "affine", base: e.add(first, i32(n)), step: 1, align, below: count })),
      () =>
        fill((n) => ({
          _tag: "lanes",
          lanes: [0, 1, 2, 3].map((lane) => e.min(e.add(first, i32(n + lane)), last))
        }))
    )
  })
  return { ref, lowered: frame.finish("pack", { times: batch, of: count, per: panel }) }
}
