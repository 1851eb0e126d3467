import type * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import type { Dims } from "./dims.ts"
import { type SizesOf, shapeOf } from "./movement.ts"
import { castNode, type Floating, floatNode, scalar, wide } from "./operand.ts"
import * as Site from "./Site.ts"
import { fromNode, isTensor, nodeOf, type Tensor } from "./Tensor.ts"

/**
 * Random numbers are functions of a seed, the same on every backend. A seed is a whole number, or a u32 scalar that a
 * call brings along; one seed gives one tensor for each shape, so different draws need different seeds.
 */
export type Seed = number | Tensor<"u32" | "i32">

const seedNode = (op: string, seed: Seed): IRNode.Node => {
  if (isTensor(seed)) return castNode(nodeOf(seed), "u32")
  if (Number.isSafeInteger(seed) && seed >= 0 && seed < 2 ** 32) return scalar(seed, "u32")
  throw Site.attrError(
    op,
    `${seed} is not a seed`,
    "use a whole number from 0 to 4294967295, or a u32 scalar"
  )
}

const bitsNode = (op: string, seed: Seed, shape: ReadonlyArray<Dim.DimLike>): IRNode.Node =>
  Site.emit("random_bits", [seedNode(op, seed)], { shape: shapeOf(op, shape) })

/** Multiples of 2^-24 in [0, 1): the upper 24 bits, which f32 holds exactly. */
const uniformNode = (
  op: string,
  seed: Seed,
  shape: ReadonlyArray<Dim.DimLike>,
  dtype: "f32" | "f64"
): IRNode.Node => {
  const upper = Site.emit("floor_div", [bitsNode(op, seed, shape), scalar(256, "u32")], {})
  return Site.emit("mul", [castNode(upper, dtype), scalar(2 ** -24, dtype)], {})
}

/** 32 random bits for each element: Threefry-2x32 (Salmon et al. 2011) of seed and position. */
export const randomBits: <const P extends ReadonlyArray<Dim.DimLike>>(
  seed: Seed,
  shape: P
) => Tensor<"u32", SizesOf<P>> = Site.dual(
  () => true,
  (seed: Seed, shape: ReadonlyArray<Dim.DimLike>) => fromNode(bitsNode("randomBits", seed, shape))
)

/** Uniform in [0, 1), in steps of 2^-24; f32. */
export const uniform: <const P extends ReadonlyArray<Dim.DimLike>>(
  seed: Seed,
  shape: P
) => Tensor<"f32", SizesOf<P>> = Site.dual(
  () => true,
  (seed: Seed, shape: ReadonlyArray<Dim.DimLike>) => fromNode(uniformNode("uniform", seed, shape, "f32"))
)

const keepNode = (op: string, seed: Seed, shape: ReadonlyArray<Dim.DimLike>, rate: number): IRNode.Node => {
  if (!(rate >= 0 && rate <= 1))
    throw Site.attrError(op, `a rate of ${rate} is no probability`, "use a number from 0 to 1")
  return Site.emit("ge", [uniformNode(op, seed, shape, "f32"), scalar(rate, "f32")], {})
}

/** Which elements stay: true with probability 1 - rate. */
export const dropoutMask: <const P extends ReadonlyArray<Dim.DimLike>>(
  seed: Seed,
  shape: P,
  rate: number
) => Tensor<"bool", SizesOf<P>> = Site.dual(
  () => true,
  (seed: Seed, shape: ReadonlyArray<Dim.DimLike>, rate: number) =>
    fromNode(keepNode("dropoutMask", seed, shape, rate))
)

export interface DropoutOptions {
  /** The probability that an element becomes 0; the others grow by 1 / (1 - rate). */
  readonly rate: number
  readonly seed: Seed
}

/** Elements that become 0 at random. A rate of 0 changes nothing; of 1, everything is 0. */
export const dropout: {
  (
    options: DropoutOptions
  ): <D extends DType.DType, S extends Dims>(x: Tensor<D, S>) => Tensor<Floating<D>, S>
  <D extends DType.DType, S extends Dims>(x: Tensor<D, S>, options: DropoutOptions): Tensor<Floating<D>, S>
} = Site.dual(
  (args) => args.length > 1,
  (x: Tensor, { rate, seed }: DropoutOptions) => {
    const node = floatNode("dropout", x)
    const keep = keepNode("dropout", seed, node.type.shape, rate)
    if (rate === 0) return fromNode(node)
    const exact = castNode(node, wide(node.type.dtype))
    const factor = scalar(rate === 1 ? 0 : 1 / (1 - rate), exact.type.dtype)
    const kept = Site.emit(
      "select",
      [keep, Site.emit("mul", [exact, factor], {}), scalar(0, exact.type.dtype)],
      {}
    )
    return fromNode(castNode(kept, node.type.dtype))
  }
)
