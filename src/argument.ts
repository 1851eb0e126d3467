import { Result } from "effect"
import type { DeviceArray, Value } from "../backends/Backend.ts"
import * as DType from "../ir/DType.ts"
import * as HostArray from "../ir/HostArray.ts"
import { DTypeError, ShapeError, SignatureError } from "./errors.ts"

/** Dtype and sizes for people: `f32[1, 8, 512, 64]`. */
export const printArray = ({ dtype, shape }: Value): string => `${dtype}[${shape.join(", ")}]`

/** Tells a device array from host arrays, and from records of arrays. */
export const isDeviceArray = (value: object): value is DeviceArray =>
  (value as DeviceArray)._tag === "DeviceArray"

/** Where an engine has Float16Array, people use it; it holds the bits that an f16 array holds. */
const bitsOf = (array: HostArray.HostArray): HostArray.HostArray => {
  if (array.dtype !== "f16" || Object.prototype.toString.call(array.data) !== "[object Float16Array]")
    return array
  const { buffer, byteOffset, byteLength } = array.data
  return { ...array, data: new Uint16Array(buffer, byteOffset, byteLength / 2) }
}

/** Checks that a value is a tensor at all: fields, sizes, and data that fills the shape. */
export const argument = (name: string, value: unknown): Result.Result<Value, SignatureError> => {
  const refuse = (message: string, hint = "pass { dtype, shape, data } or a device array") =>
    Result.fail(
      new SignatureError({ input: name, message: `input ${JSON.stringify(name)}: ${message}`, hint })
    )
  if (typeof value !== "object" || value === null) return refuse(`${typeof value} is not a tensor`)
  const array = value as HostArray.HostArray
  if (!DType.isDType(array.dtype)) {
    return refuse(`unknown dtype ${JSON.stringify(array.dtype)}`, `use ${DType.all.join(", ")}`)
  }
  if (!Array.isArray(array.shape) || !array.shape.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    return refuse("its shape is not a list of sizes of 0 or more")
  }
  if (isDeviceArray(value)) return Result.succeed(value)
  try {
    return Result.succeed(HostArray.validate(bitsOf(array)))
  } catch (cause) {
    const known = cause instanceof ShapeError || cause instanceof DTypeError
    return known ? refuse(cause.what, cause.hint) : refuse(String(cause))
  }
}
