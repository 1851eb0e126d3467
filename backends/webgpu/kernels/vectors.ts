import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import { matchAxes } from "../../../ir/matchAxes.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Job, Ref } from "../Job.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { compute } from "../wgsl/scalar.ts"
import { loadVec4 } from "../wgsl/storage.ts"
import { strided } from "../wgsl/strided.ts"
import type { Operand } from "./contraction.ts"

/** Four elements of an operand at once, along its contracted or along its free axes. */
export interface Vectors {
  readonly along: "depth" | "free"
  /** Elements `4 * quarter` to `4 * quarter + 3` along these axes, at an index of the others. */
  readonly at: (entry: ReadonlyArray<string>, other: string, quarter: string) => string
}

interface Axis {
  readonly size: Dim.Dim
  readonly stride: Dim.Dim
}

const four = Dim.constant(4)
const quarter = (d: Dim.Dim): Dim.Dim | undefined => Dim.divideExact(d, four)
const isMultiple = (d: Dim.Dim): boolean => quarter(d) !== undefined

/** Arithmetic is in f32 in any case, so widening on the way in costs nothing. */
const narrow = (node: Node): Node => {
  const x = node.operands[0]
  const widens =
    node.op === "cast" && node.type.dtype === "f32" && (x?.type.dtype === "f16" || x?.type.dtype === "bf16")
  return widens ? (x as Node) : node
}

/** Axes without those of one element, and neighbours that lie without a gap as one. */
const merged = (axes: ReadonlyArray<Axis>): ReadonlyArray<Axis> => {
  const result: Array<Axis> = []
  for (const axis of axes) {
    if (Dim.isOne(axis.size)) continue
    const outer = result.at(-1)
    if (outer === undefined || !Dim.equals(outer.stride, Dim.mul(axis.size, axis.stride))) result.push(axis)
    else result[result.length - 1] = { size: Dim.mul(outer.size, axis.size), stride: axis.stride }
  }
  return result
}

/** How far apart neighbours along these axes lie; undefined where no four of them, from a multiple of 4 on, lie alike. */
const gapOf = (axes: ReadonlyArray<Axis>): number | undefined => {
  const last = axes.at(-1)
  return last !== undefined && isMultiple(last.size) ? Dim.value(last.stride) : undefined
}

interface View {
  readonly ref: Ref
  readonly base: Dim.Dim
  /** What each axis of the node consists of in memory, from the outside inwards. */
  readonly axes: ReadonlyArray<ReadonlyArray<Axis>>
}

/** How a node lies in a buffer. One of its axes may be several that do not lie without a gap, such as heads that come before their rows. */
const viewOf = (graph: Graph, node: Node): View | undefined => {
  const view = strided(graph, node)
  const { shape } = node.type
  if (view !== undefined) {
    const axes = shape.map((size, axis) => [{ size, stride: view.strides[axis] as Dim.Dim }])
    return { ref: view.ref, base: view.base, axes }
  }
  const x = node.operands[0]
  const inner = node.op === "reshape" && x !== undefined ? viewOf(graph, x) : undefined
  if (x === undefined || inner === undefined) return undefined
  const axes: Array<ReadonlyArray<Axis>> = []
  for (const { from, to } of matchAxes(x.type.shape, shape)) {
    const joined = inner.axes.slice(...from).flat()
    const own = shape.slice(...to)
    if (own.filter((size) => !Dim.isOne(size)).length > 1) return undefined
    axes.push(...own.map((size) => (Dim.isOne(size) ? [] : joined)))
  }
  return { ...inner, axes }
}

/**
 * Whether and how an operand can be read as vectors: through views alone, its elements lie side by side along the last of its contracted or
 * of its free axes, whose length is a multiple of 4, and every other step is one, too. Along free axes they may be every second, as the first numbers of
 * neighbouring pairs: who reads the others reads the same vectors.
 */
export const vectorsOf = (emitter: Emitter, job: Job, operand: Operand): Vectors | undefined => {
  const node = narrow(operand.node)
  const view = viewOf(job.body, node)
  if (view === undefined) return undefined
  const axesOf = (axis: number): ReadonlyArray<Axis> => view.axes[axis] as ReadonlyArray<Axis>
  const batch = operand.batch.map(axesOf)
  const [depth, free] = [merged(operand.contract.flatMap(axesOf)), merged(operand.free.flatMap(axesOf))]
  const along = gapOf(depth) === 1 ? "depth" : "free"
  const [vector, others] = along === "depth" ? [depth, free] : [free, depth]
  const gap = gapOf(vector)
  const odd = gap === 2 ? (Dim.value(view.base) ?? 0) % 2 : 0
  const base = quarter(Dim.sub(view.base, Dim.constant(odd)))
  if ((gap !== 1 && gap !== 2) || base === undefined) return undefined
  if (gap === 2 && compute(node.type.dtype) !== "f32") return undefined
  if (![...batch.flat(), ...others, ...vector.slice(0, -1)].every((a) => isMultiple(a.stride)))
    return undefined
  const step = (index: string, { stride }: Axis): string =>
    emitter.mul(index, emitter.dim(quarter(stride) as Dim.Dim))
  const place = (linear: string, axes: ReadonlyArray<Axis>): ReadonlyArray<string> =>
    emitter
      .delinearize(
        linear,
        axes.map((a) => a.size)
      )
      .map((index, i) => step(index, axes[i] as Axis))
  const inner = { size: quarter((vector.at(-1) as Axis).size) as Dim.Dim, stride: Dim.constant(4 * gap) }
  const quarters = [...vector.slice(0, -1), inner]
  return {
    along,
    at: (entry, other, position) => {
      const terms = [
        ...batch.flatMap((axes, i) => place(entry[i] as string, axes)),
        ...place(other, others),
        ...place(position, quarters)
      ]
      const start = terms.reduce(emitter.add, emitter.dim(base))
      const load = (at: string): string => loadVec4(emitter, view.ref, node.type.dtype, at)
      const loaded = load(start)
      if (gap === 2) {
        const pick = odd === 0 ? "xz" : "yw"
        return emitter.bind(`vec4<f32>(${loaded}.${pick}, ${load(emitter.add(start, "1"))}.${pick})`)
      }
      return compute(node.type.dtype) === "bool" ? `vec4<u32>(${loaded})` : loaded
    }
  }
}
