import type { FloatDType } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"

/** The same floats in another dtype, rounded to nearest even: no more memory than both take. The same array where nothing changes. */
export const floats = (x: HostArray.HostArray, dtype: FloatDType): HostArray.HostArray => {
  if (x.dtype === dtype) return x
  const out = HostArray.zeros(dtype, x.shape)
  if (x.dtype === "bf16" && out.dtype === "f32") {
    // bf16 is the upper half of f32.
    const bits = new Uint32Array(out.data.buffer)
    for (let n = 0; n < bits.length; n++) bits[n] = (x.data[n] as number) << 16
    return out
  }
  for (let n = 0; n < x.data.length; n++) HostArray.set(out, n, HostArray.get(x, n))
  return out
}
