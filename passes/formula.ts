import * as Attr from "../ir/Attr.ts"
import * as Dim from "../ir/Dim.ts"
import type * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import type { OpName } from "../ir/ops.ts"

/** A number in as many digits as people read. */
export const short = (x: number): string => {
  if (!Number.isFinite(x)) return x > 0 ? "∞" : x < 0 ? "-∞" : "NaN"
  return Attr.printNumber(Number.isInteger(x) ? x : Number(x.toPrecision(4)))
}

/** How tightly an expression holds together: what stands in one that holds tighter needs parentheses. */
interface Text {
  readonly text: string
  readonly tight: number
}

const infix: { readonly [K in OpName]?: readonly [sign: string, tight: number] } = {
  or: [" ∨ ", 1],
  and: [" ∧ ", 2],
  xor: [" ⊕ ", 2],
  eq: [" = ", 3],
  ne: [" ≠ ", 3],
  lt: [" < ", 3],
  le: [" ≤ ", 3],
  gt: [" > ", 3],
  ge: [" ≥ ", 3],
  add: [" + ", 4],
  sub: [" − ", 4],
  mul: [" · ", 5],
  div: [" / ", 5],
  floor_div: [" div ", 5],
  mod: [" mod ", 5]
}

/** Numbers of this size guard sums against wrapping round: no length is as large. */
const guard = 2 ** 27

const isGuard = (node: Node.Node | undefined): boolean =>
  node?.op === "constant" && node.type.dtype === "i32" && Math.abs(node.attrs.values[0] ?? 0) >= guard

const holds: Text = { text: "true", tight: 9 }

/** Guards against numbers that are no lengths, left out: `min(max(n, -2^28), 2^28)` is n, and n lies between them. */
const unguarded = (node: Node.Node, operands: ReadonlyArray<Text>): Text | undefined => {
  const [x, y] = operands
  const [a, b] = node.operands.map(isGuard)
  switch (node.op) {
    case "min":
    case "max":
      return a === true ? y : b === true ? x : undefined
    case "le":
    case "lt":
    case "ge":
    case "gt":
      return a === true || b === true ? holds : undefined
    case "and":
      return x === holds ? y : y === holds ? x : undefined
    case "select":
      return x === holds ? y : undefined
    default:
      return undefined
  }
}

/** What is taken away by adding a constant below 0. */
const negativeOf = (node: Node.Node | undefined): string | undefined => {
  const value = node?.op === "constant" ? node.attrs.values[0] : undefined
  return value !== undefined && value < 0 ? short(-value) : undefined
}

const within = ({ text, tight }: Text, least: number): string => (tight < least ? `(${text})` : text)

const atom = (text: string): Text => ({ text, tight: 9 })

/**
 * The results of a rank-0 graph as formulas over the names of its inputs, in the order of its outputs; undefined where one would be
 * longer than `most` characters.
 */
export const formulas = (
  graph: Graph.Graph,
  names: ReadonlyMap<string, string> = new Map(),
  most = 120
): ReadonlyArray<string | undefined> => {
  const known = new Map<Node.Node, Text | undefined>()
  for (const node of graph.nodes) {
    const operands = node.operands.map((o) => known.get(o))
    const text = operands.includes(undefined) ? undefined : say(node, operands as ReadonlyArray<Text>, names)
    known.set(node, text === undefined || text.text.length > most ? undefined : text)
  }
  return graph.outputs.map((o) => known.get(o.node)?.text)
}

const say = (
  node: Node.Node,
  operands: ReadonlyArray<Text>,
  names: ReadonlyMap<string, string>
): Text | undefined => {
  const [x, y, z] = operands as readonly [Text, Text, Text]
  const plain = unguarded(node, operands)
  if (plain !== undefined) return plain
  const negative = node.op === "add" ? negativeOf(node.operands[1]) : undefined
  if (negative !== undefined) return { text: `${within(x, 4)} − ${negative}`, tight: 4 }
  const sign = infix[node.op]
  if (sign !== undefined) {
    const [between, tight] = sign
    // What follows a minus or a division keeps its parentheses.
    const exact = node.op === "sub" || node.op === "div" || node.op === "floor_div" || node.op === "mod"
    return { text: `${within(x, tight)}${between}${within(y, exact ? tight + 1 : tight)}`, tight }
  }
  switch (node.op) {
    case "input":
      return atom(names.get(node.attrs.name) ?? node.attrs.name)
    case "constant": {
      const [value, another] = node.attrs.values
      if (value === undefined || another !== undefined) return atom("table")
      return atom(node.type.dtype === "bool" ? String(value !== 0) : short(value))
    }
    case "dim":
      return {
        text: Dim.print(node.attrs.value).replaceAll(" - ", " − "),
        tight: node.attrs.value.terms.length > 1 ? 4 : 9
      }
    case "cast":
      return x
    case "neg":
      return { text: `−${within(x, 6)}`, tight: 4 }
    case "not":
      return { text: `¬${within(x, 6)}`, tight: 6 }
    case "load":
      return atom(
        `${x.text}[${operands
          .slice(1)
          .map((o) => o.text)
          .join(", ")}]`
      )
    case "select":
      return atom(`(${y.text} where ${within(x, 2)}, else ${z.text})`)
    default:
      return atom(`${node.op}(${operands.map((o) => o.text).join(", ")})`)
  }
}
