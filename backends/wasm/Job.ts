import type * as Dim from "../../ir/Dim.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import type { Unit } from "./emit/Unit.ts"
import type { Condition, Kernel } from "./Program.ts"
import type { Work } from "./work.ts"

/** One fused node to be turned into kernels. */
export interface Job {
  readonly body: Graph
  /** Where the body's value goes. */
  readonly result: Ref
  /** Attention over the same operands that this job gives the results of, too. */
  readonly siblings: ReadonlyArray<Job>
  /** The node the kernel is organised around; none means that every element is computed on its own. */
  readonly anchor: Node | undefined
  /** Symbols of the program, in the order in which kernels are given them. */
  readonly symbols: ReadonlyArray<string>
  readonly unit: Unit
  /** Intermediate memory of this job: written by one of its kernels, read by the same or a later one. */
  readonly scratch: (bytes: Dim.Dim) => Ref
}

/** A piece of memory, seen from inside a job. */
export type Ref =
  | { readonly _tag: "operand"; readonly index: number }
  | { readonly _tag: "constant"; readonly node: NodeOf<"constant"> }
  | { readonly _tag: "scratch"; readonly index: number }
  | { readonly _tag: "result"; readonly index: number }

/** A kernel and what it is given. */
export interface Lowered {
  readonly kernel: Kernel
  /** The memory it meets, in the order in which it is given the addresses. */
  readonly buffers: ReadonlyArray<Ref>
  readonly when?: ReadonlyArray<Condition>
  /** Where it is not that of the whole body. */
  readonly work?: Work
}

/** The results of a job and of its siblings, in order. */
export const result = (index: number): Ref => ({ _tag: "result", index })
export const operand = (index: number): Ref => ({ _tag: "operand", index })

export const sameRef = (a: Ref, b: Ref): boolean =>
  a._tag === b._tag &&
  (a._tag === "constant" ? a.node === (b as typeof a).node : a.index === (b as typeof a).index)
