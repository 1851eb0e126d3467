import * as HostArray from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"

/** Elements of arrays in host memory at other places: data is copied, never converted. */

/** The same elements under another shape; no copy. */
export const reshape = (x: HostArray.HostArray, shape: ReadonlyArray<number>): HostArray.HostArray =>
  HostArray.validate({ ...x, shape })

/** Axes exchanged, [A, B] to [B, A]. */
export const transpose = (x: HostArray.HostArray): HostArray.HostArray => {
  const [rows, columns] = x.shape as readonly [number, number]
  const out = HostArray.zeros(x.dtype, [columns, rows])
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out.data[j * rows + i] = x.data[i * columns + j] as number
  }
  return out
}

/** Entries from `start` to `stop` of axis 0. */
export const rows = (x: HostArray.HostArray, start: number, stop: number): HostArray.HostArray => {
  const [stride = 1] = Shape.strides(x.shape)
  const shape = [stop - start, ...x.shape.slice(1)]
  return { ...x, shape, data: x.data.slice(start * stride, stop * stride) } as HostArray.HostArray
}

/** One behind the other along axis 0; they differ there only. */
export const concat = (parts: ReadonlyArray<HostArray.HostArray>): HostArray.HostArray => {
  const [first] = parts as readonly [HostArray.HostArray]
  const count = parts.reduce((sum, p) => sum + (p.shape[0] as number), 0)
  const out = HostArray.zeros(first.dtype, [count, ...first.shape.slice(1)])
  let at = 0
  for (const part of parts) {
    out.data.set(part.data, at)
    at += part.data.length
  }
  return out
}
