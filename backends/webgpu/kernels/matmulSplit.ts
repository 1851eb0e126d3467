import type { DType } from "../../../ir/DType.ts"
import type { MatmulSplit } from "../../../ir/Schedule.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { Job, Ref } from "../Job.ts"
import * as Size from "../Size.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { compute } from "../wgsl/scalar.ts"
import { load, store } from "../wgsl/storage.ts"
import { type Contraction, type Place, placeOf, steps, type Tile } from "./contraction.ts"
import type { Extent } from "./Part.ts"

/** A product whose depth is summed in parts. */
export interface Split {
  readonly parts: Size.Size
  /** Where the parts' sums go: part, product, batch, row, column. */
  readonly sums: Ref
}

/** Parts follow from the length of the depth alone, and are added up in order: equal calls give equal bits. */
export const partsOf = (c: Contraction, { depth, most }: MatmulSplit): Size.Size =>
  Size.min(most, Size.ceilDiv(Shape.size(c.depth), depth))

/** Room for the sums of all parts. Calls of more rows are not split, and need none. */
export const partBytes = (c: Contraction, split: MatmulSplit): Size.Size =>
  Size.product([
    partsOf(c, split),
    Size.product([Shape.size(c.batch), Size.min(split.rows, Shape.size(c.rows)), Shape.size(c.columns)]),
    4 * c.rhs.length
  ])

/** What a tile sums, and what becomes of its sums. */
interface Target {
  readonly place: Place
  readonly from: string
  readonly to: string
}

/** The part of the depth that a tile has, in whole `step`s, and the place of its sums; without a split all of it, and the result. */
export const targetOf = (
  emitter: Emitter,
  job: Job,
  c: Contraction,
  tile: Tile,
  step: number,
  split: Split | undefined
): Target => {
  const place = placeOf(job, c, emitter, tile.batch)
  const depth = emitter.dim(Shape.size(c.depth))
  if (split === undefined) return { place, from: "0", to: depth }
  const all = `${step} * ${Size.wgsl(split.parts, emitter.module.symbol)}`
  const length = emitter.bind(`(${depth} + ${all} - 1) / (${all}) * ${step}`)
  const from = emitter.mul(tile.part, length)
  const { storePair: _, ...whole } = place
  return {
    place: {
      ...whole,
      store: (row, column, values) => {
        for (const [n, value] of values.entries()) {
          const at = sumAt(emitter, c, tile.part, n, tile.batch, row, column)
          store(emitter, split.sums, sumType(c), at, value)
        }
      }
    },
    from,
    to: emitter.bind(`min(${depth}, ${emitter.add(from, length)})`)
  }
}

const threads = 64

/** Adds up the parts of each result and does what follows the product. */
export const matmulCombine = (
  emitter: Emitter,
  job: Job,
  c: Contraction,
  workgroup: string,
  { parts, sums }: Split
): Extent => {
  const shape = [c.batch, c.rows, c.columns].map(Shape.size)
  const results = Size.product(shape)
  // Two 16-bit results of a row are one word.
  const per = placeOf(job, c, emitter, "0").storePair === undefined ? 1 : 2
  const items = Size.ceilDiv(results, per)
  const item = emitter.constant(`${workgroup} * ${threads} + i32(lix)`)
  emitter.line(`if (${item} >= ${Size.wgsl(items, emitter.module.symbol)}) { return; }`)
  const indices = emitter.delinearize(emitter.mul(item, String(per)), shape)
  const [batch, row, column] = indices as readonly [string, string, string]
  const place = placeOf(job, c, emitter, batch)

  const type = compute(sumType(c))
  const totals = steps(per).map(() => c.rhs.map(() => emitter.variable(type, `${type}(0)`)))
  emitter.loop("0", Size.wgsl(parts, emitter.module.symbol), "1", (part) => {
    totals.forEach((own, i) => {
      own.forEach((total, n) => {
        const at = sumAt(emitter, c, part, n, batch, row, emitter.add(column, String(i)))
        emitter.line(`${total} += ${load(emitter, sums, sumType(c), at)};`)
      })
    })
  })
  const [even, odd] = totals.map((own) => own.map((total) => emitter.constant(total)))
  if (odd === undefined) place.store(row, column, even as ReadonlyArray<string>)
  else place.storePair?.(row, column, [even as ReadonlyArray<string>, odd])
  const work = Size.product([results, parts, c.rhs.length])
  return { threads, workgroups: Size.ceilDiv(items, threads), work }
}

/** Sums are as wide as the arithmetic, whatever the operands. */
const sumType = (c: Contraction): DType => {
  const { dtype } = c.lhs.node.type
  return dtype === "i32" || dtype === "u32" ? dtype : "f32"
}

const sumAt = (
  emitter: Emitter,
  c: Contraction,
  part: string,
  product: number,
  batch: string,
  row: string,
  column: string
): string => {
  const [entries, rows, columns] = [c.batch, c.rows, c.columns].map((axes) => emitter.dim(Shape.size(axes)))
  const block = emitter.add(emitter.mul(part, String(c.rhs.length)), String(product))
  const entry = emitter.add(emitter.mul(block, entries as string), batch)
  const line = emitter.add(emitter.mul(entry, rows as string), row)
  return emitter.add(emitter.mul(line, columns as string), column)
}
