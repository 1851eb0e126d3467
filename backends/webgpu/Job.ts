import type { Graph } from "../../ir/Graph.ts"
import type { Limits } from "../../ir/Limits.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import { productsOf } from "../../ir/products.ts"
import type { Schedule } from "../../ir/Schedule.ts"
import type { Visits } from "./flash/visits.ts"
import type { Condition, Kernel } from "./Program.ts"
import type { Size, SizeLike } from "./Size.ts"

/** One fused node to be turned into kernels. */
export interface Job {
  readonly body: Graph
  /** The node the kernel is organised around; none means that every element is computed on its own. */
  readonly anchor: Node | undefined
  readonly schedule: Schedule | undefined
  readonly limits: Limits
  /** Symbols of the program, in the order of the uniform. */
  readonly symbols: ReadonlyArray<string>
  /** Intermediate memory of this job: written by one of its kernels, read by a later one. */
  readonly scratch: (bytes: SizeLike) => Ref
  /** The number of the slot that a buffer is, where it lies in the arena, which a kernel that writes to it binds for nothing but writing. */
  readonly slotOf: (ref: Ref) => number | undefined
  /** Where the result goes. */
  readonly result: Ref
  /** Further results of the same attention, over the same operands. */
  readonly siblings: ReadonlyArray<Job>
  /** Whether attention counts what it visits, into the buffer `visits`. */
  readonly counts: boolean
}

/** The node a kernel is organised around, or the contractions that it computes side by side. */
export const anchorsOf = ({ anchor, body }: Pick<Job, "anchor" | "body">): ReadonlyArray<Node> => {
  if (anchor?.op !== "dot") return anchor === undefined ? [] : [anchor]
  return productsOf(body)?.find((product) => product.includes(anchor)) ?? [anchor]
}

/** A job for each product of the body, which gives a part of the result. */
export const productJobs = (job: Job): ReadonlyArray<Job> => {
  const products = job.anchor?.op === "dot" ? (productsOf(job.body) ?? []) : []
  return products.length < 2 ? [job] : products.map(([anchor]) => ({ ...job, anchor }))
}

/** A buffer, seen from inside a job. */
export type Ref =
  | { readonly _tag: "operand"; readonly index: number }
  | { readonly _tag: "constant"; readonly node: NodeOf<"constant"> }
  | { readonly _tag: "scratch"; readonly index: number }
  | { readonly _tag: "result"; readonly index: number }
  | { readonly _tag: "visits" }

/** A kernel and what it is given. */
export interface Lowered {
  readonly kernel: Kernel
  /** One for each of the kernel's bindings. */
  readonly buffers: ReadonlyArray<Ref>
  readonly when?: ReadonlyArray<Condition>
  /** Where workgroups do not have equal parts of the work. */
  readonly visits?: Visits
  /** Where it is not the work of the whole body. */
  readonly work?: Size
}

/** Three counters, see `lower`. */
export const visits: Ref = { _tag: "visits" }
export const operand = (index: number): Ref => ({ _tag: "operand", index })

export const sameRef = (a: Ref, b: Ref): boolean =>
  a._tag === b._tag &&
  (a._tag === "constant"
    ? a.node === (b as typeof a).node
    : a._tag === "visits" || a.index === (b as typeof a).index)
