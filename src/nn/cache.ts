import { ShapeError } from "../errors.ts"
import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"

/** Heads of keys or values with this call's rows written behind those that are there: [B, M, C, D] and [B, M, T, D]. */
const written = (name: string, own: Tensor.Tensor, rows: Tensor.Tensor, cache: Cache): Tensor.Tensor => {
  const fits = own.rank === rows.rank && [1, 3].every((axis) => own.shape[axis] === rows.shape[axis])
  if (!fits) {
    throw new ShapeError({
      op: "attention",
      message: `the cached ${name} is ${own}, this call's ${rows}`,
      hint: "a cache is [B, M, C, D]: one position for each key it can hold"
    })
  }
  return Tensor.updateSlice(own, rows, cache.length as Tensor.Tensor<"i32">, {
    axis: 2,
    wrap: cache.ring ?? false
  }) as Tensor.Tensor
}

/** The cache after a call that brings T keys. */
export const append = (cache: Cache, key: Tensor.Tensor, value: Tensor.Tensor): Cache => ({
  ...cache,
  key: written("keys", cache.key, key, cache),
  value: written("values", cache.value, value, cache),
  length: Tensor.add(cache.length, Tensor.dim(key.shape[2] as number)) as Tensor.Tensor
})
