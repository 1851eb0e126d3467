import * as DType from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import * as Scalar from "../../ir/Scalar.ts"
import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

/** The meaning of an op on one element. Integer products are exact modulo 2^32, which a float64 product is not. */
export const scalarOf = (node: Node.Node): ((...operands: Array<number>) => number) => {
  if (node.op === "mul" && DType.isInt(node.type.dtype))
    return Math.imul as (...operands: Array<number>) => number
  if (node.op === "cast") return castOf(node)
  const { scalar } = Node.specOf(node.op)
  if (scalar === undefined) throw new Error(`${node.op} has no meaning on one element`)
  return scalar
}

/** A float narrowed to a float is rounded where its result is stored; the oracle does not round. */
const castOf = (node: Node.NodeOf<"cast">): ((x: number) => number) => {
  const from = (node.operands[0] as Node.Node).type.dtype
  const to = node.type.dtype
  return DType.isFloat(to) ? (x) => x : Scalar.cast(from, to)
}

/** An operand spread over the shape of the result. */
const spread = (operand: Value, shape: ReadonlyArray<number>): Float64Array => {
  const same =
    operand.shape.length === shape.length && operand.shape.every((size, axis) => size === shape[axis])
  if (same) return operand.data
  return Addresses.read(
    operand.data,
    Addresses.addresses(shape, Addresses.broadcastStrides(operand.shape, shape))
  )
}

const map = (node: Node.Node, operands: ReadonlyArray<Value>, shape: ReadonlyArray<number>): Float64Array => {
  const scalar = scalarOf(node)
  const [x, y, z] = operands.map((operand) => spread(operand, shape))
  const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
  if (x === undefined) throw new Error(`${node.op} has no operand`)
  if (y === undefined) for (let i = 0; i < result.length; i++) result[i] = scalar(x[i] as number)
  else if (z === undefined)
    for (let i = 0; i < result.length; i++) result[i] = scalar(x[i] as number, y[i] as number)
  else
    for (let i = 0; i < result.length; i++) result[i] = scalar(x[i] as number, y[i] as number, z[i] as number)
  return result
}

/** One element from one element of each operand. */
export const elementwise = {
  neg: map,
  abs: map,
  sign: map,
  floor: map,
  ceil: map,
  round: map,
  exp: map,
  exp2: map,
  log: map,
  sqrt: map,
  rsqrt: map,
  sin: map,
  cos: map,
  tanh: map,
  erf: map,
  sigmoid: map,
  not: map,
  add: map,
  sub: map,
  mul: map,
  div: map,
  floor_div: map,
  mod: map,
  pow: map,
  min: map,
  max: map,
  and: map,
  or: map,
  xor: map,
  cast: map,
  eq: map,
  ne: map,
  lt: map,
  le: map,
  gt: map,
  ge: map,
  is_nan: map,
  is_inf: map,
  select: map
} satisfies Partial<Kernels<Node.Node["op"]>>
