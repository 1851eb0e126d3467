import type * as DType from "../../ir/DType.ts"
import type { Broadcast, Dims, Fits, Shaped } from "./dims.ts"
import {
  type BroadcastFits,
  type BroadcastShape,
  type Meet,
  meet,
  nodesAs,
  type Operand,
  type ShapeOf,
  tensorNode
} from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, type Tensor } from "./Tensor.ts"

/** Predicates, logic and choice. */

/** A comparison of two operands, which meet as in arithmetic. */
export interface Comparison<Op extends string> {
  <const B extends Operand>(
    y: B
  ): <A extends Tensor>(x: A & BroadcastFits<A, B, Op>) => Tensor<"bool", BroadcastShape<A, B>>
  <const A extends Operand, const B extends Operand>(
    x: A,
    y: B & BroadcastFits<A, B, Op>
  ): Tensor<"bool", BroadcastShape<A, B>>
}

const combine = (
  op: "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "and" | "or" | "xor",
  x: Operand,
  y: Operand
): Tensor => fromNode(Site.emit(op, nodesAs(op, [x, y], meet(op, [x, y])), {}))

const twoArguments = (args: ReadonlyArray<unknown>): boolean => args.length > 1

const comparison = <Op extends "eq" | "ne" | "lt" | "le" | "gt" | "ge">(op: Op): Comparison<Op> =>
  Site.dual(twoArguments, (x: Operand, y: Operand) => combine(op, x, y))

/** `x = y`. Comparisons with NaN are false, except `ne`. */
export const eq = comparison("eq")
export const ne = comparison("ne")
export const lt = comparison("lt")
export const le = comparison("le")
export const gt = comparison("gt")
export const ge = comparison("ge")

/** Logic of two operands, bitwise on integers. */
export interface Logic<Op extends string> {
  <const B extends Operand>(
    y: B
  ): <A extends Tensor<"bool" | "i32" | "u32">>(
    x: A & BroadcastFits<A, B, Op>
  ) => Tensor<Meet<A, B>, BroadcastShape<A, B>>
  <const A extends Tensor<"bool" | "i32" | "u32"> | number | boolean, const B extends Operand>(
    x: A,
    y: B & BroadcastFits<A, B, Op>
  ): Tensor<Meet<A, B>, BroadcastShape<A, B>>
}

const logic = <Op extends "and" | "or" | "xor">(op: Op): Logic<Op> =>
  Site.dual(twoArguments, (x: Operand, y: Operand) => combine(op, x, y))

/** Logical and; bitwise on integers. */
export const and = logic("and")
/** Logical or; bitwise on integers. */
export const or = logic("or")
/** Exclusive or; bitwise on integers. */
export const xor = logic("xor")

/** Logical not, of bools. */
export const not: <S extends Dims>(x: Tensor<"bool", S>) => Tensor<"bool", S> = Site.located((x: Tensor) =>
  fromNode(Site.emit("not", [tensorNode("not", x)], {}))
) as <S extends Dims>(x: Tensor<"bool", S>) => Tensor<"bool", S>

type Predicate = <D extends DType.FloatDType, S extends Dims>(x: Tensor<D, S>) => Tensor<"bool", S>

/** Whether an element is NaN. */
export const isNaN: Predicate = Site.located((x: Tensor) =>
  fromNode(Site.emit("is_nan", [tensorNode("isNaN", x)], {}))
) as Predicate

/** Whether an element is +inf or -inf. */
export const isInf: Predicate = Site.located((x: Tensor) =>
  fromNode(Site.emit("is_inf", [tensorNode("isInf", x)], {}))
) as Predicate

type Chosen<C extends Dims, A, B> =
  Broadcast<C, ShapeOf<A>, "where"> extends infer R extends Dims
    ? Broadcast<R, ShapeOf<B>, "where">
    : Broadcast<C, ShapeOf<A>, "where">

/** `then` where the condition holds, `otherwise` elsewhere; all three broadcast, the two values meet as in arithmetic. */
export const where: {
  <const A extends Operand, const B extends Operand>(
    then: A,
    otherwise: B
  ): <C extends Dims>(
    condition: Tensor<"bool", C> & Fits<Chosen<C, A, B>>
  ) => Tensor<Meet<A, B>, Shaped<Chosen<C, A, B>>>
  <C extends Dims, const A extends Operand, const B extends Operand>(
    condition: Tensor<"bool", C> & Fits<Chosen<C, A, B>>,
    then: A,
    otherwise: B
  ): Tensor<Meet<A, B>, Shaped<Chosen<C, A, B>>>
} = Site.dual(
  (args) => args.length > 2,
  (condition: Tensor, then: Operand, otherwise: Operand) => {
    const node = tensorNode("where", condition)
    if (node.type.dtype !== "bool") {
      throw Site.dtypeError(
        "where",
        `the condition is a bool, given ${Site.list([node])}`,
        "compare it: Tensor.ne(x, 0)"
      )
    }
    const branches = nodesAs("where", [then, otherwise], meet("where", [then, otherwise]))
    return fromNode(Site.emit("select", [node, ...branches], {}))
  }
)
