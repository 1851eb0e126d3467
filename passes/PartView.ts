import * as Dim from "../ir/Dim.ts"
import { matchAxes } from "../ir/matchAxes.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import type * as Shape from "../ir/Shape.ts"

/** A value seen with its axes cut finer, and of each cut some elements at equal distances, or all: for each axis its cuts. */
export type PartView = ReadonlyArray<ReadonlyArray<Cut>>

export interface Cut {
  readonly size: Dim.Dim
  /** The elements that are seen; all where undefined. */
  readonly run?: Run | undefined
}

export interface Run {
  readonly start: number
  readonly step: number
  readonly size: number
}

const all = (size: Dim.Dim): Cut => ({ size })

/** All of a value, as it is. */
export const whole = (shape: Shape.Shape): PartView => shape.map((d) => [all(d)])

/** Some of the elements along an axis. */
export const along = (shape: Shape.Shape, axis: number, run: Run): PartView =>
  whole(shape).with(axis, [{ size: shape[axis] as Dim.Dim, run }])

const sizeOf = ({ size, run }: Cut): Dim.Dim => (run === undefined ? size : Dim.constant(run.size))

export const shapeOf = (view: PartView): Shape.Shape => view.flat().map(sizeOf)

export const key = (view: PartView): string =>
  view
    .map((cuts) =>
      cuts.map(({ size, run }) => `${size.key}${run ? `:${Object.values(run).join(":")}` : ""}`).join("*")
    )
    .join(",")

/** The number of an axis' first cut among all. */
export const firstCut = (view: PartView, axis: number): number => view.slice(0, axis).flat().length

/** The view of an operand that an elementwise op broadcasts. */
export const ofBroadcast = (view: PartView, shape: Shape.Shape, operand: Shape.Shape): PartView => {
  const added = shape.length - operand.length
  return operand.map((d, axis) => {
    const own = view[axis + added] as ReadonlyArray<Cut>
    return Dim.isOne(d) && !Dim.isOne(shape[axis + added] as Dim.Dim) ? own.map(() => all(Dim.one)) : own
  })
}

/** The view of what a transpose moves, and how to move it then. */
export const beforeTranspose = (
  view: PartView,
  { attrs: { perm } }: NodeOf<"transpose">
): { readonly view: PartView; readonly perm: ReadonlyArray<number> } => {
  const before = perm.map((_, axis) => view[perm.indexOf(axis)] as ReadonlyArray<Cut>)
  return {
    view: before,
    perm: perm.flatMap((from) =>
      (before[from] as ReadonlyArray<Cut>).map((_, n) => firstCut(before, from) + n)
    )
  }
}

/** The view of what a slice is of. */
export const beforeSlice = (view: PartView, node: NodeOf<"slice">): PartView | undefined => {
  const [x] = node.operands as readonly [Node]
  const { starts, steps } = node.attrs
  const before = node.type.shape.map((d, axis) => {
    const size = x.type.shape[axis] as Dim.Dim
    const own = view[axis] as ReadonlyArray<Cut>
    return Dim.equals(d, size)
      ? own
      : sliced(own, size, Dim.value(starts[axis] as Dim.Dim), steps[axis] as number)
  })
  return before.includes(undefined) ? undefined : (before as PartView)
}

/** The cuts of an axis of which `start`, `start + step`, … are cut so. Only the first may be of a part, so that some are merged into it. */
const sliced = (
  cuts: ReadonlyArray<Cut>,
  size: Dim.Dim,
  start: number | undefined,
  step: number
): ReadonlyArray<Cut> | undefined => {
  const [first = all(Dim.one), second, ...others] = cuts
  const length = Dim.value(size)
  if (start === undefined || length === undefined) return undefined
  const inner = cuts.slice(1).reduce((n, cut) => n * (Dim.value(cut.size) ?? Number.NaN), 1)
  const { run = { start: 0, step: 1, size: Dim.value(first.size) } } = first
  if (length % inner === 0 && start % inner === 0 && (inner === 1 || step === 1) && run.size !== undefined) {
    const own = { start: start / inner + step * run.start, step: step * run.step, size: run.size }
    return [{ size: Dim.constant(length / inner), run: own }, ...cuts.slice(1)]
  }
  if (second === undefined || first.run !== undefined || second.run !== undefined) return undefined
  return sliced([{ size: Dim.mul(first.size, second.size) }, ...others], size, start, step)
}

/** The view of what is reshaped, whose elements in order are the view's; undefined where none is. */
export const beforeReshape = (view: PartView, from: Shape.Shape): PartView | undefined => {
  const to = view.flat()
  const before: Array<ReadonlyArray<Cut>> = []
  for (const { from: own, to: cut } of matchAxes(
    from,
    to.map(({ size }) => size)
  )) {
    const [axes, cuts] = [from.slice(...own), to.slice(...cut)]
    const [only, ...others] = cuts
    if (axes.length === 1 && only !== undefined) before.push(cuts)
    else if (cuts.every(({ run }) => run === undefined)) before.push(...axes.map((d) => [all(d)]))
    else {
      const inner = others.length === 0 && only?.run !== undefined ? within(only.run, axes) : undefined
      if (inner === undefined) return undefined
      before.push(...inner.map((c) => [c]))
    }
  }
  return before
}

/** A run along two axes that are one: all of the outer at one place of the inner, or some of the outer with all of the inner. */
const within = ({ start, step, size }: Run, axes: Shape.Shape): ReadonlyArray<Cut> | undefined => {
  const [outer, inner] = axes as readonly [Dim.Dim, Dim.Dim]
  const [rows, columns] = [outer, inner].map((d) => d && Dim.value(d))
  if (axes.length !== 2 || rows === undefined || columns === undefined) return undefined
  if (step === columns && start < columns && size === rows)
    return [all(outer), { size: inner, run: { start, step: 1, size: 1 } }]
  return step === 1 && start % columns === 0 && size % columns === 0
    ? [{ size: outer, run: { start: start / columns, step: 1, size: size / columns } }, all(inner)]
    : undefined
}

/** The same elements in the same order, written in one way: without cuts of one element, and what is one run as that. */
export const plain = (view: PartView): PartView =>
  view.map((cuts) => {
    const done: Array<Cut> = []
    for (const cut of cuts) {
      if (Dim.isOne(cut.size)) continue
      const last = done.at(-1)
      const joined = last && merged(last, cut)
      if (joined === undefined) done.push(cut)
      else done[done.length - 1] = joined
    }
    return done
  })

/** Two cuts as one, where one element of either is seen. */
const merged = (outer: Cut, inner: Cut): Cut | undefined => {
  if (outer.run?.size !== 1 && inner.run?.size !== 1) return undefined
  const [rows, columns] = [outer, inner].map(({ size }) => Dim.value(size))
  if (rows === undefined || columns === undefined) return undefined
  const [a, b] = [
    outer.run ?? { start: 0, step: 1, size: rows },
    inner.run ?? { start: 0, step: 1, size: columns }
  ]
  const start = a.start * columns + b.start
  const run =
    a.size === 1 ? { start, step: b.step, size: b.size } : { start, step: a.step * columns, size: a.size }
  return { size: Dim.constant(rows * columns), run }
}
