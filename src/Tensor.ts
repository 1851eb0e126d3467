/**
 * Tensor expressions: what a person writes and the compiler reads.
 *
 * Every function takes the tensor first, or, without it, returns a function for `pipe`. Axes count from 0, or from -1 at the
 * end. Tensors meet at bool < u32 < i32 < {f16, bf16} < f32 < f64, where f16 and bf16 meet at f32; numbers and bools are weak scalars that
 * take the tensor's dtype, except that a number that is not whole makes f32 of integers. Mistakes are thrown where they are made, as `ShapeError`, `DTypeError`
 * or `AttrError` that know their line; those that TypeScript can see do not compile.
 */
export * from "./tensor/activation.ts"
export * from "./tensor/compare.ts"
export * from "./tensor/contract.ts"
export type { Dims, Refused, Size } from "./tensor/dims.ts"
export { einsum } from "./tensor/einsum.ts"
export * from "./tensor/elementwise.ts"
export { gather, oneHot, scatter, take, takeAlongAxis, updateSlice } from "./tensor/indexing.ts"
export { concat, flip, pad, slice, split, stack } from "./tensor/join.ts"
export { broadcastTo, permute, repeatHeads, reshape, transpose } from "./tensor/movement.ts"
export { layerNorm, logSoftmax, logSumExp, rmsNorm, softmax } from "./tensor/normalise.ts"
export type { Operand } from "./tensor/operand.ts"
export { dropout, dropoutMask, randomBits, uniform } from "./tensor/random.ts"
export { all, any, argmax, argmin, cumsum, max, mean, min, prod, sum, variance } from "./tensor/reduce.ts"
export { type RopeOptions, rope } from "./tensor/rope.ts"
export { expandDims, flatten, moveAxis, repeat, squeeze, swapAxes, tile } from "./tensor/shaping.ts"
export {
  arange,
  constant,
  dim,
  fromValues,
  full,
  iota,
  ones,
  positions,
  size,
  tril,
  triu,
  zeros
} from "./tensor/source.ts"
export { fromNode, input, isTensor, label, nodeOf, type Tensor } from "./tensor/Tensor.ts"
