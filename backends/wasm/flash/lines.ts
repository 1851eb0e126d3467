import * as Dim from "../../../ir/Dim.ts"
import type { DType } from "../../../ir/DType.ts"
import { matchAxes } from "../../../ir/matchAxes.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import { type Expr, i32, op } from "../assembler/Instruction.ts"
import type { Body } from "../emit/body.ts"
import type { Frame } from "../emit/Frame.ts"
import { moved } from "../emit/moved.ts"
import * as Storage from "../emit/storage.ts"
import * as Value from "../emit/Value.ts"
import { type Job, operand } from "../Job.ts"

type I = Expr<"i32">

/**
 * How keys or values [b, h, j, d] lie in the memory of an operand, where rows are whole and views and gathers lie between: so many bytes from one
 * key to the next, as long as none crosses a multiple of a run, which is a page.
 */
export interface Lines {
  readonly input: number
  readonly dtype: Dtype
  readonly step: number
  readonly run: Dim.Dim | undefined
  /** Axes that are found by data: where one has no length there is nothing to read. */
  readonly open: ReadonlyArray<Dim.Dim>
}

type Dtype = "f32" | "f16" | "bf16"

/** The axis of keys on the way down, and what is known so far. */
interface Way {
  readonly axis: number
  /** Whether positions of the axis are those of keys, and not so many further. */
  readonly aligned: boolean
  readonly run: Dim.Dim | undefined
  readonly open: ReadonlyArray<Dim.Dim>
}

export const of = (job: Job, node: Node, vector: number): Lines | undefined => {
  const { shape, dtype } = node.type
  const width = Dim.value(shape[3] as Dim.Dim)
  if (!isReadable(dtype) || width === undefined || width % vector !== 0) return undefined
  return follow(job, node, { axis: 2, aligned: true, run: undefined, open: [] })
}

const isReadable = (dtype: DType): dtype is Dtype => dtype === "f32" || dtype === "f16" || dtype === "bf16"

const follow = (job: Job, node: Node, way: Way): Lines | undefined => {
  const { shape } = node.type
  const last = shape.length - 1
  const x = node.operands[0]
  if (way.axis >= last) return undefined
  if (x === undefined) {
    const input = (job.body.inputs as ReadonlyArray<Node>).indexOf(node)
    const { dtype } = node.type
    const step = Dim.value(
      Dim.mul(Dim.constant(Storage.bytesOf(dtype)), Dim.product(shape.slice(way.axis + 1)))
    )
    return input < 0 || step === undefined || !isReadable(dtype)
      ? undefined
      : { input, dtype, step, run: way.run, open: way.open }
  }
  const own = x.type.shape
  const same = (axis: number, from: number): boolean =>
    Dim.equals(shape[axis] as Dim.Dim, own[from] as Dim.Dim)
  switch (node.op) {
    case "transpose": {
      const { perm } = node.attrs
      return perm[last] === last ? follow(job, x, { ...way, axis: perm[way.axis] as number }) : undefined
    }
    case "slice": {
      const { starts, steps } = node.attrs
      if (steps[last] !== 1 || steps[way.axis] !== 1) return undefined
      const aligned = way.aligned && Dim.value(starts[way.axis] as Dim.Dim) === 0
      return follow(job, x, { ...way, aligned })
    }
    case "broadcast": {
      const skipped = shape.length - own.length
      const axis = way.axis - skipped
      return axis >= 0 && same(way.axis, axis) && same(last, own.length - 1)
        ? follow(job, x, { ...way, axis })
        : undefined
    }
    case "gather": {
      const { axis } = node.attrs
      const rank = (node.operands[1] as Node).type.shape.length
      const size = own[axis] as Dim.Dim
      const inside = way.axis >= axis && way.axis < axis + rank
      if (inside || axis === own.length - 1) return undefined
      const open = (Dim.value(size) ?? 0) > 0 ? way.open : [...way.open, size]
      return follow(job, x, { ...way, open, axis: way.axis < axis ? way.axis : way.axis - rank + 1 })
    }
    case "reshape":
      return reshaped(job, node, x, way)
    default:
      return undefined
  }
}

/** Keys are the last axis of those that are cut or merged with them, elements that of theirs. */
const reshaped = (job: Job, node: Node, x: Node, way: Way): Lines | undefined => {
  const [to, from] = [node.type.shape, x.type.shape]
  const endOf = (axis: number): number | undefined => {
    const group = matchAxes(to, from).find((g) => g.from[0] <= axis && axis < g.from[1])
    const behind = group === undefined ? [] : to.slice(axis + 1, group.from[1])
    return group !== undefined && group.to[1] > group.to[0] && behind.every(Dim.isOne)
      ? group.to[1] - 1
      : undefined
  }
  const [keys, elements] = [endOf(way.axis), endOf(to.length - 1)]
  if (keys === undefined || elements !== from.length - 1) return undefined
  const [size, found] = [to[way.axis] as Dim.Dim, from[keys] as Dim.Dim]
  const divides = (a: Dim.Dim, b: Dim.Dim): boolean => Dim.divideExact(b, a) !== undefined
  if (!divides(to.at(-1) as Dim.Dim, from[elements] as Dim.Dim)) return undefined
  if (divides(size, found)) return follow(job, x, { ...way, axis: keys })
  return divides(found, size) && way.aligned && way.run === undefined
    ? follow(job, x, { ...way, axis: keys, run: found })
    : undefined
}

/** Whether so many keys from `start` on lie in one run. */
export const together = ({ e }: Frame, { run, open }: Lines, start: I, count: I): I => {
  const page = (key: I): I => e.div(key, e.dim(run as Dim.Dim))
  const whole =
    run === undefined ? i32(1) : op("i32.eq", page(start), page(e.sub(e.add(start, count), i32(1))))
  return open.reduce<I>((all, size) => op("i32.and", all, op("i32.ne", e.dim(size), i32(0))), whole)
}

/** The address of the row of a key. */
export const address = (frame: Frame, body: Body, node: Node, indices: ReadonlyArray<Value.Value>): I => {
  const { e, job } = frame
  const x = node.operands[0]
  if (x === undefined) {
    const pointer = frame.pointer(operand((job.body.inputs as ReadonlyArray<Node>).indexOf(node)))
    return Value.first(
      e,
      Value.linearize(e, indices, node.type.shape, Storage.bytesOf(node.type.dtype), pointer)
    )
  }
  const from = node.op === "gather" ? body.found(node as NodeOf<"gather">, indices) : moved(e, node, indices)
  return address(frame, body, x, from as ReadonlyArray<Value.Value>)
}

/** Whether every tile can be read where it lies. */
export const always = (lines: Lines | undefined): boolean =>
  lines !== undefined && lines.run === undefined && lines.open.length === 0

interface Reach {
  readonly tile: { readonly start: I; readonly count: I }
  readonly address: () => I
  /** Where a copy goes, and from one row of it to the next. */
  readonly copied: { readonly at: I; readonly step: number }
  readonly copy: () => void
  readonly goOn: (at: I, step: number, vectors: Storage.Vectors) => void
}

/** Goes on with the rows of a tile: where they lie, as far as they lie together, or in a copy. */
export const reach = (
  frame: Frame,
  lines: Lines | undefined,
  { tile, address: from, copied, copy, goOn }: Reach
): void => {
  const { e } = frame
  const floats = Storage.vectors("f32")
  if (lines === undefined) {
    copy()
    goOn(copied.at, copied.step, floats)
    return
  }
  if (always(lines)) {
    goOn(from(), lines.step, Storage.vectors(lines.dtype))
    return
  }
  const inPlace = e.bind(together(frame, lines, tile.start, tile.count))
  if (lines.step === copied.step && lines.dtype === "f32") {
    const at = e.variable(copied.at)
    e.branch(inPlace, () => at.set(from()), copy)
    goOn(at.value, copied.step, floats)
    return
  }
  e.branch(
    inPlace,
    () => goOn(from(), lines.step, Storage.vectors(lines.dtype)),
    () => {
      copy()
      goOn(copied.at, copied.step, floats)
    }
  )
}
