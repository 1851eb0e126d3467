import * as Dim from "./Dim.ts"
import type { Graph } from "./Graph.ts"
import { type Node, type NodeOf, specOf } from "./Node.ts"
import * as Shape from "./Shape.ts"

/**
 * What follows the anchors of a body, seen from their elements: where one ends up in the result. That has an answer when only elementwise ops of one
 * shape, transposes and reshapes follow. A concat whose parts all follow contractions gives as many results as it has parts.
 */

/** A step of an anchor's element through the axes of the body. */
export type Step =
  | { readonly kind: "transpose"; readonly perm: ReadonlyArray<number> }
  | { readonly kind: "reshape"; readonly from: Shape.Shape; readonly to: Shape.Shape }
  | { readonly kind: "part"; readonly axis: number; readonly start: Dim.Dim }

/** Where an element of the anchors is in a value. Two ways meet only where they moved it alike. */
export interface Path {
  readonly steps: ReadonlyArray<Step>
  readonly key: string
  /** Whether neighbours along the last axis are neighbours along the last axis still. */
  readonly inner: boolean
  /** The part of each concat on the way that the element is in. */
  readonly parts: ReadonlyMap<NodeOf<"concat">, number>
  /** Whose elements have met. */
  readonly anchors: ReadonlySet<Node>
}

const after = (path: Path, step: Step, key: string, inner: boolean): Path => ({
  ...path,
  steps: [...path.steps, step],
  key: `${path.key};${key}`,
  inner: path.inner && inner
})

/** The paths to every value that depends on the anchors, one for each result that an element gives; undefined where one has none. */
export const pathsOf = (
  body: Pick<Graph, "nodes">,
  anchors: ReadonlyArray<Node>
): ReadonlyMap<Node, ReadonlyArray<Path>> | undefined => {
  const all = new Map<Node, ReadonlyArray<Path>>(
    anchors.map((anchor) => [
      anchor,
      [{ steps: [], key: "", inner: true, parts: new Map(), anchors: new Set([anchor]) }]
    ])
  )
  for (const node of body.nodes) {
    const operands = node.operands.filter((o) => all.has(o))
    if (all.has(node) || operands.length === 0) continue
    const paths = through(node, operands, (o) => all.get(o) as ReadonlyArray<Path>)
    if (paths === undefined) return undefined
    all.set(node, paths)
  }
  return all
}

const through = (
  node: Node,
  operands: ReadonlyArray<Node>,
  pathsTo: (operand: Node) => ReadonlyArray<Path>
): ReadonlyArray<Path> | undefined => {
  const from = operands[0] as Node
  const own = pathsTo(from)
  if (node.op === "concat") return joined(node, pathsTo, operands)
  const keys = (paths: ReadonlyArray<Path>): string => paths.map((p) => p.key).join(" ")
  if (operands.some((o) => keys(pathsTo(o)) !== keys(own))) return undefined
  const { family } = specOf(node.op)
  if (family === "elementwise" || family === "compare") {
    // An operand that is broadcast meets several elements of the result.
    const alike = operands.every((o) => Shape.equals(o.type.shape, node.type.shape))
    return alike ? own.map((path, n) => ({ ...path, ...together(operands, pathsTo, n) })) : undefined
  }
  if (node.op === "transpose") {
    const { perm } = node.attrs
    const inner = perm.at(-1) === perm.length - 1
    return own.map((path) => after(path, { kind: "transpose", perm }, `t${perm.join(",")}`, inner))
  }
  const [shape, to] = [from.type.shape, node.type.shape]
  if (node.op !== "reshape" && !(node.op === "broadcast" && Shape.equals(trimmed(to, shape), shape)))
    return undefined
  const inner = shape.at(-1)?.key === to.at(-1)?.key
  const key = `r${to.length}:${to.map((d) => d.key).join(",")}`
  return own.map((path) => after(path, { kind: "reshape", from: shape, to }, key, inner))
}

/** A node that reads several concats, as the sum of two does, is in one part of each. */
const together = (
  operands: ReadonlyArray<Node>,
  pathsTo: (operand: Node) => ReadonlyArray<Path>,
  n: number
): Pick<Path, "parts" | "anchors"> => {
  const paths = operands.map((o) => pathsTo(o)[n] as Path)
  return {
    parts: new Map(paths.flatMap((p) => [...p.parts])),
    anchors: new Set(paths.flatMap((p) => [...p.anchors]))
  }
}

const joined = (
  node: NodeOf<"concat">,
  pathsTo: (operand: Node) => ReadonlyArray<Path>,
  dependent: ReadonlyArray<Node>
): ReadonlyArray<Path> | undefined => {
  if (dependent.length < node.operands.length) return undefined
  const { axis } = node.attrs
  let start = Dim.zero
  const paths: Array<Path> = []
  node.operands.forEach((operand, part) => {
    for (const path of pathsTo(operand)) {
      const moved = after(path, { kind: "part", axis, start }, `p${axis}:${start.key}`, true)
      paths.push({ ...moved, parts: new Map([...path.parts, [node, part]]) })
    }
    start = Dim.add(start, operand.type.shape[axis] as Dim.Dim)
  })
  return paths
}

/** The shape of a broadcast without the leading ones it adds, if it adds nothing else. */
const trimmed = (to: Shape.Shape, from: Shape.Shape): Shape.Shape => {
  const added = to.length - from.length
  return to.slice(0, added).every((d) => d.key === "1") ? to.slice(added) : to
}
