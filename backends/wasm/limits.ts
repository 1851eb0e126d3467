import * as Limits from "../../ir/Limits.ts"

/** Bytes in a page of memory. */
export const page = 65536

/** Bytes of a tensor: kernels compare its sizes and the places in it as numbers with a sign. */
export const mostBytes = 2 ** 31 - page

/** Bytes of memory: addresses are added up and never compared, so that they take all 32 bits. Some hosts have half of it. */
export const memories = [2 ** 32 - page, 2 ** 31 - page] as const

/** No array begins before this address. */
export const firstAddress = 1024

/** Tiles are the kernels' own: of the limits only those of memory and of operands mean something here. */
export const limits: Limits.Limits = {
  ...Limits.portable,
  kind: "cpu",
  ownTiles: true,
  maxStorageBufferBindingSize: mostBytes,
  maxBufferSize: mostBytes,
  maxStorageBuffersPerShaderStage: 32
}
