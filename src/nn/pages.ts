import { AttrError } from "../errors.ts"
import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"

/**
 * Keys and values in pages of one pool (Kwon et al. 2023, arXiv 2309.06180). Shapes: P pages of R rows, M heads, D head size; a table of W pages for each of
 * B sequences, T new rows. Attention reads a gathered copy in the order of the table: sharing saves what the pool holds, not what a call reads.
 */

type Integers = Tensor.Tensor<"i32">

const fixed = (name: string, size: unknown): number => {
  if (typeof size === "number") return size
  throw new AttrError({
    op: "attention",
    message: `with pages ${name} is a number, given ${String(size)}`,
    hint: "compile a program for each length of a call: one for prompts, one for single words"
  })
}

/** Pages [P, R, M, D] in the order of the table: [B, M, W·R, D]. */
export const inOrder = (pages: Tensor.Tensor, table: Tensor.Tensor): Tensor.Tensor => {
  const found = Tensor.take(pages, table as Integers, 0) as Tensor.Tensor
  const [batch, width, rows, heads, size] = found.shape as readonly [number, number, number, number, number]
  return Tensor.reshape(Tensor.permute(found, [0, 3, 1, 2, 4]), [
    batch,
    heads,
    width * rows,
    size
  ]) as Tensor.Tensor
}

/** Pages with rows [B, M, T, D] written behind those that are there. Pages that a row goes to belong to one sequence. */
export const written = (
  pages: Tensor.Tensor,
  fresh: Tensor.Tensor,
  { table, length }: Cache & { readonly table: Tensor.Tensor }
): Tensor.Tensor => {
  const size = fixed("the size of a page", pages.shape[1])
  const [batch, count] = [fixed("the batch", fresh.shape[0]), fixed("the length of a call", fresh.shape[2])]
  const width = Tensor.dim(table.shape[1] as number) as Integers
  const none = Tensor.dim(pages.shape[0] as number) as Integers
  const touched = Math.floor((count + size - 2) / size) + 1
  let all = pages
  for (let b = 0; b < batch; b++) {
    const first = (length.rank === 0 ? length : Tensor.take(length, b, 0)) as Integers
    const rows = Tensor.permute(Tensor.take(fresh, b, 0) as Tensor.Tensor, [1, 0, 2]) as Tensor.Tensor
    for (let n = 0; n < touched; n++) {
      const index = Tensor.add(Tensor.floorDiv(first, size), n) as Integers
      const start = Tensor.sub(Tensor.mul(index, size), first) as Integers
      const own = Tensor.add(Tensor.arange(size), start) as Integers
      const page = Tensor.take(
        Tensor.take(table, b, 0) as Integers,
        Tensor.minimum(index, Tensor.sub(width, 1)) as Integers,
        0
      ) as Integers
      const inside = Tensor.and(Tensor.ge(own, 0), Tensor.lt(own, count))
      const next = Tensor.where(
        Tensor.reshape(inside, [size, 1, 1]) as Tensor.Tensor<"bool">,
        Tensor.take(rows, own, 0) as Tensor.Tensor,
        Tensor.take(all, page, 0) as Tensor.Tensor
      )
      // Pages past the table and those without a new row stay as they are: a start past the pool writes nothing.
      const there = Tensor.and(Tensor.lt(index, width), Tensor.lt(start, count)) as Tensor.Tensor<"bool">
      const at = Tensor.where(there, page, none) as Integers
      all = Tensor.updateSlice(all, Tensor.expandDims(next as Tensor.Tensor, 0), at, {
        axis: 0
      }) as Tensor.Tensor
    }
  }
  return all
}
