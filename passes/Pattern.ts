import * as Node from "../ir/Node.ts"
import { type OpName, opNames } from "../ir/ops.ts"

/**
 * Expressions over variables, in the syntax of user code: `mul(exp(a), exp(b))`. Rules match with them and rewrite to them.
 */
export type Pattern =
  | { readonly _tag: "variable"; readonly name: string }
  | { readonly _tag: "number"; readonly value: number }
  | { readonly _tag: "constant"; readonly name: string }
  | {
      readonly _tag: "apply"
      readonly op: OpName
      readonly args: ReadonlyArray<Pattern>
      readonly name: string | undefined
    }

/** What a match found: nodes by name. */
export type Bindings = ReadonlyMap<string, Node.Node>

type Names =
  | "a"
  | "b"
  | "c"
  | "d"
  | "e"
  | "m"
  | "n"
  | "p"
  | "r"
  | "s"
  | "t"
  | "u"
  | "v"
  | "w"
  | "x"
  | "y"
  | "z"

/** The variables of patterns. One that occurs twice matches the same node twice. */
export const variables: { readonly [K in Names]: Pattern } = Object.fromEntries(
  [..."abcdemnprstuvwxyz"].map((name) => [name, { _tag: "variable", name }] as const)
) as unknown as { readonly [K in Names]: Pattern }

/** A constant whose elements all have this value, of any dtype and shape. */
export const number = (value: number): Pattern => ({ _tag: "number", value })

/** Any constant whose elements all have one value. */
export const constant = (name: string): Pattern => ({ _tag: "constant", name })

/** The same pattern, whose node the rule can ask for by name. */
export const named = (name: string, pattern: Pattern): Pattern =>
  pattern._tag === "apply" ? { ...pattern, name } : pattern

/** Every op as a function on patterns; attributes are free. */
export const ops: { readonly [K in OpName]: (...args: ReadonlyArray<Pattern>) => Pattern } =
  Object.fromEntries(
    opNames.map((op) => [
      op,
      (...args: ReadonlyArray<Pattern>): Pattern => ({ _tag: "apply", op, args, name: undefined })
    ])
  ) as unknown as { readonly [K in OpName]: (...args: ReadonlyArray<Pattern>) => Pattern }

/** Names a pattern binds or uses. */
export const names = (p: Pattern): ReadonlyArray<string> => {
  if (p._tag === "variable" || p._tag === "constant") return [p.name]
  if (p._tag === "number") return []
  return [...(p.name === undefined ? [] : [p.name]), ...p.args.flatMap(names)]
}

/** The value that all elements of a constant have; undefined for what is no constant, or has several values. */
export const uniform = (node: Node.Node): number | undefined => {
  if (node.op === "broadcast" || node.op === "reshape") {
    const [x] = node.operands
    return x?.op === "constant" ? uniform(x) : undefined
  }
  if (node.op !== "constant") return undefined
  const [first] = node.attrs.values
  return first !== undefined && node.attrs.values.every((v) => Object.is(v, first)) ? first : undefined
}

/** Extends the bindings so that the pattern stands for the node; commutative ops match in both orders. */
export const match = (p: Pattern, node: Node.Node, known: Bindings = new Map()): Bindings | undefined => {
  const bind = (name: string): Bindings | undefined => {
    const bound = known.get(name)
    if (bound !== undefined) return bound === node ? known : undefined
    return new Map(known).set(name, node)
  }
  switch (p._tag) {
    case "variable":
      return bind(p.name)
    case "constant":
      return uniform(node) === undefined ? undefined : bind(p.name)
    case "number":
      return Object.is(uniform(node), p.value) ? known : undefined
    case "apply": {
      if (node.op !== p.op || node.operands.length !== p.args.length) return undefined
      const own = p.name === undefined ? known : bind(p.name)
      if (own === undefined) return undefined
      const [a, b] = p.args
      const straight = matchAll(p.args, node.operands, own)
      if (
        straight !== undefined ||
        Node.specOf(p.op).facts.commutative !== true ||
        a === undefined ||
        b === undefined
      ) {
        return straight
      }
      return matchAll([b, a], node.operands, own)
    }
  }
}

const matchAll = (
  patterns: ReadonlyArray<Pattern>,
  nodes: ReadonlyArray<Node.Node>,
  known: Bindings
): Bindings | undefined =>
  patterns.reduce<Bindings | undefined>((own, p, i) => own && match(p, nodes[i] as Node.Node, own), known)
