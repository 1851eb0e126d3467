import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"

/** Scalar arithmetic as IR, folded where operands are numbers: what a range region is written in. */

const integer = { dtype: "i32", shape: [] } as const

export const int = (value: number): Node.Node =>
  Node.make("constant", [], { values: [value], type: integer }) as Node.Node

export const valueOf = (x: Node.Node): number | undefined =>
  x.op === "constant" && x.attrs.values.length === 1 ? x.attrs.values[0] : undefined

const make = (op: OpName, ...operands: ReadonlyArray<Node.Node>): Node.Node =>
  Node.make(op, operands, {} as never) as Node.Node

export const add = (a: Node.Node, b: Node.Node): Node.Node => {
  const [x, y] = [valueOf(a), valueOf(b)]
  if (x !== undefined && y !== undefined) return int(x + y)
  if (x === 0) return b
  return y === 0 ? a : make("add", a, b)
}

export const sub = (a: Node.Node, b: Node.Node): Node.Node => {
  const [x, y] = [valueOf(a), valueOf(b)]
  if (x !== undefined && y !== undefined) return int(x - y)
  return y === 0 ? a : make("sub", a, b)
}

export const times = (a: Node.Node, factor: number): Node.Node => {
  const x = valueOf(a)
  if (x !== undefined) return int(x * factor)
  return factor === 1 ? a : factor === -1 ? make("neg", a) : make("mul", a, int(factor))
}

export const floorDiv = (a: Node.Node, by: number): Node.Node => {
  const x = valueOf(a)
  if (x !== undefined) return int(Math.floor(x / by))
  return by === 1 ? a : make("floor_div", a, int(by))
}

export const floorDivBy = (a: Node.Node, by: Node.Node): Node.Node =>
  valueOf(a) === 0 ? a : make("floor_div", a, by)

export const product = (a: Node.Node, b: Node.Node): Node.Node => (valueOf(a) === 0 ? a : make("mul", a, b))

export const min = (a: Node.Node, b: Node.Node): Node.Node => {
  const [x, y] = [valueOf(a), valueOf(b)]
  if (x !== undefined && y !== undefined) return int(Math.min(x, y))
  return a === b ? a : make("min", a, b)
}

export const max = (a: Node.Node, b: Node.Node): Node.Node => {
  const [x, y] = [valueOf(a), valueOf(b)]
  if (x !== undefined && y !== undefined) return int(Math.max(x, y))
  return a === b ? a : make("max", a, b)
}

/** A condition: decided now, or a bool in the region. */
export type Condition = boolean | Node.Node

const compare =
  (
    op: "lt" | "le" | "eq",
    holds: (x: number, y: number) => boolean
  ): ((a: Node.Node, b: Node.Node) => Condition) =>
  (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)]
    return x !== undefined && y !== undefined ? holds(x, y) : make(op, a, b)
  }

export const lt = compare("lt", (x, y) => x < y)
export const le = compare("le", (x, y) => x <= y)
export const eq = compare("eq", (x, y) => x === y)

export const both = (a: Condition, b: Condition): Condition =>
  typeof a === "boolean" ? (a ? b : false) : typeof b === "boolean" ? (b ? a : false) : make("and", a, b)

export const not = (a: Condition): Condition => (typeof a === "boolean" ? !a : make("not", a))

export const select = (condition: Condition, then: Node.Node, otherwise: Node.Node): Node.Node => {
  if (typeof condition === "boolean") return condition ? then : otherwise
  if (then === otherwise) return then
  return valueOf(then) !== undefined && valueOf(then) === valueOf(otherwise)
    ? then
    : make("select", condition, then, otherwise)
}

/** `x` within low..high. */
export const clamp = (x: Node.Node, low: Node.Node, high: Node.Node): Node.Node => min(max(x, low), high)
