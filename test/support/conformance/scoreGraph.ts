import * as Tensor from "../../../src/Tensor.ts"

/** The small graphs that FlexAttention cases modify scores with: ONNX nodes over names. */
export interface ScoreGraph {
  readonly nodes: ReadonlyArray<{
    readonly op: string
    readonly inputs: ReadonlyArray<string>
    readonly outputs: ReadonlyArray<string>
    readonly attributes: { readonly [name: string]: number }
  }>
  readonly initializers?: {
    readonly [name: string]: {
      readonly shape: ReadonlyArray<number>
      readonly dtype: string
      readonly values: ReadonlyArray<number | string>
    }
  }
  readonly inputs: ReadonlyArray<string>
  readonly outputs: ReadonlyArray<string>
}

type T = Tensor.Tensor

/** A tensor, or integers that are known while the expression is built: shapes, positions, bounds. */
type Value = T | ReadonlyArray<number>

const known = (v: Value | undefined): ReadonlyArray<number> => {
  if (v === undefined || Tensor.isTensor(v)) throw new Error("the graph computes a size from a tensor")
  return v
}

const tensor = (v: Value | undefined): T => {
  if (v === undefined) throw new Error("the graph reads a name that nothing wrote")
  return Tensor.isTensor(v) ? v : Tensor.fromValues([...v], "i32")
}

const operations: { readonly [op: string]: (inputs: ReadonlyArray<Value>) => Value } = {
  Shape: ([x]) => tensor(x).shape as ReadonlyArray<number>,
  Gather: ([x, at]) => known(at).map((i) => known(x)[i] as number),
  Range: ([start, limit, step]) => {
    const [from] = known(start)
    const [to] = known(limit)
    if (from !== 0 || known(step)[0] !== 1) throw new Error("only ranges from 0 by 1 occur")
    return Tensor.arange(to as number)
  },
  Reshape: ([x, shape]) => Tensor.reshape(tensor(x), [...known(shape)]),
  GreaterOrEqual: ([a, b]) => Tensor.ge(tensor(a), tensor(b)),
  Where: ([c, a, b]) => Tensor.where(tensor(c) as Tensor.Tensor<"bool">, tensor(a), tensor(b)),
  Add: ([a, b]) => Tensor.add(tensor(a), tensor(b)),
  Sub: ([a, b]) => Tensor.sub(tensor(a), tensor(b)),
  Mul: ([a, b]) => Tensor.mul(tensor(a), tensor(b)),
  Div: ([a, b]) => Tensor.div(tensor(a), tensor(b)),
  Tanh: ([x]) => Tensor.tanh(tensor(x)),
  Cast: ([x]) => Tensor.cast(tensor(x), "f32")
}

/** Applies a score or probability graph to its one tensor. */
export const modify = (graph: ScoreGraph | undefined, x: T): T => {
  if (graph === undefined) return x
  const values = new Map<string, Value>([[graph.inputs[0] as string, x]])
  for (const [name, { shape, dtype, values: numbers }] of Object.entries(graph.initializers ?? {})) {
    const parsed = numbers.map((n) => (n === "-inf" ? -Infinity : Number(n)))
    values.set(name, dtype === "int64" ? parsed : Tensor.reshape(Tensor.fromValues(parsed), [...shape]))
  }
  for (const { op, inputs, outputs } of graph.nodes) {
    const operation = operations[op]
    if (operation === undefined) throw new Error(`the graph has the operation ${op}`)
    values.set(outputs[0] as string, operation(inputs.map((name) => values.get(name) as Value)))
  }
  return tensor(values.get(graph.outputs[0] as string))
}
