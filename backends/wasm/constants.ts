import type { DType } from "../../ir/DType.ts"
import { deviceBytes } from "../../ir/DType.ts"
import * as Half from "../../ir/Half.ts"
import type { NodeOf } from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Constant } from "./Program.ts"

/** A constant's elements as they lie in memory. */
export const constantOf = ({ type, attrs: { values } }: NodeOf<"constant">): Constant => {
  const count = (Shape.constants(type.shape) ?? []).reduce((a, b) => a * b, 1)
  const bytes = new ArrayBuffer(count * deviceBytes[type.dtype])
  const data = views[type.dtype](bytes)
  const convert = conversions[type.dtype]
  for (let i = 0; i < count; i++) data[i] = convert((values.length === 1 ? values[0] : values[i]) as number)
  return { type, data: new Uint8Array(bytes) }
}

type View = { [i: number]: number }

const views: { readonly [D in DType]: (bytes: ArrayBuffer) => View } = {
  f64: (b) => new Float64Array(b),
  f32: (b) => new Float32Array(b),
  f16: (b) => new Uint16Array(b),
  bf16: (b) => new Uint16Array(b),
  i32: (b) => new Int32Array(b),
  u32: (b) => new Uint32Array(b),
  bool: (b) => new Uint32Array(b)
}

const same = (x: number): number => x

const conversions: { readonly [D in DType]: (x: number) => number } = {
  f64: same,
  f32: same,
  f16: Half.f16Bits,
  bf16: Half.bf16Bits,
  i32: same,
  u32: same,
  bool: (x) => (x === 0 ? 0 : 1)
}
