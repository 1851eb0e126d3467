import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Job } from "../Job.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import { compute } from "../wgsl/scalar.ts"
import { loadVec4 } from "../wgsl/storage.ts"
import { strided } from "../wgsl/strided.ts"
import type { Operand } from "./contraction.ts"

/** Four elements of an operand at once, along its contracted or along its free axis. */
export interface Vectors {
  readonly along: "depth" | "free"
  /** Elements `4 * quarter` to `4 * quarter + 3` along that axis, at an index of the other one. */
  readonly at: (entry: ReadonlyArray<string>, other: string, quarter: string) => string
}

const four = Dim.constant(4)
const isMultiple = (d: Dim.Dim): boolean => Dim.divideExact(d, four) !== undefined

/** Arithmetic is in f32 in any case, so widening on the way in costs nothing. */
const narrow = (node: Node): Node => {
  const x = node.operands[0]
  const widens =
    node.op === "cast" && node.type.dtype === "f32" && (x?.type.dtype === "f16" || x?.type.dtype === "bf16")
  return widens ? (x as Node) : node
}

/**
 * Whether and how an operand can be read as vectors: through views alone, its elements lie side by side along one axis whose
 * length is a multiple of 4, and every other step is one, too. Sizes of one axis each for batch-free parts.
 */
export const vectorsOf = (emitter: Emitter, job: Job, operand: Operand): Vectors | undefined => {
  const node = narrow(operand.node)
  const view = strided(job.body, node)
  const { shape } = node.type
  const significant = (axes: ReadonlyArray<number>) =>
    axes.filter((axis) => !Dim.isOne(shape[axis] as Dim.Dim))
  const [depth, free] = [significant(operand.contract), significant(operand.free)]
  if (view === undefined || depth.length > 1 || free.length > 1 || !isMultiple(view.base)) return undefined
  const [k, f] = [depth[0], free[0]]
  const vectorised = [k, f].find(
    (axis) =>
      axis !== undefined && Dim.isOne(view.strides[axis] as Dim.Dim) && isMultiple(shape[axis] as Dim.Dim)
  )
  if (vectorised === undefined) return undefined
  const others = significant(Array.from(shape.keys())).filter((axis) => axis !== vectorised)
  if (!others.every((axis) => isMultiple(view.strides[axis] as Dim.Dim))) return undefined
  const quarterOf = (d: Dim.Dim): string => emitter.dim(Dim.divideExact(d, four) as Dim.Dim)
  const along = vectorised === k ? "depth" : "free"
  const other = along === "depth" ? f : k
  return {
    along,
    at: (entry, otherIndex, quarter) => {
      const terms = [
        ...operand.batch.map((axis, i) => [axis, entry[i] as string] as const),
        ...(other === undefined ? [] : [[other, otherIndex] as const])
      ].map(([axis, index]) => emitter.mul(index, quarterOf(view.strides[axis] as Dim.Dim)))
      const start = terms.reduce(emitter.add, quarterOf(view.base))
      const vector = loadVec4(emitter, view.ref, node.type.dtype, emitter.add(start, quarter))
      return compute(node.type.dtype) === "bool" ? `vec4<u32>(${vector})` : vector
    }
  }
}
