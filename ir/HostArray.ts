import type { DType } from "./DType.ts"

/** The typed array that holds each dtype: f16 and bf16 as raw bits, bool as 0 and 1. */
export interface DataOf {
  readonly f64: Float64Array
  readonly f32: Float32Array
  readonly f16: Uint16Array
  readonly bf16: Uint16Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly bool: Uint8Array
}

/** A tensor in host memory: row-major, without gaps. */
export interface HostArray<D extends DType = DType> {
  readonly dtype: D
  readonly shape: ReadonlyArray<number>
  readonly data: DataOf[D]
}
