import * as Tensor from "../Tensor.ts"
import type { Cache } from "./attentionConfig.ts"

/**
 * Keys and values in pages of one pool (Kwon et al. 2023, arXiv 2309.06180). Shapes: P pages of R rows, M heads, D head size; a table of W pages for each of
 * B sequences, T new rows. All of them may be lengths of a call. Attention finds rows through the table in its own kernel: nothing is gathered.
 */

type Integers = Tensor.Tensor<"i32">

/** Pages [P, R, M, D] in the order of the table: [B, M, W·R, D]. */
export const inOrder = (pages: Tensor.Tensor, table: Tensor.Tensor): Tensor.Tensor => {
  const found = Tensor.permute(Tensor.take(pages, table as Integers, 0), [0, 3, 1, 2, 4])
  const [batch, heads, , , size] = found.shape as readonly [number, number, number, number, number]
  return Tensor.reshape(found, [batch, heads, -1, size]) as Tensor.Tensor
}

/** Pages with rows [B, M, T, D] written behind those that are there. Pages that a row goes to belong to one sequence. */
export const written = (
  pages: Tensor.Tensor,
  fresh: Tensor.Tensor,
  { table, length }: Cache & { readonly table: Tensor.Tensor }
): Tensor.Tensor => {
  const [batch, heads, count, size] = fresh.shape as readonly [number, number, number, number]
  const [none, rows] = [pages.shape[0], pages.shape[1]].map((n) => Tensor.dim(n as number))
  const width = Tensor.dim(table.shape[1] as number)
  const first = Tensor.reshape(length, [-1, 1]) as Integers
  const places = Tensor.broadcastTo(Tensor.add(first, Tensor.arange(count)), [batch, count]) as Integers
  const index = Tensor.floorDiv(places, rows as Integers) as Integers
  // Rows past the table go to a page past the pool, which is none.
  const page = Tensor.where(
    Tensor.lt(index, width) as Tensor.Tensor<"bool">,
    Tensor.takeAlongAxis(table as Integers, index, 1) as Integers,
    none as Integers
  ) as Integers
  const entries = Tensor.reshape(Tensor.permute(fresh, [0, 2, 1, 3]), [-1, heads, size]) as Tensor.Tensor
  return Tensor.scatter(pages, entries, [
    Tensor.reshape(page, [-1]) as Integers,
    Tensor.reshape(Tensor.mod(places, rows as Integers), [-1]) as Integers
  ]) as Tensor.Tensor
}
