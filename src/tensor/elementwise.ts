import * as DType from "../../ir/DType.ts"
import type { OfFamily } from "../../ir/ops.ts"
import type { Dims } from "./dims.ts"
import {
  type BroadcastFits,
  type BroadcastShape,
  castNode,
  type Floating,
  floating,
  floatNode,
  type Meet,
  meet,
  type Numeric,
  nodesAs,
  numeric,
  type Operand,
  tensorNode
} from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, type Tensor } from "./Tensor.ts"

/** One result element from one element of each operand; operands broadcast as in NumPy. */

type Unary = <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Floating<D>, S>

type Exact = <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Numeric<D>, S>

/** The type of an arithmetic op of two operands; `Op` names it in messages. */
export interface Binary<Op extends string> {
  <const B extends Operand>(
    y: B
  ): <A extends Tensor>(x: A & BroadcastFits<A, B, Op>) => Tensor<Numeric<Meet<A, B>>, BroadcastShape<A, B>>
  <const A extends Operand, const B extends Operand>(
    x: A,
    y: B & BroadcastFits<A, B, Op>
  ): Tensor<Numeric<Meet<A, B>>, BroadcastShape<A, B>>
}

/** As `Binary`, with a float result. */
export interface FloatBinary<Op extends string> {
  <const B extends Operand>(
    y: B
  ): <A extends Tensor>(x: A & BroadcastFits<A, B, Op>) => Tensor<Floating<Meet<A, B>>, BroadcastShape<A, B>>
  <const A extends Operand, const B extends Operand>(
    x: A,
    y: B & BroadcastFits<A, B, Op>
  ): Tensor<Floating<Meet<A, B>>, BroadcastShape<A, B>>
}

type Without = { readonly [K in never]: never }

/** Elementwise ops without attributes. */
type PlainOp = Exclude<OfFamily<"elementwise">, "cast">

const none: Without = {}

const unary = (name: string, op: PlainOp): Unary =>
  Site.located((x: Tensor) => fromNode(Site.emit(op, [floatNode(name, x)], none))) as Unary

const exact = (name: string, op: PlainOp): Exact =>
  Site.located((x: Tensor) => {
    const node = tensorNode(name, x)
    return fromNode(Site.emit(op, [castNode(node, numeric(node.type.dtype))], none))
  }) as Exact

/** Integers are whole already: they pass unchanged. */
const rounding = (name: string, op: PlainOp): Exact =>
  Site.located((x: Tensor) => {
    const node = tensorNode(name, x)
    const dtype = numeric(node.type.dtype)
    return fromNode(dtype === floating(dtype) ? Site.emit(op, [node], none) : castNode(node, dtype))
  }) as Exact

const binaryTensor = (
  name: string,
  op: PlainOp,
  x: Operand,
  y: Operand,
  dtypeOf: (d: DType.DType) => DType.DType
): Tensor => fromNode(Site.emit(op, nodesAs(name, [x, y], dtypeOf(meet(name, [x, y]))), none))

const twoArguments = (args: ReadonlyArray<unknown>): boolean => args.length > 1

const binary = <Op extends string>(name: Op, op: PlainOp): Binary<Op> =>
  Site.dual(twoArguments, (x: Operand, y: Operand) => binaryTensor(name, op, x, y, numeric))

const floatBinary = <Op extends string>(name: Op, op: PlainOp): FloatBinary<Op> =>
  Site.dual(twoArguments, (x: Operand, y: Operand) => binaryTensor(name, op, x, y, floating))

/** `x + y`. */
export const add = binary("add", "add")
/** `x - y`. */
export const sub = binary("sub", "sub")
/** `x * y`. */
export const mul = binary("mul", "mul")
/** `x / y`; integers become f32 first. */
export const div = floatBinary("div", "div")
/** The quotient rounded down; an integer divided by 0 gives 0. */
export const floorDiv = binary("floorDiv", "floor_div")
/** The remainder with the sign of `y`; an integer modulo 0 gives 0. */
export const mod = binary("mod", "mod")
/** The smaller of two elements; NaN if either is. */
export const minimum = binary("minimum", "min")
/** The larger of two elements; NaN if either is. */
export const maximum = binary("maximum", "max")

/** `x` to the power of `y`; integers become f32 first. A written 2 is a product, which is exact where a power need not be. */
export const pow: FloatBinary<"pow"> = Site.dual(twoArguments, (x: Operand, y: Operand) =>
  y === 2 ? binaryTensor("pow", "mul", x, x, floating) : binaryTensor("pow", "pow", x, y, floating)
)

/** Natural exponential. Integers become f32 here and below. */
export const exp = unary("exp", "exp")
/** Two to the power of x. */
export const exp2 = unary("exp2", "exp2")
/** Natural logarithm. */
export const log = unary("log", "log")
export const sqrt = unary("sqrt", "sqrt")
/** One over the square root. */
export const rsqrt = unary("rsqrt", "rsqrt")
/** Sine of an angle in radians. */
export const sin = unary("sin", "sin")
/** Cosine of an angle in radians. */
export const cos = unary("cos", "cos")
export const tanh = unary("tanh", "tanh")
/** The error function. */
export const erf = unary("erf", "erf")
/** `1 / (1 + exp(-x))`. */
export const sigmoid = unary("sigmoid", "sigmoid")

export const neg = exact("neg", "neg")
export const abs = exact("abs", "abs")
/** -1, 0 or 1. */
export const sign = exact("sign", "sign")
export const floor = rounding("floor", "floor")
export const ceil = rounding("ceil", "ceil")
/** The nearest whole number, halves to even. */
export const round = rounding("round", "round")

/** `x * x`. */
export const square: Exact = Site.located((x: Tensor) => {
  const node = tensorNode("square", x)
  const own = castNode(node, numeric(node.type.dtype))
  return fromNode(Site.emit("mul", [own, own], none))
}) as Exact

/** One over x; integers become f32 first. */
export const reciprocal: Unary = Site.located((x: Tensor) =>
  binaryTensor("reciprocal", "div", 1, x, floating)
) as Unary

/** Elements below `low` become `low`, elements above `high` become `high`; either may be left out. */
export const clip: {
  (bounds: {
    readonly low?: Operand
    readonly high?: Operand
  }): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Numeric<D>, S>
  <D extends DType.DType, S extends Dims>(
    x: Tensor<D, S>,
    bounds: { readonly low?: Operand; readonly high?: Operand }
  ): Tensor<Numeric<D>, S>
} = Site.dual(twoArguments, (x: Tensor, bounds: { readonly low?: Operand; readonly high?: Operand }) => {
  const raised = bounds.low === undefined ? x : binaryTensor("clip", "max", x, bounds.low, numeric)
  return bounds.high === undefined ? raised : binaryTensor("clip", "min", raised, bounds.high, numeric)
})

/** Another element type. Floats round to nearest even; floats to integers truncate and saturate; bool is `!= 0`. */
export const cast: {
  <E extends DType.DType>(dtype: E): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<E, S>
  <D extends DType.DType, S extends Dims, E extends DType.DType>(x: Tensor<D, S>, dtype: E): Tensor<E, S>
} = Site.dual(twoArguments, (x: Tensor, dtype: DType.DType) => fromNode(castTo(tensorNode("cast", x), dtype)))

const castTo = (node: ReturnType<typeof tensorNode>, dtype: DType.DType): ReturnType<typeof tensorNode> => {
  if (!DType.isDType(dtype)) {
    throw Site.dtypeError(
      "cast",
      `there is no element type ${JSON.stringify(dtype)}`,
      `use one of ${DType.all.join(", ")}`
    )
  }
  return castNode(node, dtype)
}
