import * as DType from "../../ir/DType.ts"
import * as Half from "../../ir/Half.ts"
import type { NodeOf } from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import type { Constant } from "./Program.ts"

/** A constant's elements in device layout. */
export const constantOf = (node: NodeOf<"constant">): Constant => {
  const { type } = node
  const count = (Shape.constants(type.shape) ?? []).reduce((a, b) => a * b, 1)
  const bytes = new ArrayBuffer(Math.max(16, Math.ceil((count * DType.deviceBytes[type.dtype]) / 16) * 16))
  const { values } = node.attrs
  write[type.dtype](bytes, (i) => (values.length === 1 ? values[0] : values[i]) as number, count)
  return { type, data: new Uint8Array(bytes) }
}

type Write = (bytes: ArrayBuffer, value: (i: number) => number, count: number) => void

const into =
  (view: (bytes: ArrayBuffer) => { [i: number]: number }, convert: (x: number) => number = (x) => x): Write =>
  (bytes, value, count) => {
    const data = view(bytes)
    for (let i = 0; i < count; i++) data[i] = convert(value(i))
  }

const write: { readonly [D in DType.DType]: Write } = {
  f64: into((b) => new Float64Array(b)),
  f32: into((b) => new Float32Array(b)),
  f16: into((b) => new Uint16Array(b), Half.f16Bits),
  bf16: into((b) => new Uint16Array(b), Half.bf16Bits),
  i32: into((b) => new Int32Array(b)),
  u32: into((b) => new Uint32Array(b)),
  bool: into(
    (b) => new Uint32Array(b),
    (x) => (x === 0 ? 0 : 1)
  )
}
