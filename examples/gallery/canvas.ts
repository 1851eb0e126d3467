import { Tensor } from "../../src/index.ts"

/** Where a position of a sequence lies in a picture, a video or any other canvas. Sizes go from the outermost axis to the innermost. */

type Index = Tensor.Tensor<"i32">
type Sizes = ReadonlyArray<number>

const volume = (sizes: Sizes): number => sizes.reduce((a, b) => a * b, 1)
const divided = (x: Index, by: number): Index => Tensor.floorDiv(x, Tensor.dim(by))
const rest = (x: Index, by: number): Index => Tensor.mod(x, Tensor.dim(by))
const times = (x: Index, by: number): Index => Tensor.mul(x, Tensor.dim(by))

/** One coordinate of positions that count row by row. */
export const coordinate = (position: Index, sizes: Sizes, axis: number): Index => {
  const counted = divided(position, volume(sizes.slice(axis + 1)))
  return axis === 0 ? counted : rest(counted, sizes[axis] as number)
}

/** The position, row by row, of coordinates. */
const rowMajor = (at: ReadonlyArray<Index>, sizes: Sizes): Index =>
  at.reduce((sum, x, axis) => Tensor.add(times(sum, sizes[axis] as number), x))

/** Row by row, of positions that go tile by tile, and row by row within each. */
export const untiled = (canvas: Sizes, tile: Sizes) => (position: Index) => {
  const tiles = canvas.map((size, axis) => size / (tile[axis] as number))
  const at = tile.map((size, axis) => {
    const outer = coordinate(divided(position, volume(tile)), tiles, axis)
    return Tensor.add(times(outer, size), coordinate(rest(position, volume(tile)), tile, axis))
  })
  return rowMajor(at, canvas)
}

/** Row by row, of positions on a Z-shaped curve over a square of 2^bits: its bits are those of row and column in turn. */
export const unzipped = (bits: number) => (position: Index) => {
  const every = (first: number): Index =>
    Array.from(
      { length: bits },
      (_, n): Index => times(rest(divided(position, 2 ** (2 * n + first)), 2), 2 ** n)
    ).reduce((sum, x) => Tensor.add(sum, x))
  return rowMajor([every(1), every(0)], [2 ** bits, 2 ** bits])
}
