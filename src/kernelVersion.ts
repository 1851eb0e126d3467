import { Result } from "effect"
import type { BackendShape } from "../backends/Backend.ts"
import type { DType } from "../ir/DType.ts"
import * as MemoryPlan from "../ir/MemoryPlan.ts"
import type { Arithmetic, Flash } from "../ir/Schedule.ts"
import * as Pipeline from "../passes/Pipeline.ts"
import * as Attention from "./Attention.ts"
import { spec } from "./spec.ts"
import type * as Tensor from "./Tensor.ts"
import { trace } from "./trace.ts"

/** What attention is made of, as far as its schedule goes. */
export interface Shape {
  readonly D: number
  readonly E: number
  /** Query heads of a key/value head; undefined where calls decide. */
  readonly group: number | undefined
  readonly dtype: DType
  readonly arithmetic: Arithmetic
}

/**
 * A number that stands for the kernels that are written for causal attention of such a shape, and for the schedules to choose from: where either
 * changes it does, and nobody answers by what was measured of others.
 */
export const kernelVersion = (
  backend: BackendShape,
  shape: Shape,
  alternatives: ReadonlyArray<Flash>
): number => {
  const { D, E, group, dtype, arithmetic } = shape
  const heads = group ?? 1
  const signature = {
    q: spec(dtype, [1, heads, "T", D]),
    k: spec(dtype, [1, 1, "S", D]),
    v: spec(dtype, [1, 1, "S", E])
  }
  const attention = ({ q, k, v }: { readonly [name: string]: Tensor.Tensor }) =>
    Attention.scaledDotProductAttention(q as never, k as never, v as never, { mask: "causal" })
  const { graph: traced } = Result.getOrThrow(trace(attention as never, signature))
  const passes = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const options = { limits: backend.limits, arithmetic }
  const { graph, schedules, memory } = Result.getOrThrow(Pipeline.run(passes, traced, options))
  const plan = { graph, schedules, memory: memory ?? MemoryPlan.none }
  return hash(`${JSON.stringify(alternatives)}${backend.source?.(plan)}`)
}

/** FNV-1a over 32 bits. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}
