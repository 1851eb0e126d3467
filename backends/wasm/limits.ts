import * as Limits from "../../ir/Limits.ts"

/** Bytes in a page of memory. */
export const page = 65536

/** Sizes and addresses are 32-bit words; kernels compare them as numbers with a sign. */
export const mostBytes = 2 ** 31 - page

/** Tiles are the kernels' own: of the limits only those of memory and of operands mean something here. */
export const limits: Limits.Limits = {
  ...Limits.portable,
  kind: "cpu",
  ownTiles: true,
  maxStorageBufferBindingSize: mostBytes,
  maxBufferSize: mostBytes,
  maxStorageBuffersPerShaderStage: 32
}
