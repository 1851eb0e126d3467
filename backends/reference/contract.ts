import * as DType from "../../ir/DType.ts"
import * as Addresses from "./addresses.ts"
import type { Kernels } from "./Kernel.ts"
import type { Value } from "./Value.ts"

/** One operand of a contraction: offsets of its batches, its free elements and its contracted elements. */
const parts = (x: Value, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>) => ({
  batch: Addresses.alongAxes(x.shape, batch),
  free: Addresses.alongAxes(
    x.shape,
    x.shape.map((_, a) => a).filter((a) => !batch.includes(a) && !contract.includes(a))
  ),
  contract: Addresses.alongAxes(x.shape, contract)
})

/** One batch of an operand as a matrix, a row for each free element. */
const pack = (
  data: Float64Array,
  base: number,
  free: Int32Array,
  contract: Int32Array,
  into: Float64Array
): void => {
  let at = 0
  for (let r = 0; r < free.length; r++) {
    const start = base + (free[r] as number)
    for (let k = 0; k < contract.length; k++) into[at++] = data[start + (contract[k] as number)] as number
  }
}

/** Row times row, four columns at a time so that each element of `a` is read once for four sums. */
const multiply = (
  a: Float64Array,
  b: Float64Array,
  m: number,
  n: number,
  k: number,
  out: Float64Array,
  to: number
): void => {
  for (let i = 0; i < m; i++) {
    const row = i * k
    let j = 0
    for (; j + 4 <= n; j += 4) {
      const [b0, b1, b2, b3] = [j * k, (j + 1) * k, (j + 2) * k, (j + 3) * k]
      let [s0, s1, s2, s3] = [0, 0, 0, 0]
      for (let e = 0; e < k; e++) {
        const x = a[row + e] as number
        s0 += x * (b[b0 + e] as number)
        s1 += x * (b[b1 + e] as number)
        s2 += x * (b[b2 + e] as number)
        s3 += x * (b[b3 + e] as number)
      }
      const at = to + i * n + j
      out[at] = s0
      out[at + 1] = s1
      out[at + 2] = s2
      out[at + 3] = s3
    }
    for (; j < n; j++) {
      let sum = 0
      for (let e = 0; e < k; e++) sum += (a[row + e] as number) * (b[j * k + e] as number)
      out[to + i * n + j] = sum
    }
  }
}

/** Integer contraction, exact modulo 2^32. */
const multiplyInts: typeof multiply = (a, b, m, n, k, out, to) => {
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0
      for (let e = 0; e < k; e++) sum = (sum + Math.imul(a[i * k + e] as number, b[j * k + e] as number)) | 0
      out[to + i * n + j] = sum
    }
  }
}

/** Sums of products, accumulated in float64. */
export const contract: Kernels<"dot"> = {
  dot: ({ attrs }, [left, right], shape) => {
    const [lhs, rhs] = [left as Value, right as Value]
    const l = parts(lhs, attrs.lhsBatch, attrs.lhsContract)
    const r = parts(rhs, attrs.rhsBatch, attrs.rhsContract)
    const [m, n, k] = [l.free.length, r.free.length, l.contract.length]
    const result = new Float64Array(shape.reduce((a, b) => a * b, 1))
    const [a, b] = [new Float64Array(m * k), new Float64Array(n * k)]
    const kernel = DType.isInt(lhs.dtype) ? multiplyInts : multiply
    for (let batch = 0; batch < l.batch.length; batch++) {
      pack(lhs.data, l.batch[batch] as number, l.free, l.contract, a)
      pack(rhs.data, r.batch[batch] as number, r.free, r.contract, b)
      kernel(a, b, m, n, k, result, batch * m * n)
    }
    return result
  }
}
