import * as Dim from "../ir/Dim.ts"
import * as DType from "../ir/DType.ts"
import * as IRShape from "../ir/Shape.ts"
import * as TensorType from "../ir/TensorType.ts"
import type { Dims } from "./tensor/dims.ts"
import { type SizesOf, sizeOf } from "./tensor/movement.ts"
import * as Site from "./tensor/Site.ts"
import type { Tensor } from "./tensor/Tensor.ts"

/** The type of an argument: what `compile` needs to know before there is a value. */
export interface Spec<out D extends DType.DType = DType.DType, out S extends Dims = Dims> {
  readonly _tag: "Spec"
  readonly dtype: D
  /** Sizes as in `Tensor.shape`. */
  readonly shape: S
  readonly type: TensorType.TensorType
}

/** The tensor that a spec stands for. */
export type TensorOf<A> = A extends Spec<infer D, infer S> ? Tensor<D, S> : never

/** The tensors that a function of these specs takes. */
export type TensorsOf<Signature extends { readonly [name: string]: Spec }> = {
  readonly [K in keyof Signature]: TensorOf<Signature[K]>
}

/**
 * Describes an argument: `spec("f16", ["B", 32, "T", 64])`.
 *
 * A number is a size that is fixed when the program is compiled; a name is a size that each call brings along, one for all
 * arguments that name it; a polynomial of names, `"P + T"` or one made with `Dim`, is the size that they give.
 *
 * Throws `DTypeError` for an element type that does not exist, and `ShapeError` for a size that is not a whole number
 * of 0 or more or a name that cannot be one.
 */
export const spec: <D extends DType.DType, const S extends ReadonlyArray<Dim.DimLike>>(
  dtype: D,
  shape: S
) => Spec<D, SizesOf<S>> = Site.dual(
  () => true,
  (dtype: DType.DType, shape: ReadonlyArray<Dim.DimLike>): Spec => {
    if (!DType.isDType(dtype)) {
      throw Site.dtypeError(
        "spec",
        `there is no element type ${JSON.stringify(dtype)}`,
        `use one of ${DType.all.join(", ")}`
      )
    }
    if (!Array.isArray(shape)) {
      throw Site.shapeError(
        "spec",
        `a shape is a list of sizes, not ${JSON.stringify(shape)}`,
        'write spec("f32", ["T", 64])'
      )
    }
    const dims = (shape as ReadonlyArray<unknown>).map((size, axis) =>
      sizeOf("spec", size, ` at axis ${axis}`)
    )
    const type = TensorType.make(dtype, IRShape.from(dims))
    return { _tag: "Spec", dtype, shape: dims.map((d) => Dim.value(d) ?? d.key), type }
  }
)
