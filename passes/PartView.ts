import * as Dim from "../ir/Dim.ts"
import { matchAxes } from "../ir/matchAxes.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import type * as Shape from "../ir/Shape.ts"

/** A value whose axes are cut finer, and of one of the axes that come of it some elements at equal distances, or all. */
export interface PartView {
  /** The sizes that each axis of the value is cut into. */
  readonly cuts: ReadonlyArray<Shape.Shape>
  readonly run: Run | undefined
}

export interface Run {
  /** Among all cuts. */
  readonly axis: number
  readonly start: number
  readonly step: number
  readonly size: number
}

/** All of a value, as it is. */
export const whole = (shape: Shape.Shape): PartView => ({ cuts: shape.map((d) => [d]), run: undefined })

/** Some of the elements along an axis. */
export const along = (shape: Shape.Shape, run: Run): PartView => ({ ...whole(shape), run })

export const shapeOf = ({ cuts, run }: PartView): Shape.Shape =>
  cuts.flat().map((d, axis) => (axis === run?.axis ? Dim.constant(run.size) : d))

export const key = ({ cuts, run }: PartView): string =>
  `${cuts.map((c) => c.map((d) => d.key).join("*")).join(",")}|${run === undefined ? "" : Object.values(run).join()}`

/** The number of an axis' first cut among all. */
export const firstCut = (cuts: PartView["cuts"], axis: number): number => cuts.slice(0, axis).flat().length

/** The axis that the run is on, and the number of its cut there. */
export const runAt = ({
  cuts,
  run
}: PartView): { readonly axis: number; readonly cut: number } | undefined => {
  if (run === undefined) return undefined
  let axis = 0
  let cut = run.axis
  while (cut >= (cuts[axis] as Shape.Shape).length) cut -= (cuts[axis++] as Shape.Shape).length
  return { axis, cut }
}

/** The view of an operand that an elementwise op broadcasts. */
export const ofBroadcast = (view: PartView, shape: Shape.Shape, operand: Shape.Shape): PartView => {
  const added = shape.length - operand.length
  const isOne = (axis: number): boolean =>
    Dim.isOne(operand[axis] as Dim.Dim) && !Dim.isOne(shape[axis + added] as Dim.Dim)
  const cuts = operand.map((_, axis) => {
    const own = view.cuts[axis + added] as Shape.Shape
    return isOne(axis) ? own.map(() => Dim.one) : own
  })
  const at = runAt(view)
  if (view.run === undefined || at === undefined || at.axis < added || isOne(at.axis - added))
    return { cuts, run: undefined }
  return { cuts, run: { ...view.run, axis: firstCut(cuts, at.axis - added) + at.cut } }
}

/** The view of what a transpose moves, and how to move it then. */
export const beforeTranspose = (
  view: PartView,
  { attrs: { perm } }: NodeOf<"transpose">
): { readonly view: PartView; readonly perm: ReadonlyArray<number> } => {
  const cuts = perm.map((_, axis) => view.cuts[perm.indexOf(axis)] as Shape.Shape)
  const moved = perm.flatMap((from) => (cuts[from] as Shape.Shape).map((_, n) => firstCut(cuts, from) + n))
  const { run } = view
  return {
    view: { cuts, run: run === undefined ? undefined : { ...run, axis: moved[run.axis] as number } },
    perm: moved
  }
}

/** The view of what a slice is of; undefined where it cuts two axes. */
export const beforeSlice = (view: PartView, node: NodeOf<"slice">): PartView | undefined => {
  const [x] = node.operands as readonly [Node]
  const { starts, steps } = node.attrs
  const cut = node.type.shape.flatMap((d, axis) =>
    Dim.equals(d, x.type.shape[axis] as Dim.Dim) ? [] : [axis]
  )
  const [axis] = cut
  if (axis === undefined) return view
  const [start, size] = [starts[axis], node.type.shape[axis]].map((d) => Dim.value(d as Dim.Dim))
  const cuts = view.cuts[axis] as Shape.Shape
  if (cut.length > 1 || start === undefined || size === undefined || cuts.length > 1) return undefined
  const at = firstCut(view.cuts, axis)
  if (view.run !== undefined && (view.run.axis !== at || cuts.length === 0)) return undefined
  const own = view.run ?? { start: 0, step: 1, size }
  const step = steps[axis] as number
  return {
    cuts: view.cuts.map((c, n) => (n === axis ? [x.type.shape[axis] as Dim.Dim] : c)),
    run: { axis: at, start: start + step * own.start, step: step * own.step, size: own.size }
  }
}

/** The view of what is reshaped, whose elements in order are the view's; undefined where none is. */
export const beforeReshape = (view: PartView, from: Shape.Shape): PartView | undefined => {
  const to = view.cuts.flat()
  const cuts: Array<Shape.Shape> = []
  let run: Run | undefined
  for (const { from: own, to: cut } of matchAxes(from, to)) {
    const [axes, sizes] = [from.slice(...own), to.slice(...cut)]
    const first = cuts.flat().length
    const wanted =
      view.run !== undefined && view.run.axis >= cut[0] && view.run.axis < cut[1] ? view.run : undefined
    if (axes.length === 1 && sizes.length > 0) {
      cuts.push(sizes)
      if (wanted !== undefined) run = { ...wanted, axis: first + wanted.axis - cut[0] }
      continue
    }
    cuts.push(...axes.map((d) => [d]))
    if (wanted === undefined) continue
    const inner = sizes.length === 1 ? within(wanted, axes) : undefined
    if (inner === undefined) return undefined
    run = { ...inner, axis: first + inner.axis }
  }
  return { cuts, run }
}

/** A run along two axes that are one: all of the outer at one place of the inner, or some of the outer with all of the inner. */
const within = ({ start, step, size }: Run, axes: Shape.Shape): Run | undefined => {
  const [outer, inner] = axes.map(Dim.value)
  if (axes.length !== 2 || outer === undefined || inner === undefined) return undefined
  if (step === inner && start < inner && size === outer) return { axis: 1, start, step: 1, size: 1 }
  return step === 1 && start % inner === 0 && size % inner === 0
    ? { axis: 0, start: start / inner, step: 1, size: size / inner }
    : undefined
}

/** The same elements in the same order, written in one way: without axes of one element, and what is a run along one axis as that. */
export const plain = (view: PartView): PartView => {
  const { cuts, run } = straight(view)
  const isKept = cuts.flat().map((d, axis) => axis === run?.axis || !Dim.isOne(d))
  return {
    cuts: cuts.map((own, axis) => own.filter((_, n) => isKept[firstCut(cuts, axis) + n])),
    run: run && { ...run, axis: isKept.slice(0, run.axis).filter(Boolean).length }
  }
}

/** With one cut less, where the run is one place of a cut. */
const straight = (view: PartView): PartView => {
  const { run, cuts } = view
  const at = runAt(view)
  if (run === undefined || at === undefined || run.size !== 1) return view
  const sizes = cuts[at.axis] as Shape.Shape
  const inner = at.cut + 1 < sizes.length
  const first = inner ? at.cut : at.cut - 1
  const [outer, other] = [sizes[first], sizes[first + 1]].map((d) => d && Dim.value(d))
  if (outer === undefined || other === undefined) return view
  const own = inner
    ? { axis: run.axis, start: run.start * other, step: 1, size: other }
    : { axis: run.axis - 1, start: run.start, step: other, size: outer }
  return { cuts: cuts.with(at.axis, sizes.toSpliced(first, 2, Dim.constant(outer * other))), run: own }
}
