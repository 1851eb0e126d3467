import * as Dim from "../../../ir/Dim.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import type { Limits } from "../../../ir/Limits.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import type { Flash, Schedule } from "../../../ir/Schedule.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import type { Job } from "../Job.ts"

/** A fused body around `flash_attention`, with what its kernels need to know. Sizes are the op's: q [B, Hq, T, D], v [B, Hkv, S, E]. */
export interface Problem {
  readonly job: Job
  readonly node: NodeOf<"flash_attention">
  readonly limits: Limits
  readonly schedule: Flash
  readonly B: Dim.Dim
  readonly Hkv: Dim.Dim
  readonly T: Dim.Dim
  readonly S: Dim.Dim
  /** Query heads of a key/value head. */
  readonly group: Dim.Dim
  /** Packed rows of a key/value head: queries times group. */
  readonly R: Dim.Dim
  readonly D: number
  readonly E: number
  /** Score of masked keys where they take part; undefined where they do not. */
  readonly fill: number | undefined
  readonly output: "result" | "lse"
}

const headSize = (d: Dim.Dim, what: string): number => {
  const size = Dim.value(d)
  if (size === undefined || size < 1 || size > 256) {
    throw new UnsupportedByDevice({
      message: `flash_attention: the ${what} ${Dim.print(d)} is ${size === undefined ? "symbolic" : "outside 1 to 256"}`,
      hint: "give the head size as a number from 1 to 256; lengths and heads may be symbols"
    })
  }
  return size
}

/** The schedule of a node: the one that was chosen for it, or one that fits. */
export const scheduleOf = (
  node: NodeOf<"flash_attention">,
  schedule: Schedule | undefined,
  limits: Limits
): Flash => {
  if (schedule?.kind === "flash") return schedule
  const [q, k, v] = node.operands as readonly [Node, Node, Node]
  const size = (x: Node, axis: number): Dim.Dim => x.type.shape[axis] as Dim.Dim
  const group = Dim.divideExact(size(q, 1), size(k, 1)) as Dim.Dim
  return Budget.choose(
    limits,
    headSize(size(q, 3), "head size"),
    headSize(size(v, 3), "value head size"),
    Dim.value(group)
  )
}

const notMade = ({ attrs }: NodeOf<"flash_attention">): string | undefined => {
  if (attrs.terms !== undefined) return "several terms"
  if (attrs.normaliser !== undefined) return `normaliser "${attrs.normaliser}"`
  if (attrs.rowRange !== undefined) return "ranges of rows"
  return attrs.output === "max" ? `output "max"` : undefined
}

/** Reads the anchor of a job. Throws `UnsupportedByDevice` for what the kernels cannot do. */
export const of = (job: Job): Problem => {
  const { anchor, schedule } = job
  if (anchor?.op !== "flash_attention") throw new Error("the job has no flash_attention")
  const unmade = notMade(anchor)
  if (unmade !== undefined)
    throw new UnsupportedByDevice({ message: `flash_attention: no kernel for ${unmade}` })
  const [q, k, v] = anchor.operands as readonly [Node, Node, Node]
  if (q.type.dtype === "f64")
    throw new UnsupportedByDevice({ message: "WebGPU has no f64", hint: "cast to f32" })
  const [B, Hq, T, D] = q.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
  const [, Hkv, S] = k.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim]
  const group = Dim.divideExact(Hq, Hkv) as Dim.Dim
  const fill = Math.fround(anchor.attrs.fill)
  const [size, valueSize] = [
    headSize(D, "head size"),
    headSize(v.type.shape[3] as Dim.Dim, "value head size")
  ]
  return {
    job,
    node: anchor,
    limits: job.limits,
    schedule: scheduleOf(anchor, schedule, job.limits),
    B,
    Hkv,
    T,
    S,
    group,
    R: Dim.mul(T, group),
    D: size,
    E: valueSize,
    fill: anchor.attrs.mask === undefined || fill === -Infinity ? undefined : fill,
    output: anchor.attrs.output === "lse" ? "lse" : "result"
  }
}
