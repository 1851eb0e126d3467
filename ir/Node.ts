import { Result } from "effect"
import type * as Attr from "./Attr.ts"
import type { Monomial } from "./Dim.ts"
import { AttrError, DTypeError, type Location, type NodeError, ShapeError } from "./errors.ts"
import type { Graph } from "./Graph.ts"
import type { Facts, Family, Inferred } from "./Op.ts"
import { type OpName, type Ops, ops } from "./ops.ts"
import { print, type TensorType } from "./TensorType.ts"

/** Regions are seen as their boundary by shape rules and as whole graphs everywhere else. */
type WithGraphs<A> = A extends Attr.Region ? Graph : A

/** The attributes of an op. */
export type AttrsOf<K extends OpName> = {
  readonly [A in keyof Attr.Of<Ops[K]["attrs"]>]: WithGraphs<Attr.Of<Ops[K]["attrs"]>[A]>
}

/** One operation applied to the results of others. Immutable; equality is identity once a `Graph` holds it. */
export interface NodeOf<K extends OpName> {
  readonly op: K
  readonly operands: ReadonlyArray<Node>
  readonly attrs: AttrsOf<K>
  readonly type: TensorType
  /** The line that wrote it, where known. Not part of its meaning. */
  readonly at?: Location | undefined
  /** A name for people. Not part of its meaning. */
  readonly label?: string | undefined
}

/** Any node; `node.op` narrows the attributes. */
export type Node = { [K in OpName]: NodeOf<K> }[OpName]

export interface Origin {
  readonly at?: Location | undefined
  readonly label?: string | undefined
}

/** An op's record as consumers see it when the op is not known statically. */
export interface AnyOp {
  readonly name: string
  readonly family: Family
  readonly summary: string
  readonly example: string
  readonly operands: ReadonlyArray<string>
  readonly attrs: Attr.Schema
  readonly infer: (operands: ReadonlyArray<TensorType>, attrs: never) => Inferred
  readonly scalar?: (...operands: Array<number>) => number
  readonly facts: Facts
}

export const specOf = (op: OpName): AnyOp => ops[op]

/** How many operands an op takes; `most` is undefined where it takes any number. */
export const arity = (op: OpName): { readonly least: number; readonly most: number | undefined } => {
  const names = specOf(op).operands
  const variadic = names.at(-1)?.endsWith("...") === true
  return variadic ? { least: names.length - 1, most: undefined } : { least: names.length, most: names.length }
}

/** Says so where an op does not take that many operands. */
export const wrongCount = (op: OpName, count: number): string | undefined => {
  const { least, most } = arity(op)
  if (count >= least && (most === undefined || count <= most)) return undefined
  const takes = `${least}${most === undefined ? " or more" : ""} operand${least === 1 && most === 1 ? "" : "s"}`
  return `${op}: takes ${takes}, not ${count}`
}

/** Runs an op's shape rule. Throws what it throws, and a `ShapeError` where a size of the result would be negative. */
export const infer = (op: OpName, operands: ReadonlyArray<TensorType>, attrs: object): Inferred => {
  const inferred = specOf(op).infer(operands, attrs as never)
  // A positive term leads where there is one.
  const negative = inferred.type.shape.find(
    (d) => d.terms.length > 0 && (d.terms[0] as Monomial).coefficient < 0
  )
  if (negative === undefined) return inferred
  throw new ShapeError({ op, message: `${op}: gives ${print(inferred.type)}, but no size is negative` })
}

const located = (error: NodeError, at: Location): NodeError => {
  const { what: message, op, hint } = error
  const fields = { message, at, ...(op === undefined ? {} : { op }), ...(hint === undefined ? {} : { hint }) }
  if (error instanceof ShapeError) return new ShapeError(fields)
  return error instanceof DTypeError ? new DTypeError(fields) : new AttrError(fields)
}

/** Builds a node; its type comes from the op's shape rule, which throws a `NodeError` on operands it cannot take. */
export const make = <K extends OpName>(
  op: K,
  operands: ReadonlyArray<Node>,
  attrs: AttrsOf<K>,
  origin: Origin = {}
): NodeOf<K> => {
  const miscount = wrongCount(op, operands.length)
  if (miscount !== undefined) throw new AttrError({ op, message: miscount, at: origin.at })
  try {
    const { type } = infer(
      op,
      operands.map((o) => o.type),
      attrs
    )
    return { op, operands, attrs, type, ...origin }
  } catch (error) {
    const known = error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError
    throw known && error.at === undefined && origin.at !== undefined ? located(error, origin.at) : error
  }
}

/** `make` for callers that expect failure, such as the parser. */
export const tryMake = <K extends OpName>(
  op: K,
  operands: ReadonlyArray<Node>,
  attrs: AttrsOf<K>,
  origin: Origin = {}
): Result.Result<NodeOf<K>, NodeError> =>
  Result.try({ try: () => make(op, operands, attrs, origin), catch: (error) => error as NodeError })

export const is = <K extends OpName>(node: Node, op: K): node is Extract<Node, NodeOf<K>> => node.op === op

/** The same node over other operands, of the same types or not: the type is inferred again. */
export const withOperands = (node: Node, operands: ReadonlyArray<Node>): Node =>
  operands.every((o, i) => o === node.operands[i]) && operands.length === node.operands.length
    ? node
    : (make(node.op, operands, node.attrs as never, { at: node.at, label: node.label }) as Node)

/**
 * Nodes that `roots` depend on, operands before users, roots included; each once, in a deterministic order. No recursion, so a
 * graph of a million nodes is walked like any other. Nodes that `known` names, and what only they reach, are left out.
 */
export const postOrder = (
  roots: Iterable<Node>,
  known: { readonly has: (node: Node) => boolean } = new Set()
): ReadonlyArray<Node> => {
  const done = new Set<Node>()
  const order: Array<Node> = []
  // The path from a root: its nodes, and beside each the operand to visit next.
  const path: Array<Node> = []
  const next: Array<number> = []
  const enter = (node: Node): void => {
    if (done.has(node) || known.has(node)) return
    path.push(node)
    next.push(0)
  }
  for (const root of roots) {
    enter(root)
    while (path.length > 0) {
      const top = path.length - 1
      const node = path[top] as Node
      const at = next[top] as number
      next[top] = at + 1
      const operand = node.operands[at]
      if (operand !== undefined) enter(operand)
      else {
        done.add(node)
        order.push(node)
        path.pop()
        next.pop()
      }
    }
  }
  return order
}
