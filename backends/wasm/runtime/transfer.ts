import * as DType from "../../../ir/DType.ts"
import { arrayOf, type HostArray } from "../../../ir/HostArray.ts"

/** Bytes of a tensor in memory; a bool takes 4. */
export const storageBytes = (dtype: DType.DType, shape: ReadonlyArray<number>): number =>
  shape.reduce((a, b) => a * b, 1) * DType.deviceBytes[dtype]

/** Copies an array into memory. */
export const write = (buffer: ArrayBuffer, address: number, { dtype, data }: HostArray): void => {
  if (dtype === "bool") {
    const words = new Uint32Array(buffer, address, data.length)
    for (let i = 0; i < data.length; i++) words[i] = data[i] === 0 ? 0 : 1
    return
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  new Uint8Array(buffer, address, data.byteLength).set(bytes)
}

/** Copies an array out of memory. */
export const read = (
  buffer: ArrayBuffer,
  address: number,
  dtype: DType.DType,
  shape: ReadonlyArray<number>
): HostArray => {
  const size = shape.reduce((a, b) => a * b, 1)
  if (dtype === "bool") {
    const words = new Uint32Array(buffer, address, size)
    const data = new Uint8Array(size)
    for (let i = 0; i < size; i++) data[i] = words[i] === 0 ? 0 : 1
    return { dtype, shape, data }
  }
  // A copy in memory of its own, which is not filled with zeros first: a slice of shared memory would be shared.
  const there = new arrayOf[dtype](buffer, address, size)
  return { dtype, shape, data: new arrayOf[dtype](there as never) }
}
