/**
 * Graphs for another engine, written as ONNX files: just enough of the protocol buffers of onnx.proto (ir_version 8, opset 17) to say a model in
 * floats and 64-bit integers.
 */

type Bytes = ReadonlyArray<number> | Uint8Array

const varint = (value: number | bigint): Array<number> => {
  let rest = BigInt.asUintN(64, BigInt(value))
  const out: Array<number> = []
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  return [...out, Number(rest)]
}

const concat = (parts: ReadonlyArray<Bytes>): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

const integer = (field: number, value: number | bigint): Bytes => [...varint(field << 3), ...varint(value)]

const bytes = (field: number, value: Bytes): Uint8Array =>
  concat([varint((field << 3) | 2), varint(value.length), value])

const text = (field: number, value: string): Uint8Array => bytes(field, new TextEncoder().encode(value))

const float = (field: number, value: number): Uint8Array =>
  concat([varint((field << 3) | 5), new Uint8Array(Float32Array.of(value).buffer)])

const types = { float: 1, int64: 7 } as const

type Type = keyof typeof types

const raw = (type: Type, values: ReadonlyArray<number> | Float32Array): Uint8Array =>
  type === "float"
    ? new Uint8Array(Float32Array.from(values).buffer)
    : new Uint8Array(BigInt64Array.from(Array.from(values, BigInt)).buffer)

const tensor = (
  name: string,
  type: Type,
  shape: ReadonlyArray<number>,
  values: ReadonlyArray<number> | Float32Array
) =>
  concat([
    ...shape.map((d) => integer(1, d)),
    integer(2, types[type]),
    text(8, name),
    bytes(9, raw(type, values))
  ])

const valueInfo = (name: string, type: Type, shape: ReadonlyArray<number>): Uint8Array => {
  const dims = concat(shape.map((d) => bytes(1, integer(1, d))))
  return concat([text(1, name), bytes(2, bytes(1, concat([integer(1, types[type]), bytes(2, dims)])))])
}

/** Attributes: whole numbers are integers, others floats, lists lists of integers. */
export type Attributes = {
  readonly [name: string]: number | ReadonlyArray<number> | { readonly float: number }
}

const attribute = (name: string, value: Attributes[string]): Uint8Array => {
  if (typeof value === "number") return concat([text(1, name), integer(3, value), integer(20, 2)])
  if ("float" in value) return concat([text(1, name), float(2, value.float), integer(20, 1)])
  return concat([text(1, name), ...value.map((x) => integer(8, x)), integer(20, 7)])
}

/** A value of a graph, by name. */
export type Value = string

export interface Builder {
  readonly input: (name: string, type: Type, shape: ReadonlyArray<number>) => Value
  readonly constant: (
    shape: ReadonlyArray<number>,
    values: ReadonlyArray<number> | Float32Array,
    type?: Type
  ) => Value
  readonly op: (type: string, inputs: ReadonlyArray<Value>, attributes?: Attributes) => Value
  /** The file of the graph whose result is `out`, a float. */
  readonly finish: (out: Value, shape: ReadonlyArray<number>) => Uint8Array
}

export const builder = (): Builder => {
  const nodes: Array<Uint8Array> = []
  const initializers: Array<Uint8Array> = []
  const inputs: Array<Uint8Array> = []
  let count = 0
  const fresh = (): Value => `v${count++}`
  return {
    input: (name, type, shape) => {
      inputs.push(valueInfo(name, type, shape))
      return name
    },
    constant: (shape, values, type = "float") => {
      const name = fresh()
      initializers.push(tensor(name, type, shape, values))
      return name
    },
    op: (type, operands, attributes = {}) => {
      const out = fresh()
      const parts = [...operands.map((o) => text(1, o)), text(2, out), text(4, type)]
      for (const [name, value] of Object.entries(attributes)) parts.push(bytes(5, attribute(name, value)))
      nodes.push(concat(parts))
      return out
    },
    finish: (out, shape) => {
      const graph = concat([
        ...nodes.map((n) => bytes(1, n)),
        text(2, "model"),
        ...initializers.map((i) => bytes(5, i)),
        ...inputs.map((i) => bytes(11, i)),
        bytes(12, valueInfo(out, "float", shape))
      ])
      return concat([integer(1, 8), bytes(7, graph), bytes(8, concat([text(1, ""), integer(2, 17)]))])
    }
  }
}
