import * as HostArray from "../../ir/HostArray.ts"

/**
 * The expectation, with the result in place of NaN. A softmax spelled as exponentials over their sum is 0 / 0 in a row whose
 * exponentials vanish; the node, which the passes may put in its place, gives a number there. What the expectation
 * says in numbers stays.
 */
export const refined = (expected: HostArray.HostArray, actual: HostArray.HostArray): HostArray.HostArray => {
  const [e, a] = [HostArray.toNumbers(expected), HostArray.toNumbers(actual)]
  const size = Math.min(e.length, a.length)
  return HostArray.fromNumbers(
    expected.dtype,
    expected.shape,
    e.map((x, i) => (Number.isNaN(x) && i < size ? (a[i] as number) : x))
  )
}
