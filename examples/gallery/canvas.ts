import { Tensor } from "../../src/index.ts"

/** Where a position of a sequence lies in a picture, a video or any other canvas. Sizes go from the outermost axis to the innermost. */

type Index = Tensor.Tensor<"i32">

const volume = (sizes: ReadonlyArray<number>): number => sizes.reduce((a, b) => a * b, 1)

/** Coordinates of positions that count row by row. */
export const coordinates = (position: Index, sizes: ReadonlyArray<number>): ReadonlyArray<Index> =>
  sizes.map((size, axis) => {
    const counted = Tensor.floorDiv(position, volume(sizes.slice(axis + 1))) as Index
    return axis === 0 ? counted : (Tensor.mod(counted, size) as Index)
  })

/** The position, row by row, of coordinates. */
export const rowMajor = (at: ReadonlyArray<Index>, sizes: ReadonlyArray<number>): Index =>
  at.reduce((sum, x, axis) => Tensor.add(Tensor.mul(sum, sizes[axis] as number), x) as Index)

/** Row by row, of positions that go tile by tile, row by row within each. */
export const untiled =
  (canvas: ReadonlyArray<number>, tile: ReadonlyArray<number>) =>
  (position: Index): Index => {
    const tiles = canvas.map((size, axis) => size / (tile[axis] as number))
    const outer = coordinates(Tensor.floorDiv(position, volume(tile)) as Index, tiles)
    const inner = coordinates(Tensor.mod(position, volume(tile)) as Index, tile)
    const at = outer.map(
      (x, axis) => Tensor.add(Tensor.mul(x, tile[axis] as number), inner[axis] as Index) as Index
    )
    return rowMajor(at, canvas)
  }

/** Row by row, of positions on a Z-shaped curve over a square of 2^bits: its bits are those of row and column in turn. */
export const unzipped =
  (bits: number) =>
  (position: Index): Index => {
    const every = (first: number): Index =>
      Array.from({ length: bits }, (_, n): Index => {
        const bit = Tensor.mod(Tensor.floorDiv(position, 2 ** (2 * n + first)), 2)
        return Tensor.mul(bit, 2 ** n) as Index
      }).reduce((sum, x) => Tensor.add(sum, x) as Index)
    return rowMajor([every(1), every(0)], [2 ** bits, 2 ** bits])
  }
