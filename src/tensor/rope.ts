import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { Dims } from "./dims.ts"
import { sliceNode } from "./join.ts"
import { reshapeNode } from "./movement.ts"
import { castNode, type Floating, floatNode, scalar, wide } from "./operand.ts"
import * as Site from "./Site.ts"
import { iotaNode, lengthNode } from "./source.ts"
import { fromNode, isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864). Shapes: T positions, D head size, R rotated part of it.
 */
export interface RopeOptions {
  /** R, even; the rest of D passes unchanged. All of D unless told otherwise. */
  readonly dims?: number | undefined
  /** Pairs are (0, 1), (2, 3), … where true; (0, R/2), (1, R/2 + 1), … where false, the default. */
  readonly interleaved?: boolean | undefined
  /** Pair i turns by position · base^(-2i/R); 10000 unless told otherwise. */
  readonly base?: number | undefined
  /** The angle of pair i at position 1, in place of base: R/2 numbers. */
  readonly frequencies?: ReadonlyArray<number> | undefined
  /** Multiplies cosine and sine, as YaRN does; 1 unless told otherwise. */
  readonly magnitude?: number | undefined
  /** Multiplies positions; 1 unless told otherwise. */
  readonly scale?: number | undefined
  /** The position of the first row; 0 unless told otherwise. A number, a length such as `"P"`, an i32 scalar, or i32 [B]. */
  readonly offset?: Dim.DimLike | Tensor | undefined
  /** Positions themselves, [T] or [B, T], in place of 0, 1, 2, … */
  readonly positions?: Tensor | undefined
  /** Angles' cosine and sine, given: [T, R/2], or anything that broadcasts with [..., T, R/2]; [B, T, R/2] goes around heads. */
  readonly cos?: Tensor | undefined
  readonly sin?: Tensor | undefined
}

const rotatedSize = (x: IRNode.Node, options: RopeOptions): number => {
  const rank = x.type.shape.length
  if (rank < 2)
    throw Site.shapeError(
      "rope",
      `needs axes of positions and of heads' elements, given ${Site.list([x])}`,
      "x is [..., T, D]"
    )
  const whole = Dim.value(Site.sizeAt(x.type.shape, rank - 1))
  if (whole === undefined)
    throw Site.shapeError(
      "rope",
      `the last axis must be a number, given ${Site.list([x])}`,
      "write the head size as a number"
    )
  const rotated = options.dims ?? whole
  if (Number.isSafeInteger(rotated) && rotated > 0 && rotated % 2 === 0 && rotated <= whole) return rotated
  throw Site.attrError(
    "rope",
    `cannot turn ${rotated} of the ${whole} elements of ${Site.list([x])}`,
    "dims is even, and at most the head size"
  )
}

/** A tensor over batch and positions, with axes of 1 between them for the heads: [B, T, ...] to [B, 1, T, ...]. */
const aroundHeads = (angle: IRNode.Node, rank: number): IRNode.Node => {
  const shape = angle.type.shape
  if (shape.length !== 3 || rank <= 3) return angle
  const ones = Array.from({ length: rank - 3 }, () => Dim.one)
  return reshapeNode(angle, [Site.sizeAt(shape, 0), ...ones, ...shape.slice(1)])
}

/** Positions as [T, 1] or [B, 1, …, T, 1], in the accumulator's dtype. */
const positionsNode = (x: IRNode.Node, options: RopeOptions, dtype: DType.DType): IRNode.Node => {
  const { shape } = x.type
  const rank = shape.length
  const rows = Site.sizeAt(shape, rank - 2)
  const column = (node: IRNode.Node): IRNode.Node =>
    aroundHeads(reshapeNode(node, [...node.type.shape, Dim.one]), rank)
  if (options.positions !== undefined) {
    const given = nodeOf(options.positions)
    if (given.type.shape.length !== 1 && given.type.shape.length !== 2) {
      throw Site.shapeError(
        "rope",
        `positions are [T] or [B, T], given ${Site.list([given])}`,
        "reshape or squeeze them"
      )
    }
    return castNode(column(given), dtype)
  }
  const counted = reshapeNode(iotaNode(rows), [rows, Dim.one])
  const { offset } = options
  if (offset === undefined || offset === 0) return castNode(counted, dtype)
  const first = isTensor(offset) ? castNode(nodeOf(offset), "i32") : lengthNode("rope", offset)
  const start =
    first.type.shape.length === 0
      ? first
      : reshapeNode(first, [
          Dim.product(first.type.shape),
          ...Array.from({ length: rank - 1 }, () => Dim.one)
        ])
  return castNode(Site.emit("add", [counted, start], {}), dtype)
}

const computedAngles = (
  x: IRNode.Node,
  options: RopeOptions,
  rotated: number,
  dtype: DType.DType
): IRNode.Node => {
  const base = options.base ?? 10000
  const scale = options.scale ?? 1
  if (!(base > 0 && Number.isFinite(base) && Number.isFinite(scale))) {
    throw Site.attrError(
      "rope",
      `a base of ${base} and a scale of ${scale} give no angles`,
      "use finite numbers, the base above 0"
    )
  }
  const half = rotated / 2
  const given = options.frequencies
  if (given !== undefined && (given.length !== half || !given.every(Number.isFinite))) {
    throw Site.attrError(
      "rope",
      `${given.length} frequencies for ${half} pairs`,
      "give one finite number a pair"
    )
  }
  const values = Array.from({ length: half }, (_, i) => scale * (given?.[i] ?? base ** ((-2 * i) / rotated)))
  const frequencies = Site.emit("constant", [], { values, type: { dtype, shape: [Dim.constant(half)] } })
  return Site.emit("mul", [positionsNode(x, options, dtype), frequencies], {})
}

/** Cosine and sine of the angles, broadcasting with [..., T, R/2]. */
const turns = (
  x: IRNode.Node,
  options: RopeOptions,
  rotated: number,
  dtype: DType.DType
): readonly [IRNode.Node, IRNode.Node] => {
  const { cos, sin } = options
  if ((cos === undefined) !== (sin === undefined)) {
    throw Site.attrError("rope", `${cos === undefined ? "cos" : "sin"} is missing`, "give both, or neither")
  }
  if (cos === undefined || sin === undefined) {
    const angles = computedAngles(x, options, rotated, dtype)
    const { magnitude = 1 } = options
    const turn = (op: "cos" | "sin"): IRNode.Node => {
      const value = Site.emit(op, [angles], {})
      return magnitude === 1 ? value : Site.emit("mul", [value, scalar(magnitude, dtype)], {})
    }
    return [turn("cos"), turn("sin")]
  }
  return [cos, sin].map((t) => aroundHeads(castNode(nodeOf(t), dtype), x.type.shape.length)) as [
    IRNode.Node,
    IRNode.Node
  ]
}

/** The two halves of each pair, and pairs put together again. */
const pairs = (x: IRNode.Node, rotated: number, interleaved: boolean) => {
  const last = x.type.shape.length - 1
  if (interleaved) {
    const even = sliceNode(x, last, { start: 0, stop: rotated, step: 2 })
    const odd = sliceNode(x, last, { start: 1, stop: rotated, step: 2 })
    const join = (a: IRNode.Node, b: IRNode.Node): IRNode.Node => {
      const apart = [a, b].map((n) => reshapeNode(n, [...n.type.shape, Dim.one]))
      const together = Site.emit("concat", apart, { axis: last + 1 })
      return reshapeNode(together, [...a.type.shape.slice(0, -1), Dim.constant(rotated)])
    }
    return { first: even, second: odd, join }
  }
  return {
    first: sliceNode(x, last, { start: 0, stop: rotated / 2 }),
    second: sliceNode(x, last, { start: rotated / 2, stop: rotated }),
    join: (a: IRNode.Node, b: IRNode.Node): IRNode.Node => Site.emit("concat", [a, b], { axis: last })
  }
}

/**
 * Turns pairs of elements of each row by an angle that grows with its position. `x` is [..., T, D]; computed in f32 (f64
 * for f64) and rounded once.
 */
export const rope: {
  (options?: RopeOptions): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, options: RopeOptions): Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>): Tensor<Floating<D>, S>
} = Site.dual(
  (args) => isTensor(args[0]),
  (x: Tensor, options: RopeOptions = {}) => {
    const node = floatNode("rope", x)
    const rotated = rotatedSize(node, options)
    const exact = castNode(node, wide(node.type.dtype))
    const [cos, sin] = turns(exact, options, rotated, exact.type.dtype)
    const { first, second, join } = pairs(exact, rotated, options.interleaved ?? false)
    const mul = (a: IRNode.Node, b: IRNode.Node): IRNode.Node => Site.emit("mul", [a, b], {})
    const turned = join(
      Site.emit("sub", [mul(first, cos), mul(second, sin)], {}),
      Site.emit("add", [mul(second, cos), mul(first, sin)], {})
    )
    const last = exact.type.shape.length - 1
    const whole = Site.sizeAt(exact.type.shape, last)
    const rest = Dim.equals(whole, Dim.constant(rotated))
      ? undefined
      : sliceNode(exact, last, { start: rotated })
    const result = rest === undefined ? turned : Site.emit("concat", [turned, rest], { axis: last })
    return fromNode(castNode(result, node.type.dtype))
  }
)
