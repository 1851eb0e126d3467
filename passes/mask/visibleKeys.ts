import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import * as A from "./arithmetic.ts"
import type { Scope } from "./bounds.ts"
import { atMostZero, type Known } from "./compare.ts"
import * as Keys from "./Keys.ts"
import * as Linear from "./Linear.ts"
import * as Region from "./Region.ts"

/** What data says of conditions of a mask: a pair of ranges for each, over the parameters of the region that is made. */
export type Measured = (parameters: Parameters) => ReadonlyMap<Node.Node, Keys.Keys>

export interface Parameters {
  readonly b: Node.Node
  readonly h: Node.Node
  /** First and last query. */
  readonly first: Node.Node
  readonly last: Node.Node
  readonly captures: ReadonlyArray<Node.Node>
  /** The number of keys. */
  readonly keys: Node.Node
}

/**
 * Interval analysis of a mask: which keys a block of queries can see, as arithmetic on the block's first and last query, lengths and
 * captured scalars. `node` is attention with a mask; the result is its `range` region,
 * (b, h, first, last, captures…) → lo, hi, fullLo, fullHi, all within 0..S and in order. For one row it is its `rowRange` region,
 * (b, h, i, captures…), which may also read data at i.
 *
 * Conditions are evaluated abstractly, as pairs of ranges of keys. A comparison of sums gives the half-line on which it holds for some query
 * of the block and the one on which it holds for all of them, see `compare.ts`; conjunctions intersect, disjunctions unite. What is not
 * understood, such as an element of a captured mask, may hold anywhere and certainly holds nowhere, unless it was `measured`.
 */
export const visibleKeys = (
  node: Node.NodeOf<"flash_attention">,
  mask: Graph.Graph,
  rows: "block" | "one" = "block",
  measured: Measured = () => new Map()
): Graph.Graph => {
  const [, k] = node.operands as readonly [Node.Node, Node.Node]
  const index = { dtype: "i32", shape: [] } as const
  const input = (name: string, type: Node.Node["type"]): Node.Node =>
    Node.make("input", [], { name, type }) as Node.Node
  const positions = (rows === "block" ? ["b", "h", "first", "last"] : ["b", "h", "i"]).map((name) =>
    input(name, index)
  )
  const [b, h, first, last = first] = positions as [Node.Node, Node.Node, Node.Node, Node.Node?]
  const captures = parts(node.operands, node.attrs).captures.map((c, i) => input(`c${i}`, c.type))
  const keys = Node.make("dim", [], { value: k.type.shape[2] as never }) as Node.Node
  // j has no value in the region, nor i in that of a block: what depends on them is never copied.
  const copies = new Map<Node.Node, Node.Node>()
  const sources = [b, h, rows === "one" ? first : undefined, undefined, ...captures]
  mask.inputs.forEach((i, at) => {
    const source = sources[at]
    if (source !== undefined) copies.set(i, source)
  })
  const scope: Scope = { first, last, keys, unit: (n) => copy(n, copies) }
  const known = measured({ b, h, first, last, captures, keys })
  const { some, every } = conditionOf(Region.read(mask, rows), scope, known)
  // Masked keys with a finite fill are outside all the same: a kernel comes back for them only where the fill is not far below the row.
  const [lo, hi] = Keys.ends(some, keys)
  const [fullLo, fullHi] = Keys.ends(every, keys)
  const outputs = Object.entries({ lo, hi, fullLo, fullHi }).map(([name, node]) => ({ name, node }))
  return Graph.make(outputs, [...positions, ...captures])
}

/** A value that does not depend on i and j, over other inputs. */
const copy = (root: Node.Node, copies: Map<Node.Node, Node.Node>): Node.Node => {
  for (const node of Node.postOrder([root], copies)) {
    copies.set(
      node,
      Node.withOperands(
        node,
        node.operands.map((o) => copies.get(o) as Node.Node)
      )
    )
  }
  return copies.get(root) as Node.Node
}

/** Masks of more nodes than this are not analysed: they are no pattern that a person wrote. */
const mostConditions = 2000

/** A bound that takes more than this many nodes to write, equal ones counted each time, costs more than it saves. */
const mostNodes = 1000

const conditionOf = (
  region: Region.Region,
  scope: Scope,
  measured: ReadonlyMap<Node.Node, Keys.Keys>
): Keys.Keys => {
  if (region.graph.nodes.length > mostConditions) return Keys.unknown
  const known = new Map<Node.Node, Known>()
  const get = (node: Node.Node): Known => known.get(node) ?? { yes: Keys.unknown, no: Keys.unknown }
  for (const node of region.graph.nodes) {
    if (node.type.dtype !== "bool" || node.type.shape.length > 0) continue
    const yes = measured.get(node)
    known.set(node, yes ? { yes, no: Keys.unknown } : trim(knownOf(node, region, scope, get)))
  }
  return get((region.graph.outputs[0] as Graph.Output).node).yes
}

const trim = ({ yes, no }: Known): Known => {
  const small = (k: Keys.Keys): Keys.Keys => {
    const ends = [k.some.lo, k.some.hi, k.every.lo, k.every.hi].filter((n) => n !== undefined)
    return Node.postOrder(ends).length > mostNodes ? Keys.unknown : k
  }
  return { yes: small(yes), no: small(no) }
}

const knownOf = (
  node: Node.Node,
  region: Region.Region,
  scope: Scope,
  get: (node: Node.Node) => Known
): Known => {
  if (region.isUnit(node)) {
    const value = A.valueOf(node)
    const holds = value === undefined ? scope.unit(node) : value !== 0
    const [yes, no] = [Keys.when(holds, scope.keys), Keys.when(A.not(holds), scope.keys)]
    return { yes: { some: yes, every: yes }, no: { some: no, every: no } }
  }
  const [x, y, z] = node.operands as readonly [Node.Node, Node.Node, Node.Node]
  const or = (a: Keys.Keys, b: Keys.Keys): Keys.Keys => Keys.or(a, b, scope.keys)
  switch (node.op) {
    case "not":
      return { yes: get(x).no, no: get(x).yes }
    case "and":
      return { yes: Keys.and(get(x).yes, get(y).yes), no: or(get(x).no, get(y).no) }
    case "or":
      return { yes: or(get(x).yes, get(y).yes), no: Keys.and(get(x).no, get(y).no) }
    case "select": {
      const taken = (side: "yes" | "no"): Keys.Keys =>
        or(Keys.and(get(x).yes, get(y)[side]), Keys.and(get(x).no, get(z)[side]))
      return { yes: taken("yes"), no: taken("no") }
    }
    case "xor":
      return unequal(get(x), get(y), or)
    case "eq":
    case "ne": {
      if (x.type.dtype === "bool") {
        const different = unequal(get(x), get(y), or)
        return node.op === "ne" ? different : { yes: different.no, no: different.yes }
      }
      return integers(node, region, scope, get)
    }
    case "lt":
    case "le":
    case "gt":
    case "ge":
      return integers(node, region, scope, get)
    default:
      return { yes: Keys.unknown, no: Keys.unknown }
  }
}

const unequal = (a: Known, b: Known, or: (a: Keys.Keys, b: Keys.Keys) => Keys.Keys): Known => ({
  yes: or(Keys.and(a.yes, b.no), Keys.and(a.no, b.yes)),
  no: or(Keys.and(a.yes, b.yes), Keys.and(a.no, b.no))
})

/** More numbers from data in one comparison are not analysed: their sum must not overflow. */
const mostData = 4

/**
 * The condition under which sums are what they are in i32 arithmetic, which wraps: all data in them is far from the ends of the integers.
 * Indices and lengths are small.
 */
const staysSmall = (
  sums: ReadonlyArray<Linear.Linear>,
  region: Region.Region,
  scope: Scope
): A.Condition | undefined => {
  const captured: ReadonlySet<Node.Node> = new Set(region.graph.inputs.slice(4))
  const isData = (node: Node.Node): boolean =>
    Node.postOrder([node]).some((n) => n.op === "load" || captured.has(n))
  const data = sums.flatMap((x) => [...Linear.addends(x)]).filter(([node]) => isData(node))
  if (data.length > mostData) return undefined
  return data.reduce<A.Condition>((all, [node, factor]) => {
    const [value, limit] = [scope.unit(node), Math.floor(Linear.largest / factor)]
    return A.both(all, A.both(A.le(A.int(-limit), value), A.le(value, A.int(limit))))
  }, true)
}

const integers = (
  node: Node.Node,
  region: Region.Region,
  scope: Scope,
  get: (node: Node.Node) => Known
): Known => {
  const [x, y] = node.operands as readonly [Node.Node, Node.Node]
  if (x.type.dtype !== "i32") return { yes: Keys.unknown, no: Keys.unknown }
  const [left, right] = [region.linear(x), region.linear(y)]
  const exact = staysSmall([left, right], region, scope)
  if (exact === undefined) return { yes: Keys.unknown, no: Keys.unknown }
  const difference = Linear.minus(left, right)
  const opposite = Linear.scale(difference, -1)
  const below = (d: Linear.Linear, by: number): Keys.Keys =>
    Keys.provided(exact, atMostZero(Linear.plus(d, Linear.constant(by)), scope, get), scope.keys)
  const [le, ge] = [below(difference, 0), below(opposite, 0)]
  const [lt, gt] = [below(difference, 1), below(opposite, 1)]
  const equal: Known = { yes: Keys.and(le, ge), no: Keys.or(lt, gt, scope.keys) }
  const table: { readonly [op: string]: Known } = {
    lt: { yes: lt, no: ge },
    le: { yes: le, no: gt },
    gt: { yes: gt, no: le },
    ge: { yes: ge, no: lt },
    eq: equal,
    ne: { yes: equal.no, no: equal.yes }
  }
  return table[node.op] as Known
}
