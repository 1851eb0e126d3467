import type { Node } from "../../../ir/Node.ts"
import type * as Shape from "../../../ir/Shape.ts"
import type { Job } from "../Job.ts"
import * as Body from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import type { Frame } from "./Frame.ts"
import { isScalarOp } from "./scalar.ts"
import { store } from "./storage.ts"
import * as Value from "./Value.ts"

/**
 * What follows the anchor in a body, seen from the anchor: where its element ends up in the result. That has an answer when only
 * elementwise ops of one shape, transposes and reshapes follow.
 */

type Indices = ReadonlyArray<Value.Value>

type Anchored = Pick<Job, "body" | "anchor">

/** Nodes of the body that depend on the anchor, in order; the anchor leads. */
const dependents = (job: Anchored): ReadonlyArray<Node> => {
  const found = new Set<Node>(job.anchor === undefined ? [] : [job.anchor])
  for (const node of job.body.nodes) if (node.operands.some((o) => found.has(o))) found.add(node)
  return [...found]
}

const root = (job: Job): Node => (job.body.outputs[0] as { readonly node: Node }).node

/** A step of the anchor's element through the axes of the body, and a canonical text of it: two paths meet only where they moved it alike. */
interface Path {
  readonly key: string
  readonly move: (e: Emitter, indices: Indices) => Indices
}

const pathsOf = (job: Anchored): ReadonlyMap<Node, Path> | undefined => {
  const paths = new Map<Node, Path>()
  for (const node of dependents(job)) {
    if (node === job.anchor) {
      paths.set(node, { key: "", move: (_, i) => i })
      continue
    }
    const operands = node.operands.filter((o) => paths.has(o))
    const own = operands.map((o) => paths.get(o) as Path)
    const path = own[0] as Path
    const from = operands[0] as Node
    if (own.some((p) => p.key !== path.key)) return undefined
    if (isScalarOp(node.op)) {
      // An operand that is broadcast meets several elements of the result.
      if (!operands.every((o) => sameShape(o.type.shape, node.type.shape))) return undefined
      paths.set(node, path)
    } else if (node.op === "transpose") {
      const { perm } = node.attrs
      paths.set(node, {
        key: `${path.key};t${perm.join(",")}`,
        move: (e, i) => {
          const indices = path.move(e, i)
          return perm.map((axis) => indices[axis] as Value.Value)
        }
      })
    } else if (
      node.op === "reshape" ||
      (node.op === "broadcast" && sameShape(trimmed(node, from), from.type.shape))
    ) {
      paths.set(node, {
        key: `${path.key};r${node.type.shape.map((d) => d.key).join(",")}`,
        move: (e, i) => Value.reshape(e, path.move(e, i), from.type.shape, node.type.shape)
      })
    } else return undefined
  }
  return paths
}

/** The shape of a broadcast without the leading ones it adds, if it adds nothing else. */
const trimmed = (node: Node, from: Node): Shape.Shape => {
  const added = node.type.shape.length - from.type.shape.length
  return node.type.shape.slice(0, added).every((d) => d.key === "1")
    ? node.type.shape.slice(added)
    : node.type.shape
}

const sameShape = (a: Shape.Shape, b: Shape.Shape): boolean =>
  a.length === b.length && a.every((d, i) => d.key === (b[i] as typeof d).key)

/** Whether each element of the anchor gives exactly one element of the result, at an index that follows from its own. */
export const isDirect = (job: Anchored): boolean => job.anchor === undefined || pathsOf(job) !== undefined

/** Computes the result's elements that the anchor's elements at `indices` give, and stores them. */
export type Epilogue = (indices: Indices, value: Value.Value) => void

export const make = (frame: Frame, job: Job = frame.job): Epilogue => {
  const { e } = frame
  const paths = pathsOf(job)
  const last = root(job)
  if (job.anchor === undefined || paths === undefined) throw new Error("the body has no direct epilogue")
  const path = paths.get(last) as Path
  const { shape, dtype } = last.type
  const anchor = job.anchor
  return (indices, value) => {
    // A new body for new elements: the anchor's value differs from one to the next.
    const body = Body.make(frame, job.body)
    body.give(anchor, value)
    const moved = path.move(e, indices)
    store(e, frame.pointer(job.result), dtype, moved, shape, body.at(Body.stored(last), moved))
  }
}
