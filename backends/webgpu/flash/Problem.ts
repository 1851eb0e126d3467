import { choose } from "../../../ir/chooseFlash.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import { wide } from "../../../ir/halfProducts.ts"
import type { Limits } from "../../../ir/Limits.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import type { Flash, FlashPrefill, Schedule } from "../../../ir/Schedule.ts"
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
  /** The contractions of q and k, one for each logit of a pair. */
  readonly terms: ReadonlyArray<Term>
  /** Their head sizes. */
  readonly D: ReadonlyArray<number>
  readonly v: Node
  readonly E: number
  /** Whether weights are a softmax of the scores; where not, they are the scores. */
  readonly normalised: boolean
  /** Score of masked keys where they take part; undefined where they do not. */
  readonly fill: number | undefined
  /** What is asked for, each with the job that stores it. */
  readonly outputs: ReadonlyArray<{ readonly kind: Output; readonly job: Job }>
  /** Whether the result is asked for, or nothing but maxima. */
  readonly hasResult: boolean
  readonly onlyMaxima: boolean
}

export interface Term {
  readonly q: Node
  readonly k: Node
  /** Head size. */
  readonly size: number
  /** Whether k is the same for the whole batch, for all heads. */
  readonly oneBatch: boolean
  readonly oneHead: boolean
}

/** What a node may give. */
export type Output = "result" | Statistic

/** What a row of scores says of itself. */
export type Statistic = "lse" | "max" | "sum"

/** The name of a kernel that gives these outputs. */
export const kernelName = (name: string, { outputs }: Problem): string => {
  const kinds = outputs.map((o) => o.kind)
  return kinds.join() === "result" ? name : [name, ...kinds].join("_")
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
  const [q, k] = node.operands as readonly [Node, Node]
  const { v } = parts(node.operands, node.attrs)
  const group = Dim.divideExact(size(q, 1), size(k, 1)) as Dim.Dim
  const D = termsOf(node).map((term) => term.size)
  return choose(limits, D, headSize(size(v, 3), "value head size"), Dim.value(group))
}

/** Numbers that f16 does not hold are multiplied in float32, whatever the schedule says. */
const inArithmetic = (node: NodeOf<"flash_attention">, schedule: Flash): Flash => {
  if (wide(node).length === 0) return schedule
  const { short, prefill, ...rest } = schedule
  const float = ({ arithmetic: _, ...cut }: FlashPrefill): FlashPrefill => cut
  return { ...rest, prefill: float(prefill), ...(short === undefined ? {} : { short: float(short) }) }
}

const size = (x: Node, axis: number): Dim.Dim => x.type.shape[axis] as Dim.Dim

const termsOf = (node: NodeOf<"flash_attention">): ReadonlyArray<Term> =>
  parts(node.operands, node.attrs).terms.map(({ q, k }) => ({
    q,
    k,
    size: headSize(size(q, 3), "head size"),
    oneBatch: Dim.isOne(size(k, 0)),
    oneHead: Dim.isOne(size(k, 1))
  }))

/** Reads the anchor of a job. Throws `UnsupportedByDevice` for what the kernels cannot do. */
export const of = (job: Job): Problem => {
  const { anchor, schedule } = job
  if (anchor?.op !== "flash_attention") throw new Error("the job has no flash_attention")
  const [q, k] = anchor.operands as readonly [Node, Node]
  const { attrs } = anchor
  const { v } = parts(anchor.operands, attrs)
  if (q.type.dtype === "f64")
    throw new UnsupportedByDevice({
      message: "WebGPU has no f64",
      hint: "cast to f32, or run on WebAssembly"
    })
  const [B, Hq, T] = q.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim]
  const [, Hkv, S] = k.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim]
  const group = Dim.divideExact(Hq, Hkv) as Dim.Dim
  const fill = Math.fround(attrs.fill)
  const terms = termsOf(anchor)
  const normalised = attrs.normaliser === undefined
  const outputs = [job, ...job.siblings].flatMap((j) =>
    j.anchor?.op === "flash_attention" ? [{ kind: j.anchor.attrs.output as Output, job: j }] : []
  )
  return {
    job,
    node: anchor,
    limits: job.limits,
    schedule: Budget.withBuffers(
      inArithmetic(anchor, scheduleOf(anchor, schedule, job.limits)),
      job.body.inputs.length + job.siblings.length,
      job.limits
    ),
    B,
    Hkv,
    T,
    S,
    group,
    R: Dim.mul(T, group),
    terms,
    D: terms.map((term) => term.size),
    v,
    E: headSize(size(v, 3), "value head size"),
    normalised,
    fill: attrs.mask === undefined || !normalised || fill === -Infinity ? undefined : fill,
    outputs,
    hasResult: outputs.some((o) => o.kind === "result"),
    onlyMaxima: outputs.every((o) => o.kind === "max")
  }
}
