import * as DType from "../../../ir/DType.ts"
import type { DataOf, HostArray } from "../../../ir/HostArray.ts"

/** Bytes of a tensor in a storage buffer: rounded up to 16, at least 16, as `Program.storageBytes`. */
export const storageBytes = (dtype: DType.DType, shape: ReadonlyArray<number>): number => {
  const bytes = shape.reduce((a, b) => a * b, 1) * DType.deviceBytes[dtype]
  return Math.max(16, Math.ceil(bytes / 16) * 16)
}

/** The bytes as a storage buffer holds them: bools widened to words, the end padded to a word. */
export const toDevice = (array: HostArray): ArrayBufferView<ArrayBuffer> => {
  if (array.dtype === "bool") return Uint32Array.from(array.data as Uint8Array, (b) => (b === 0 ? 0 : 1))
  const { buffer, byteOffset, byteLength } = array.data
  const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
  if (byteLength % 4 === 0) return bytes
  const padded = new Uint8Array(Math.ceil(byteLength / 4) * 4)
  padded.set(bytes)
  return padded
}

const readers: { readonly [D in DType.DType]: (bytes: ArrayBuffer, size: number) => DataOf[D] } = {
  f64: (bytes, size) => new Float64Array(bytes, 0, size),
  f32: (bytes, size) => new Float32Array(bytes, 0, size),
  f16: (bytes, size) => new Uint16Array(bytes, 0, size),
  bf16: (bytes, size) => new Uint16Array(bytes, 0, size),
  i32: (bytes, size) => new Int32Array(bytes, 0, size),
  u32: (bytes, size) => new Uint32Array(bytes, 0, size),
  bool: (bytes, size) => Uint8Array.from(new Uint32Array(bytes, 0, size), (b) => (b === 0 ? 0 : 1))
}

/** Reads back what a kernel stored; `bytes` is the caller's own copy and becomes the array's. */
export const fromDevice = (
  dtype: DType.DType,
  shape: ReadonlyArray<number>,
  bytes: ArrayBuffer
): HostArray => ({
  dtype,
  shape,
  data: readers[dtype](
    bytes,
    shape.reduce((a, b) => a * b, 1)
  )
})
