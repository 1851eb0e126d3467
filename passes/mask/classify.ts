import type { Graph, Output } from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import * as Linear from "./Linear.ts"
import * as Region from "./Region.ts"

/**
 * A mask in words, for people: `causal and window of 1024 keys`. Read off the structure of the region, so that it is the same
 * whoever wrote it.
 */
export const classifyMask = (mask: Graph): string => {
  const region = Region.read(mask)
  const words = new Map<Node.Node, Words>()
  const of = (node: Node.Node): Words => words.get(node) ?? opposite("a condition")
  for (const node of mask.nodes) {
    if (node.type.dtype !== "bool" || node.type.shape.length > 0) continue
    const { yes, no } = describe(node, region, of)
    words.set(node, { yes: shortened(yes), no: shortened(no) })
  }
  return of((mask.outputs[0] as Output).node).yes
}

/** A condition and its opposite. */
interface Words {
  readonly yes: string
  readonly no: string
}

const always = "every key"
const never = "no key"

const opposite = (yes: string): Words => ({ yes, no: `not ${grouped(yes)}` })

const grouped = (text: string): string => (/ (and|or|where) /.test(text) ? `(${text})` : text)

const shortened = (text: string): string => (text.length > 200 ? "a long condition" : text)

const both = (a: string, b: string): string => {
  if (a === always || a === b || b === never) return b
  return b === always || a === never ? a : `${grouped(a)} and ${grouped(b)}`
}

const either = (a: string, b: string): string => {
  if (a === never || a === b || b === always) return b
  return b === never || a === always ? a : `${grouped(a)} or ${grouped(b)}`
}

const describe = (node: Node.Node, region: Region.Region, of: (node: Node.Node) => Words): Words => {
  const [x, y, z] = node.operands as readonly [Node.Node, Node.Node, Node.Node]
  switch (node.op) {
    case "constant":
      return node.attrs.values[0] === 0 ? { yes: never, no: always } : { yes: always, no: never }
    case "and":
      return { yes: both(of(x).yes, of(y).yes), no: either(of(x).no, of(y).no) }
    case "or":
      return { yes: either(of(x).yes, of(y).yes), no: both(of(x).no, of(y).no) }
    case "not":
      return { yes: of(x).no, no: of(x).yes }
    case "select": {
      const chosen = (side: keyof Words): string =>
        `${grouped(of(y)[side])} where ${grouped(of(x).yes)}, ${grouped(of(z)[side])} elsewhere`
      return { yes: chosen("yes"), no: chosen("no") }
    }
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne":
      return comparison(node, region)
    default:
      if (region.isUnit(node)) return opposite("a condition per head")
      return opposite(node.op === "load" ? flags(region.dependence(node)) : `a condition (${node.op})`)
  }
}

const comparison = (node: Node.Node, region: Region.Region): Words => {
  const [x, y] = node.operands as readonly [Node.Node, Node.Node]
  if (region.isUnit(node)) return opposite("a condition per head")
  if (x.type.dtype === "bool" && (node.op === "eq" || node.op === "ne")) {
    const alike = opposite("a condition alike for query and key")
    return node.op === "eq" ? alike : { yes: alike.no, no: alike.yes }
  }
  if (x.type.dtype !== "i32") return opposite("tensor condition")
  const difference = unwrapped(Linear.simplify(Linear.minus(region.linear(x), region.linear(y))))
  const below = (factor: 1 | -1, by: 0 | 1): string =>
    chosen(Linear.plus(Linear.scale(difference, factor), Linear.constant(by)), (x) => atMostZero(x, region))
  switch (node.op) {
    case "lt":
      return { yes: below(1, 1), no: below(-1, 0) }
    case "le":
      return { yes: below(1, 0), no: below(-1, 1) }
    case "gt":
      return { yes: below(-1, 1), no: below(1, 0) }
    case "ge":
      return { yes: below(-1, 0), no: below(1, 1) }
    default: {
      const equal = opposite(chosen(difference, (x) => equality(x, region)))
      return node.op === "eq" ? equal : { yes: equal.no, no: equal.yes }
    }
  }
}

const flags = ({ i, j }: Linear.Dependence): string =>
  i && j ? "tensor mask" : i ? "flags of queries" : "flags of keys"

/** Where queries hold the heads of a group, a position is the remainder of an index: it reads as the index. */
const unwrapped = (x: Linear.Linear): Linear.Linear =>
  [...x.terms.values()].reduce(
    (sum, { atom, coefficient }) =>
      atom.tag === "wrapped" && atom.op === "mod"
        ? Linear.plus(Linear.plus(sum, Linear.one(atom), -coefficient), atom.of, coefficient)
        : sum,
    x
  )

/** The coefficients of i and j, and what else there is. */
const parts = (x: Linear.Linear) => {
  const rest = [...x.terms].filter(([k]) => k !== "i" && k !== "j").map(([, t]) => t)
  return { i: x.terms.get("i")?.coefficient ?? 0, j: x.terms.get("j")?.coefficient ?? 0, rest, c: x.constant }
}

const readsData = (rest: ReadonlyArray<Linear.Term>): boolean =>
  rest.some((t) => t.atom.tag === "unit" && Node.postOrder([t.atom.node]).some((n) => n.op === "load"))

/** What data at queries, and at keys, there is in a sum. */
const dataIn = (rest: ReadonlyArray<Linear.Term>, region: Region.Region): ReadonlyArray<Linear.Dependence> =>
  rest.flatMap((t) => (t.atom.tag === "unknown" ? [region.dependence(t.atom.node)] : []))

/** What is said whichever way choices go. */
const chosen = (x: Linear.Linear, say: (x: Linear.Linear) => string, depth = 0): string => {
  for (const { atom, coefficient } of x.terms.values()) {
    if (atom.tag !== "choice") continue
    const rest = Linear.minus(x, Linear.scale(Linear.one(atom), coefficient))
    const of = (side: Linear.Linear): string => chosen(Linear.plus(rest, side, coefficient), say, depth + 1)
    const then = depth < mostChoices ? of(atom.then) : undefined
    return then !== undefined && then === of(atom.otherwise) ? then : "a condition on positions"
  }
  return say(x)
}

/** Choices that are followed both ways. */
const mostChoices = 4

/** What `x ≤ 0` says. */
const atMostZero = (x: Linear.Linear, region: Region.Region): string => {
  const { i, j, rest, c } = parts(x)
  const data = dataIn(rest, region)
  if (data.length > 0) {
    const [ofQueries, ofKeys] = [data.every((d) => !d.j), data.every((d) => !d.i)]
    if (ofQueries && i === 0 && j !== 0)
      return `keys ${j > 0 ? "up to an end" : "from a start"} of each query`
    if (ofKeys && j === 0 && i !== 0) return `queries ${i > 0 ? "up to an end" : "from a start"} of each key`
    return "tensor condition"
  }
  if (rest.length === 1 && rest[0]?.atom.tag === "max" && i === 0 && j === 0) return distance(rest[0], c)
  const plain = rest.every((t) => t.atom.tag === "unit")
  if (plain && i === -1 && j === 1) {
    if (rest.length > 0) return readsData(rest) ? "causal from offsets" : "causal from an offset"
    return c === 0 ? "causal" : c > 0 ? `at least ${c} back` : `at most ${-c} ahead`
  }
  if (plain && i === 1 && j === -1) {
    return rest.length > 0
      ? "sliding window from an offset"
      : c <= 0
        ? `window of ${1 - c} keys`
        : `at least ${c} ahead`
  }
  if (plain && i === 0 && j === 1)
    return readsData(rest) ? "padding by lengths" : keysFrom("prefix of", rest, 1 - c)
  if (plain && i === 0 && j === -1)
    return readsData(rest) ? "keys from offsets on" : keysFrom("keys from", rest, c)
  if (plain && j === 0) return "a condition on queries"
  const chunk = rest.find((t) => t.atom.tag === "quotient")
  if (chunk?.atom.tag === "quotient") return `blocks of ${chunk.atom.by}`
  return "a condition on positions"
}

const keysFrom = (what: string, rest: ReadonlyArray<Linear.Term>, count: number): string =>
  rest.length === 0 ? `${what} ${count}` : `${what} a length`

/** `max(e, -e) ≤ n`: how far apart i and j may be. */
const distance = (term: Linear.Term, c: number): string => {
  const { atom } = term
  if (atom.tag !== "max" || term.coefficient !== 1) return "a condition on positions"
  const { i, j, rest } = parts(atom.left)
  const apart = i * j === -1 && rest.length === 0 && Linear.value(Linear.plus(atom.left, atom.right)) === 0
  return apart ? `window of ${-c} on both sides` : "a condition on positions"
}

/** What `x = 0` says. */
const equality = (x: Linear.Linear, region: Region.Region): string => {
  const { i, j, rest, c } = parts(x)
  const [one, other] = dataIn(rest, region)
  if (one !== undefined) {
    const apart = other !== undefined && one.i !== one.j && one.i === other.j && one.j === other.i
    return rest.length === 2 && i === 0 && j === 0 && apart ? "same document" : "tensor condition"
  }
  const [a, b] = rest.map((t) => t.atom)
  if (rest.length === 2 && a?.tag === "quotient" && b?.tag === "quotient" && a.by === b.by)
    return `chunks of ${a.by}`
  if (rest.length === 1 && a?.tag === "remainder" && c === 0) return `every ${a.by} positions`
  return i * j === -1 && rest.length === 0 ? "one diagonal" : "a condition on positions"
}
