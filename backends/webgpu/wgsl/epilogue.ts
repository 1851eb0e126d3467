import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import type * as Shape from "../../../ir/Shape.ts"
import { anchorsOf, type Job } from "../Job.ts"
import * as Body from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { isScalarOp } from "./scalar.ts"
import { store, storesPairs } from "./storage.ts"

/**
 * What follows the anchor in a body, seen from the anchor: where its element ends up in the result. That has an answer when only
 * elementwise ops of one shape, transposes and reshapes follow.
 */

type Anchored = Pick<Job, "body" | "anchor">

/** Nodes of the body that depend on the anchors, in order; the anchors lead. */
const dependents = (job: Anchored): ReadonlyArray<Node> => {
  const found = new Set<Node>(anchorsOf(job))
  for (const node of job.body.nodes) if (node.operands.some((o) => found.has(o))) found.add(node)
  return [...found]
}

const root = (job: Anchored): Node => (job.body.outputs[0] as { readonly node: Node }).node

/** One step of the anchor's element through the axes of the body. */
type Move = (emitter: Emitter, indices: ReadonlyArray<string>) => ReadonlyArray<string>

/** A step and a canonical text of it: two paths meet only where they moved the element alike. */
interface Path {
  readonly key: string
  readonly move: Move
  /** Whether neighbours along the last axis are neighbours along the last axis still. */
  readonly inner: boolean
}

const pathsOf = (job: Anchored): ReadonlyMap<Node, Path> | undefined => {
  const paths = new Map<Node, Path>()
  const anchors = anchorsOf(job)
  const rank = (n: Node): number => n.type.shape.length
  for (const node of dependents(job)) {
    if (anchors.includes(node)) {
      paths.set(node, { key: "", move: (_, i) => i, inner: true })
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
        inner: path.inner && perm.at(-1) === perm.length - 1,
        move: (e, i) => {
          const indices = path.move(e, i)
          return perm.map((axis) => indices[axis] as string)
        }
      })
    } else if (
      node.op === "reshape" ||
      (node.op === "broadcast" && sameShape(trimmed(node, from), from.type.shape))
    ) {
      paths.set(node, {
        key: `${path.key};r${rank(node)}:${node.type.shape.map((d) => d.key).join(",")}`,
        inner: path.inner && from.type.shape.at(-1)?.key === node.type.shape.at(-1)?.key,
        move: (e, i) => e.reshape(path.move(e, i), from.type.shape, node.type.shape)
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

export interface Epilogue {
  /** Computes the result's element that the element of each anchor at `indices` gives, and stores it. */
  readonly store: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => void
  /** Whether pairs of the anchor's last axis are the words of a result whose elements take 16 bits. */
  readonly pairs: boolean
  /** Where the anchor's element goes: its row-major number in the result. */
  readonly position: (indices: ReadonlyArray<string>) => string
  /** The result's element that the anchor's element gives, for callers that store several at once. */
  readonly value: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => string
}

/** `make` is the body's emitter for a new element: the anchor's value differs from one to the next. */
export const make = (emitter: Emitter, job: Job, make: () => Body.Body): Epilogue => {
  const paths = pathsOf(job)
  const last = root(job)
  if (job.anchor === undefined || paths === undefined) throw new Error("the body has no direct epilogue")
  const path = paths.get(last) as Path
  const { shape, dtype } = last.type
  const anchors = anchorsOf(job)
  const finish = (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>): string => {
    const body = make()
    anchors.forEach((anchor, i) => {
      body.give(anchor, values[i] as string)
    })
    return body.at(Body.stored(last), path.move(emitter, indices))
  }
  const width = Dim.value(shape.at(-1) ?? Dim.one) ?? 1
  return {
    pairs: storesPairs(emitter.module, dtype) && path.inner && width % 2 === 0,
    position: (indices) => emitter.linearize(path.move(emitter, indices), shape),
    value: finish,
    store: (indices, ...values) => {
      const stored = finish(indices, ...values)
      store(emitter, job.result, dtype, emitter.linearize(path.move(emitter, indices), shape), stored)
    }
  }
}
