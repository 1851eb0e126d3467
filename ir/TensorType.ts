import type { DType } from "./DType.ts"
import * as Shape from "./Shape.ts"

/** What a node computes: element type and shape, printed as `f16[B, 32, T, 64]`. */
export interface TensorType {
  readonly dtype: DType
  readonly shape: Shape.Shape
}

export const make = (dtype: DType, shape: Shape.Shape): TensorType => ({ dtype, shape })

export const print = (t: TensorType): string => `${t.dtype}${Shape.print(t.shape)}`

export const equals = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && Shape.equals(a.shape, b.shape)

export const rank = (t: TensorType): number => t.shape.length
