import * as Dim from "../../ir/Dim.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import type * as Shape from "../../ir/Shape.ts"
import { type Add, inline } from "../inline.ts"
import * as A from "./arithmetic.ts"
import type * as Keys from "./Keys.ts"
import type { Parameters } from "./visibleKeys.ts"

type Flash = Node.NodeOf<"flash_attention">

/**
 * What only data knows of a mask, found on the device before attention runs: for each row the first and the last key that
 * it sees, and where the run of visible keys begins that ends with the last. One reduction over the keys, of which nothing as large as the
 * scores is kept: i32[3, B or 1, Hq or 1, T or 1].
 */
export interface Measurement {
  readonly bounds: Node.Node
  /** The conditions that were measured together: the whole mask, or all of its conjuncts that read data at keys. */
  readonly conditions: ReadonlyArray<Node.Node>
}

/** What the data that a mask reads depends on. */
export interface Data {
  readonly atKeys: boolean
  readonly atQueries: boolean
}

/** Nodes that depend on one of a region's parameters. */
const dependents = (mask: Graph.Graph, parameter: number): ReadonlySet<Node.Node> => {
  const found = new Set<Node.Node>([mask.inputs[parameter] as Node.Node])
  for (const node of mask.nodes) if (node.operands.some((o) => found.has(o))) found.add(node)
  return found
}

/** Whether a region reads data at positions that depend on one of its parameters. */
export const readsAt = (region: Graph.Graph, parameter: number): boolean => {
  const found = dependents(region, parameter)
  return region.nodes.some((n) => n.op === "load" && found.has(n))
}

export const dataOf = (mask: Graph.Graph): Data => {
  const [i, j] = [dependents(mask, 2), dependents(mask, 3)]
  const loads = mask.nodes.filter((n) => n.op === "load")
  return { atKeys: loads.some((n) => j.has(n)), atQueries: loads.some((n) => i.has(n) && !j.has(n)) }
}

const conjuncts = (node: Node.Node): ReadonlyArray<Node.Node> =>
  node.op === "and" ? node.operands.flatMap(conjuncts) : [node]

/** Elements that the reduction computes for each pair of a row and a key, and how often each evaluates the mask. */
const [values, evaluations] = [3, 2]

/** A load takes as long as this many other steps. */
const loadCost = 4

/** Measuring may take one part in this many of the arithmetic of attention: what it saves is most often half, or more. */
const share = 4

const isWork = (n: Node.Node): boolean => n.op !== "input" && n.op !== "constant" && n.op !== "dim"

/** Whether measuring every row is little work next to the contractions, however many keys it saves. */
const pays = ({ operands, attrs }: Flash, condition: Graph.Graph, perHead: boolean): boolean => {
  const { v, terms } = parts(operands, attrs)
  const size = (x: Node.Node, axis: number): number => Dim.value(x.type.shape[axis] as Dim.Dim) ?? 1
  const width = terms.reduce((sum, { q }) => sum + size(q, 3), size(v, 3))
  const heads = perHead ? 1 : size((terms[0] as (typeof terms)[number]).q, 1)
  const work = condition.nodes.reduce((sum, n) => sum + (n.op === "load" ? loadCost : isWork(n) ? 1 : 0), 0)
  return share * values * evaluations * work <= 2 * width * heads
}

/** Masks of more nodes than this make a kernel that takes long to compile. */
const mostNodes = 64

/** Measures a mask that reads data at keys; undefined where that does not pay. */
export const measure = (node: Flash, mask: Graph.Graph): Measurement | undefined => {
  if (mask.nodes.length > mostNodes) return undefined
  const root = (mask.outputs[0] as Graph.Output).node
  const [atB, atH, atI, atJ] = [0, 1, 2, 3].map((p) => dependents(mask, p)) as [
    ReadonlySet<Node.Node>,
    ReadonlySet<Node.Node>,
    ReadonlySet<Node.Node>,
    ReadonlySet<Node.Node>
  ]
  const readsKeys = (n: Node.Node): boolean => Node.postOrder([n]).some((x) => x.op === "load" && atJ.has(x))
  const reading = conjuncts(root).filter(readsKeys)
  // What depends on keys alone, as padding does, is measured once for all rows; the rest of the mask is arithmetic.
  const rows = reading.some((c) => atI.has(c))
  const conditions = rows ? [root] : reading
  const condition = Graph.make(
    [{ name: "seen", node: conditions.reduce((a, b) => Node.make("and", [a, b], {}) as Node.Node) }],
    mask.inputs
  )
  if (condition.nodes.some((n) => n.op === "random_bits")) return undefined
  const perHead = conditions.some((c) => atH.has(c))
  if (rows && !pays(node, condition, perHead)) return undefined

  const { terms, captures } = parts(node.operands, node.attrs)
  const [{ q, k }] = terms as readonly [(typeof terms)[number]]
  const [B, H, T] = q.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim]
  const S = k.type.shape[2] as Dim.Dim
  const kept = [conditions.some((c) => atB.has(c)) ? B : Dim.one, perHead ? H : Dim.one, rows ? T : Dim.one]
  return { bounds: reduction(condition, [Dim.constant(values), ...kept, S], captures), conditions }
}

const add: Add = (op, operands, attrs) => Node.make(op, operands, attrs) as unknown as Node.Node

/** For each row, over the keys j: the greatest j + 1 and S - j of those it sees, and j + 1 of those that begin a run. */
const reduction = (
  condition: Graph.Graph,
  shape: Shape.Shape,
  captures: ReadonlyArray<Node.Node>
): Node.Node => {
  const integer = (value: number): Node.Node =>
    add("constant", [], { values: [value], type: { dtype: "i32", shape: [] } })
  // All at full size: the kernel computes every step element by element, and stores none.
  const position = (axis: number): Node.Node => {
    const size = shape[axis] as Dim.Dim
    const alone = add("iota", [], { type: { dtype: "i32", shape: [size] } })
    const placed = add("reshape", [alone], { shape: shape.map((_, a) => (a === axis ? size : Dim.one)) })
    return add("broadcast", [placed], { shape })
  }
  const [which, b, h, i, j] = [0, 1, 2, 3, 4].map(position) as [
    Node.Node,
    Node.Node,
    Node.Node,
    Node.Node,
    Node.Node
  ]
  const next = add("add", [j, integer(1)], {})
  const before = add("sub", [j, integer(1)], {})
  const fromEnd = add("sub", [add("dim", [], { value: shape[4] as Dim.Dim }), j], {})
  const seen = (key: Node.Node): Node.Node => inline(add, condition, [b, h, i, key, ...captures])
  const first = add("eq", [j, integer(0)], {})
  const begins = add("or", [first, add("not", [seen(before)], {})], {})
  const counts = add("or", [add("ne", [which, integer(2)], {}), begins], {})
  const value = add("select", [add("eq", [which, integer(1)], {}), fromEnd, next], {})
  const element = add("select", [add("and", [seen(j), counts], {}), value, integer(0)], {})
  return add("reduce_max", [add("broadcast", [element], { shape })], { axes: [4] })
}

/** What was measured of the conditions, in a region whose last capture is the bounds. */
export const known =
  ({ conditions, bounds }: Measurement) =>
  ({ b, h, first, captures, keys }: Parameters): ReadonlyMap<Node.Node, Keys.Keys> => {
    const tensor = captures.at(-1) as Node.Node
    const at = (axis: number, position: Node.Node): Node.Node =>
      Dim.isOne(bounds.type.shape[axis] as Dim.Dim) ? A.int(0) : position
    const of = (which: number): Node.Node =>
      Node.make("load", [tensor, A.int(which), at(1, b), at(2, h), at(3, first)], {}) as Node.Node
    const [hi, lo, start] = [of(0), A.sub(keys, of(1)), A.sub(of(2), A.int(1))]
    const one = { some: { lo, hi }, every: { lo: start, hi } }
    return new Map(conditions.map((c) => [c, one]))
  }
