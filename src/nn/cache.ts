import { ShapeError } from "../errors.ts"
import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"
import * as Pages from "./pages.ts"

/** Heads of keys or values with this call's rows written behind those that are there: [B, M, C, D] and [B, M, T, D]. */
const written = (name: string, own: Tensor.Tensor, rows: Tensor.Tensor, cache: Cache): Tensor.Tensor => {
  const { table } = cache
  const heads = table === undefined ? 1 : 2
  const fits = own.rank === 4 && own.shape[heads] === rows.shape[1] && own.shape[3] === rows.shape[3]
  if (!fits) {
    throw new ShapeError({
      op: "attention",
      message: `the cached ${name} is ${own}, this call's ${rows}`,
      hint: "a cache is [B, M, C, D], one position for each key it can hold; with a table it is pages [P, R, M, D]"
    })
  }
  if (table !== undefined) return Pages.written(own, rows, { ...cache, table })
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

/** Keys and values of a cache as attention takes them: [B, M, C, D] and [B, M, C, E]. */
export const held = ({ key, value, table }: Cache): readonly [Tensor.Tensor, Tensor.Tensor] =>
  table === undefined ? [key, value] : [Pages.inOrder(key, table), Pages.inOrder(value, table)]
