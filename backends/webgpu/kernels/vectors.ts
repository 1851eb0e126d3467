import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Job } from "../Job.ts"
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

/** Whether four neighbours along these axes, from a multiple of 4 on, lie side by side. */
const isContiguous = (axes: ReadonlyArray<Axis>): boolean => {
  const last = axes.at(-1)
  return last !== undefined && Dim.isOne(last.stride) && isMultiple(last.size)
}

/**
 * Whether and how an operand can be read as vectors: through views alone, its elements lie side by side along the last of its contracted or
 * of its free axes, whose length is a multiple of 4, and every other step is one, too.
 */
export const vectorsOf = (emitter: Emitter, job: Job, operand: Operand): Vectors | undefined => {
  const node = narrow(operand.node)
  const view = strided(job.body, node)
  if (view === undefined || !isMultiple(view.base)) return undefined
  const axisOf = (axis: number): Axis => ({
    size: node.type.shape[axis] as Dim.Dim,
    stride: view.strides[axis] as Dim.Dim
  })
  const batch = operand.batch.map(axisOf)
  const [depth, free] = [merged(operand.contract.map(axisOf)), merged(operand.free.map(axisOf))]
  const along = isContiguous(depth) ? "depth" : "free"
  const [vector, others] = along === "depth" ? [depth, free] : [free, depth]
  if (!isContiguous(vector)) return undefined
  if (![...batch, ...others, ...vector.slice(0, -1)].every((a) => isMultiple(a.stride))) return undefined
  const step = (index: string, { stride }: Axis): string =>
    emitter.mul(index, emitter.dim(quarter(stride) as Dim.Dim))
  const place = (linear: string, sizes: ReadonlyArray<Dim.Dim>, axes: ReadonlyArray<Axis>) =>
    emitter.delinearize(linear, sizes).map((index, i) => step(index, axes[i] as Axis))
  const inner = { size: quarter((vector.at(-1) as Axis).size) as Dim.Dim, stride: four }
  const quarters = [...vector.slice(0, -1), inner]
  return {
    along,
    at: (entry, other, position) => {
      const terms = [
        ...batch.map((axis, i) => step(entry[i] as string, axis)),
        ...place(
          other,
          others.map((a) => a.size),
          others
        ),
        ...place(
          position,
          quarters.map((a) => a.size),
          quarters
        )
      ]
      const start = terms.reduce(emitter.add, emitter.dim(quarter(view.base) as Dim.Dim))
      const loaded = loadVec4(emitter, view.ref, node.type.dtype, start)
      return compute(node.type.dtype) === "bool" ? `vec4<u32>(${loaded})` : loaded
    }
  }
}
