/**
 * Tensor expressions: what a person writes and the compiler reads.
 *
 * Every function takes the tensor first, or, without it, returns a function for `pipe`. Axes count from 0, or from -1 at the
 * end. Numbers and bools mix with tensors as weak scalars. Mistakes are thrown where they are made, as `ShapeError`, `DTypeError`
 * or `AttrError` that know their line; those that TypeScript can see do not compile.
 */
export * from "./tensor/compare.ts"
export * from "./tensor/contract.ts"
export type { Dims, Refused, Size } from "./tensor/dims.ts"
export * from "./tensor/elementwise.ts"
export * from "./tensor/movement.ts"
export * from "./tensor/normalise.ts"
export type { Operand } from "./tensor/operand.ts"
export { all, any, max, mean, min, prod, sum, variance } from "./tensor/reduce.ts"
export { fromNode, input, isTensor, label, nodeOf, type Tensor } from "./tensor/Tensor.ts"
