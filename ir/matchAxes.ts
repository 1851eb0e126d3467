import * as Dim from "./Dim.ts"
import * as Shape from "./Shape.ts"

interface Run {
  readonly from: readonly [start: number, end: number]
  readonly to: readonly [start: number, end: number]
}

/** Cuts two shapes of one size into the smallest runs of axes that hold equally many elements. */
export const matchAxes = (from: Shape.Shape, to: Shape.Shape): ReadonlyArray<Run> => {
  const result: Array<Run> = []
  let [i, j] = [0, 0]
  while (i < from.length || j < to.length) {
    const end = [...pairs(i, from.length, j, to.length)].find(([a, b]) =>
      Dim.equals(Shape.size(from.slice(i, a)), Shape.size(to.slice(j, b)))
    )
    const [a, b] = end ?? [from.length, to.length]
    result.push({ from: [i, a], to: [j, b] })
    ;[i, j] = [a, b]
  }
  return result
}

/** Ends of runs that start at i and j, shortest first; at least one of the runs is not empty. */
function* pairs(i: number, m: number, j: number, n: number): Generator<readonly [number, number]> {
  for (let length = 1; length <= m - i + n - j; length++) {
    for (let a = Math.max(i, i + length - (n - j)); a <= Math.min(m, i + length); a++)
      yield [a, j + length - (a - i)]
  }
}
