import type { DType } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { refuse } from "./FileError.ts"

/** Element types that files use: those of the IR, and integers that are converted to them. */
export type Stored = DType | "i64" | "u64" | "i16" | "u16" | "i8" | "u8"

interface Element {
  readonly bytes: number
  /** The dtype it is read as: small integers widen, 64-bit integers narrow after a range check. */
  readonly as: DType
  readonly get: (view: DataView, at: number, little: boolean) => number | bigint
}

const elements: { readonly [S in Stored]: Element } = {
  f64: { bytes: 8, as: "f64", get: (v, at, little) => v.getFloat64(at, little) },
  f32: { bytes: 4, as: "f32", get: (v, at, little) => v.getFloat32(at, little) },
  f16: { bytes: 2, as: "f16", get: (v, at, little) => v.getUint16(at, little) },
  bf16: { bytes: 2, as: "bf16", get: (v, at, little) => v.getUint16(at, little) },
  i64: { bytes: 8, as: "i32", get: (v, at, little) => v.getBigInt64(at, little) },
  u64: { bytes: 8, as: "u32", get: (v, at, little) => v.getBigUint64(at, little) },
  i32: { bytes: 4, as: "i32", get: (v, at, little) => v.getInt32(at, little) },
  u32: { bytes: 4, as: "u32", get: (v, at, little) => v.getUint32(at, little) },
  i16: { bytes: 2, as: "i32", get: (v, at, little) => v.getInt16(at, little) },
  u16: { bytes: 2, as: "u32", get: (v, at, little) => v.getUint16(at, little) },
  i8: { bytes: 1, as: "i32", get: (v, at) => v.getInt8(at) },
  u8: { bytes: 1, as: "u32", get: (v, at) => v.getUint8(at) },
  bool: { bytes: 1, as: "bool", get: (v, at) => (v.getUint8(at) === 0 ? 0 : 1) }
}

export const bytesOf = (stored: Stored): number => elements[stored].bytes

/** What of a file holds one tensor, as error messages call it: `array`, or `tensor "k"`. */
export interface Place {
  readonly file: string
  readonly what: string
}

/** Checks a shape that a file claims, and that its elements take exactly the bytes there are. Nothing is allocated before. */
export const checkShape = (
  { file, what }: Place,
  shape: ReadonlyArray<unknown>,
  stored: Stored,
  available: number
): ReadonlyArray<number> => {
  const sizes = shape.map((size) => {
    if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0) return size
    throw refuse(file, `${what} has the size ${String(size)} in its shape, which is no integer of 0 or more`)
  })
  const bytes = sizes.reduce((a, b) => a * b, 1) * bytesOf(stored)
  if (bytes !== available) {
    const said = `${stored}[${sizes.join(", ")}] takes ${bytes} bytes, but ${available} are there`
    throw refuse(file, `${what}: ${said}`, bytes > available ? "the file may be truncated" : undefined)
  }
  return sizes
}

const narrow = (place: Place, x: bigint, index: number, as: DType): number => {
  const [low, high] = as === "i32" ? [-(2n ** 31n), 2n ** 31n - 1n] : [0n, 2n ** 32n - 1n]
  if (x >= low && x <= high) return Number(x)
  throw refuse(place.file, `${place.what} holds ${x} at element ${index}, which does not fit into ${as}`)
}

const littleHost = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Whether bytes of a file are what the array of the dtype holds in memory. Bools may be any number there. */
const isRaw = (stored: Stored, little: boolean): stored is DType =>
  littleHost && little && stored !== "bool" && elements[stored].as === stored

/** Elements in row-major order from bytes that `checkShape` accepted: over these bytes where they are elements as they lie. */
export const decode = (
  place: Place,
  bytes: Uint8Array,
  stored: Stored,
  shape: ReadonlyArray<number>,
  little = true
): HostArray.HostArray => {
  const { as, get, bytes: width } = elements[stored]
  if (isRaw(stored, little)) {
    const own = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes)
    const data = new HostArray.arrayOf[stored](own.buffer as ArrayBuffer, own.byteOffset, own.length / width)
    return HostArray.make(stored, shape, data)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const array = HostArray.zeros(as, shape)
  for (let i = 0; i < array.data.length; i++) {
    const x = get(view, i * width, little)
    array.data[i] = typeof x === "bigint" ? narrow(place, x, i, as) : x
  }
  return array
}

/** Little-endian bytes of an array: those that it lies in, where the machine is little-endian. */
export const encode = (array: HostArray.HostArray): Uint8Array => {
  const { buffer, byteOffset, byteLength } = array.data
  if (littleHost) return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
  const width = bytesOf(array.dtype)
  const result = new Uint8Array(array.data.length * width)
  const view = new DataView(result.buffer)
  const put: { readonly [D in DType]: (at: number, x: number) => void } = {
    f64: (at, x) => view.setFloat64(at, x, true),
    f32: (at, x) => view.setFloat32(at, x, true),
    f16: (at, x) => view.setUint16(at, x, true),
    bf16: (at, x) => view.setUint16(at, x, true),
    i32: (at, x) => view.setInt32(at, x, true),
    u32: (at, x) => view.setUint32(at, x, true),
    bool: (at, x) => view.setUint8(at, x)
  }
  const write = put[array.dtype]
  array.data.forEach((x: number, i: number) => {
    write(i * width, x)
  })
  return result
}
