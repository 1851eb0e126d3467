/**
 * Graphs for another engine, written as ONNX files: just enough of the protocol buffers of onnx.proto (ir_version 8 or 10, opset 17 or 23) to
 * say a model in floats and integers.
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

const types = { float: 1, int32: 6, int64: 7, float16: 10 } as const

export type Type = keyof typeof types

type Numbers = ReadonlyArray<number> | Float32Array

const arrays = {
  float: (values: Numbers) => Float32Array.from(values),
  int32: (values: Numbers) => Int32Array.from(values),
  int64: (values: Numbers) => BigInt64Array.from(Array.from(values, BigInt)),
  /** The bits. */
  float16: (values: Numbers) => Uint16Array.from(values)
} as const

const raw = (type: Type, values: Numbers): Uint8Array => new Uint8Array(arrays[type](values).buffer)

const tensor = (name: string, type: Type, shape: ReadonlyArray<number>, values: Numbers) =>
  concat([
    ...shape.map((d) => integer(1, d)),
    integer(2, types[type]),
    text(8, name),
    bytes(9, raw(type, values))
  ])

const valueInfo = (name: string, type: Type, shape: ReadonlyArray<number | string>): Uint8Array => {
  const dims = concat(shape.map((d) => bytes(1, typeof d === "number" ? integer(1, d) : text(2, d))))
  return concat([text(1, name), bytes(2, bytes(1, concat([integer(1, types[type]), bytes(2, dims)])))])
}

/** Attributes: numbers are integers, lists lists of integers, floats say so. */
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
  /** Lengths that differ from call to call are names. */
  readonly input: (name: string, type: Type, shape: ReadonlyArray<number | string>) => Value
  readonly constant: (shape: ReadonlyArray<number>, values: Numbers, type?: Type) => Value
  readonly op: (type: string, inputs: ReadonlyArray<Value>, attributes?: Attributes) => Value
  /** An operator of onnxruntime's own with so many results; an input that is not there is "". */
  readonly own: (
    type: string,
    inputs: ReadonlyArray<Value>,
    count: number,
    attributes?: Attributes
  ) => ReadonlyArray<Value>
  /** The file of the graph whose result is `out`, a float unless told otherwise; `more` are further results. */
  readonly finish: (
    out: Value,
    shape: ReadonlyArray<number>,
    type?: Type,
    more?: ReadonlyArray<Output>
  ) => Uint8Array
}

export interface Output {
  readonly value: Value
  readonly shape: ReadonlyArray<number | string>
  readonly type: Type
}

export const builder = (opset: 17 | 23 = 17): Builder => {
  const nodes: Array<Uint8Array> = []
  const initializers: Array<Uint8Array> = []
  const inputs: Array<Uint8Array> = []
  let count = 0
  const fresh = (): Value => `v${count++}`
  const add = (
    type: string,
    operands: ReadonlyArray<Value>,
    results: ReadonlyArray<Value>,
    attributes: Attributes,
    domain: string
  ): void => {
    const parts = [...operands.map((o) => text(1, o)), ...results.map((o) => text(2, o)), text(4, type)]
    for (const [name, value] of Object.entries(attributes)) parts.push(bytes(5, attribute(name, value)))
    nodes.push(concat([...parts, text(7, domain)]))
  }
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
      add(type, operands, [out], attributes, "")
      return out
    },
    own: (type, operands, results, attributes = {}) => {
      const out = Array.from({ length: results }, fresh)
      add(type, operands, out, attributes, "com.microsoft")
      return out
    },
    finish: (out, shape, type = "float", more = []) => {
      const outputs = [{ value: out, shape, type }, ...more]
      const graph = concat([
        ...nodes.map((n) => bytes(1, n)),
        text(2, "model"),
        ...initializers.map((i) => bytes(5, i)),
        ...inputs.map((i) => bytes(11, i)),
        ...outputs.map((o) => bytes(12, valueInfo(o.value, o.type, o.shape)))
      ])
      const version = (domain: string, number: number) =>
        bytes(8, concat([text(1, domain), integer(2, number)]))
      const versions = [version("", opset), version("com.microsoft", 1)]
      return concat([integer(1, opset === 17 ? 8 : 10), bytes(7, graph), ...versions])
    }
  }
}
