import * as DType from "./DType.ts"
import { DTypeError, ShapeError } from "./errors.ts"
import * as Half from "./Half.ts"
import * as Scalar from "./Scalar.ts"

/** The typed array that holds each dtype: f16 and bf16 as raw bits, bool as 0 and 1. */
export interface DataOf {
  readonly f64: Float64Array
  readonly f32: Float32Array
  readonly f16: Uint16Array
  readonly bf16: Uint16Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly bool: Uint8Array
}

/** A tensor in host memory: row-major, without gaps. */
export interface HostArray<D extends DType.DType = DType.DType> {
  readonly dtype: D
  readonly shape: ReadonlyArray<number>
  readonly data: DataOf[D]
}

/** Constructors of the typed array of each dtype. */
export const arrayOf = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array
} as const

/** Number of elements of a shape; a size that is negative, broken, or a product past 2^53 is a `ShapeError`. */
export const sizeOf = (shape: ReadonlyArray<number>): number => {
  let size = 1
  for (const axis of shape) {
    if (!Number.isSafeInteger(axis) || axis < 0) {
      throw new ShapeError({
        message: `[${shape.join(", ")}] is not a shape: sizes are integers of 0 or more`
      })
    }
    size *= axis
  }
  if (!Number.isSafeInteger(size))
    throw new ShapeError({ message: `[${shape.join(", ")}] has more elements than can be counted` })
  return size
}

export const isHostArray = (x: unknown): x is HostArray =>
  typeof x === "object" &&
  x !== null &&
  DType.isDType((x as HostArray).dtype) &&
  Array.isArray((x as HostArray).shape) &&
  ArrayBuffer.isView((x as HostArray).data)

/**
 * Checks that the data fills the shape and that its typed array is the one of the dtype. Throws `ShapeError` or
 * `DTypeError`; returns the array.
 */
export const validate = <A extends HostArray>(array: A): A => {
  const wanted = arrayOf[array.dtype]
  if (!(array.data instanceof wanted)) {
    throw new DTypeError({
      message: `${array.dtype} data is a ${wanted.name}, not ${Object.prototype.toString.call(array.data).slice(8, -1)}`,
      hint: "build it with HostArray.fromNumbers of effuse/ir"
    })
  }
  const size = sizeOf(array.shape)
  if (array.data.length !== size) {
    throw new ShapeError({
      message: `${array.data.length} elements do not fill ${array.dtype}[${array.shape.join(", ")}], which holds ${size}`
    })
  }
  return array
}

/** An array over existing data, which is not copied. Throws `ShapeError` or `DTypeError` where they do not fit. */
export const make = <D extends DType.DType>(
  dtype: D,
  shape: ReadonlyArray<number>,
  data: DataOf[D]
): HostArray<D> => validate({ dtype, shape, data })

const allocate = <D extends DType.DType>(dtype: D, size: number): DataOf[D] =>
  new arrayOf[dtype](size) as DataOf[D]

/** All elements zero, or false. */
export const zeros = <D extends DType.DType>(dtype: D, shape: ReadonlyArray<number>): HostArray<D> => ({
  dtype,
  shape,
  data: allocate(dtype, sizeOf(shape))
})

/** From numbers in row-major order: floats round to nearest even, integers truncate and saturate, bool is `!= 0`. */
export const fromNumbers = <D extends DType.DType>(
  dtype: D,
  shape: ReadonlyArray<number>,
  numbers: ArrayLike<number>
): HostArray<D> => {
  const size = sizeOf(shape)
  if (numbers.length !== size) {
    throw new ShapeError({
      message: `${numbers.length} numbers do not fill ${dtype}[${shape.join(", ")}], which holds ${size}`
    })
  }
  const data = allocate(dtype, size)
  const encode = encoder(dtype)
  for (let i = 0; i < size; i++) data[i] = encode(numbers[i] as number)
  return { dtype, shape, data }
}

/** A scalar. */
export const scalar = <D extends DType.DType>(dtype: D, value: number): HostArray<D> =>
  fromNumbers(dtype, [], [value])

const encoder = (dtype: DType.DType): ((x: number) => number) =>
  dtype === "f16" ? Half.f16Bits : dtype === "bf16" ? Half.bf16Bits : Scalar.saturate[dtype]

const decoder = (dtype: DType.DType): ((stored: number) => number) =>
  dtype === "f16" ? Half.f16Value : dtype === "bf16" ? Half.bf16Value : (x) => x

/** The elements as numbers, whatever the dtype; a bool is 0 or 1. */
export const toNumbers = (array: HostArray): Float64Array => {
  if (array.dtype !== "f16" && array.dtype !== "bf16") return Float64Array.from(array.data)
  return Float64Array.from(array.data, decoder(array.dtype))
}

/** The element at a row-major index. */
export const get = (array: HostArray, index: number): number =>
  decoder(array.dtype)(array.data[index] as number)

/** Stores a number at a row-major index, converted as `fromNumbers` does. */
export const set = (array: HostArray, index: number, value: number): void => {
  array.data[index] = encoder(array.dtype)(value)
}

/** Bytes of the data. */
export const byteLength = (array: HostArray): number => array.data.byteLength
