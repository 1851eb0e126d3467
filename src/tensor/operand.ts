import * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { Broadcast, Dims, Fits, Shaped } from "./dims.ts"
import * as Site from "./Site.ts"
import { isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/**
 * What arithmetic takes: tensors, and JavaScript numbers and booleans as weak scalars.
 *
 * A weak scalar takes the tensor's dtype, so `mul(x, 0.125)` keeps f16 at f16. Only a number that is not whole meeting
 * integers or bools makes f32, and a whole number meeting bools makes i32. Two tensors meet at `DType.promote`:
 * bool < u32 < i32 < {f16, bf16} < f32 < f64, where f16 and bf16 meet at f32.
 */
export type Operand = Tensor | number | boolean

/** The common dtype of two tensors, as `DType.promote` has it. */
export type Promote<A extends DType.DType, B extends DType.DType> = PromoteTable[A][B]

interface PromoteTable {
  readonly bool: { f64: "f64"; f32: "f32"; f16: "f16"; bf16: "bf16"; i32: "i32"; u32: "u32"; bool: "bool" }
  readonly u32: { f64: "f64"; f32: "f32"; f16: "f16"; bf16: "bf16"; i32: "i32"; u32: "u32"; bool: "u32" }
  readonly i32: { f64: "f64"; f32: "f32"; f16: "f16"; bf16: "bf16"; i32: "i32"; u32: "i32"; bool: "i32" }
  readonly bf16: { f64: "f64"; f32: "f32"; f16: "f32"; bf16: "bf16"; i32: "bf16"; u32: "bf16"; bool: "bf16" }
  readonly f16: { f64: "f64"; f32: "f32"; f16: "f16"; bf16: "f32"; i32: "f16"; u32: "f16"; bool: "f16" }
  readonly f32: { f64: "f64"; f32: "f32"; f16: "f32"; bf16: "f32"; i32: "f32"; u32: "f32"; bool: "f32" }
  readonly f64: { f64: "f64"; f32: "f64"; f16: "f64"; bf16: "f64"; i32: "f64"; u32: "f64"; bool: "f64" }
}

/** Where an op needs floats: floats stay, everything else becomes f32. */
export type Floating<D extends DType.DType> = D extends DType.FloatDType ? D : "f32"

/** Where an op needs numbers: bools become i32. */
export type Numeric<D extends DType.DType> = D extends "bool" ? "i32" : D

type WeakInt<D extends DType.DType, N extends number> = number extends N
  ? Numeric<D> | "f32"
  : `${N}` extends `${bigint}`
    ? Numeric<D>
    : "f32"

type Weak<D extends DType.DType, N> = N extends number ? (D extends DType.FloatDType ? D : WeakInt<D, N>) : D

/** The dtype at which two operands meet. */
export type Meet<A, B> =
  A extends Tensor<infer D, infer _S>
    ? B extends Tensor<infer E, infer _T>
      ? Promote<D, E>
      : Weak<D, B>
    : B extends Tensor<infer E, infer _T>
      ? Weak<E, A>
      : DType.DType

export type ShapeOf<A> = A extends { readonly shape: infer S extends Dims } ? S : readonly []

/** What `B` must also be to broadcast with `A`. */
export type BroadcastFits<A, B, Op extends string> = Fits<Broadcast<ShapeOf<A>, ShapeOf<B>, Op>>

export type BroadcastShape<A, B> = Shaped<Broadcast<ShapeOf<A>, ShapeOf<B>>>

/** A constant scalar. */
export const scalar = (value: number | boolean, dtype: DType.DType): IRNode.Node =>
  Site.emit("constant", [], { values: [Number(value)], type: { dtype, shape: [] } })

export const castNode = (x: IRNode.Node, dtype: DType.DType): IRNode.Node =>
  x.type.dtype === dtype ? x : Site.emit("cast", [x], { dtype })

const weakDType = (value: number | boolean, beside: DType.DType): DType.DType => {
  if (DType.isFloat(beside) || typeof value === "boolean") return beside
  if (!Number.isInteger(value)) return "f32"
  return beside === "bool" ? "i32" : beside
}

const limits: { readonly [D in DType.IntDType]: readonly [number, number] } = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1]
}

/** A scalar of a dtype that holds it. */
const exactScalar = (op: string, value: number | boolean, dtype: DType.DType): IRNode.Node => {
  if (DType.isInt(dtype)) {
    const [least, most] = limits[dtype]
    const number = Number(value)
    if (!(number >= least && number <= most)) {
      throw Site.dtypeError(
        op,
        `${number} is not ${dtype === "u32" ? "a" : "an"} ${dtype}`,
        "cast the tensor to a dtype that holds both"
      )
    }
  }
  return scalar(value, dtype)
}

const checkOperand = (op: string, x: unknown): void => {
  if (isTensor(x) || typeof x === "number" || typeof x === "boolean") return
  throw Site.dtypeError(
    op,
    `takes tensors and numbers, not ${describe(x)}`,
    "make a tensor with Tensor.fromValues or spec"
  )
}

const describe = (x: unknown): string =>
  x === null ? "null" : Array.isArray(x) ? "an array" : typeof x === "object" ? "an object" : typeof x

/** A node for an operand that must be a tensor. */
export const tensorNode = (op: string, x: unknown): IRNode.Node => {
  if (isTensor(x)) return nodeOf(x)
  throw Site.dtypeError(
    op,
    `takes a tensor, not ${describe(x)}`,
    "make a tensor with Tensor.full or Tensor.fromValues"
  )
}

/** The dtype at which operands meet: that of the tensors, then weak scalars. */
export const meet = (op: string, operands: ReadonlyArray<Operand>): DType.DType => {
  operands.forEach((x) => {
    checkOperand(op, x)
  })
  const strong = operands.filter(isTensor).map((x) => x.dtype)
  const weak = operands.filter((x) => !isTensor(x)) as ReadonlyArray<number | boolean>
  if (strong.length === 0) return weak.map((x) => weakDType(x, "bool")).reduce(DType.promote)
  return weak.reduce((dtype: DType.DType, x) => weakDType(x, dtype), strong.reduce(DType.promote))
}

/** Operands as nodes of one dtype. */
export const nodesAs = (
  op: string,
  operands: ReadonlyArray<Operand>,
  dtype: DType.DType
): ReadonlyArray<IRNode.Node> =>
  operands.map((x) => (isTensor(x) ? castNode(nodeOf(x), dtype) : exactScalar(op, x, dtype)))

export const floating = (dtype: DType.DType): DType.DType => (DType.isFloat(dtype) ? dtype : "f32")

export const numeric = (dtype: DType.DType): DType.DType => (dtype === "bool" ? "i32" : dtype)

/** A tensor node in a float dtype. */
export const floatNode = (op: string, x: unknown): IRNode.Node => {
  const node = tensorNode(op, x)
  return castNode(node, floating(node.type.dtype))
}

/** The dtype of sums that must not lose: f64 stays, everything else is f32. */
export const wide = (dtype: DType.DType): "f32" | "f64" => (dtype === "f64" ? "f64" : "f32")
