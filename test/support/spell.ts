import * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as Shape from "../../ir/Shape.ts"

/** Short words for graphs in tests: nodes as a person spells them, without the conveniences of `Tensor`. */

export type N = Node.Node
type Dims = ReadonlyArray<Dim.DimLike>

const make = <K extends OpName>(op: K, operands: ReadonlyArray<N>, attrs: Node.AttrsOf<K>): N =>
  Node.make(op, operands, attrs) as unknown as N

export const input = (name: string, dims: Dims, dtype: DType.DType = "f32"): N =>
  make("input", [], { name, type: { dtype, shape: Shape.from(dims) } })

/** An elementwise op without attributes. */
export const op = (name: Exclude<OpName, "cast">, ...operands: ReadonlyArray<N>): N =>
  make(name, operands, {} as never)

export const add = (a: N, b: N): N => op("add", a, b)
export const sub = (a: N, b: N): N => op("sub", a, b)
export const mul = (a: N, b: N): N => op("mul", a, b)
export const div = (a: N, b: N): N => op("div", a, b)
export const exp = (a: N): N => op("exp", a)
export const select = (c: N, a: N, b: N): N => op("select", c, a, b)

export const constant = (value: number, dtype: DType.DType = "f32"): N =>
  make("constant", [], { values: [value], type: { dtype, shape: [] } })
export const constants = (values: ReadonlyArray<number>, dtype: DType.DType = "i32"): N =>
  make("constant", [], { values, type: { dtype, shape: Shape.from([values.length]) } })

export const cast = (x: N, dtype: DType.DType): N => make("cast", [x], { dtype })
export const reshape = (x: N, dims: Dims): N => make("reshape", [x], { shape: Shape.from(dims) })
export const permute = (x: N, ...perm: ReadonlyArray<number>): N => make("transpose", [x], { perm })
export const broadcast = (x: N, dims: Dims): N => make("broadcast", [x], { shape: Shape.from(dims) })
export const concat = (axis: number, ...parts: ReadonlyArray<N>): N => make("concat", parts, { axis })
export const gather = (x: N, indices: N, axis: number): N => make("gather", [x, indices], { axis })
export const iota = (size: Dim.DimLike): N =>
  make("iota", [], { type: { dtype: "i32", shape: Shape.from([size]) } })

/** Elements start .. stop-1 along one axis. */
export const slice = (x: N, axis: number, start: Dim.DimLike, stop: Dim.DimLike): N =>
  make("slice", [x], {
    starts: x.type.shape.map((_, i) => (i === axis ? Dim.from(start) : Dim.zero)),
    stops: x.type.shape.map((d, i) => (i === axis ? Dim.from(stop) : d)),
    steps: x.type.shape.map(() => 1)
  })

/** The last two axes exchanged. */
export const swap = (x: N): N => {
  const rank = x.type.shape.length
  return permute(
    x,
    ...x.type.shape.map((_, i) => (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i))
  )
}

/** NumPy matmul over equal leading axes. */
export const matmul = (a: N, b: N): N => {
  const rank = a.type.shape.length
  const batch = Array.from({ length: rank - 2 }, (_, i) => i)
  return make("dot", [a, b], {
    lhsBatch: batch,
    rhsBatch: batch,
    lhsContract: [rank - 1],
    rhsContract: [rank - 2]
  })
}

/** einsum of two operands, such as "bqhd,bkhd->bhqk". */
export const einsum = (text: string, a: N, b: N): N => {
  const [inputs = "", output = ""] = text.split("->")
  const [left = "", right = ""] = inputs.split(",")
  const shared = [...left].filter((c) => right.includes(c))
  const batch = shared.filter((c) => output.includes(c))
  const contract = shared.filter((c) => !output.includes(c))
  const at = (letters: string, of: ReadonlyArray<string>) => of.map((c) => letters.indexOf(c))
  const dot = make("dot", [a, b], {
    lhsBatch: at(left, batch),
    rhsBatch: at(right, batch),
    lhsContract: at(left, contract),
    rhsContract: at(right, contract)
  })
  const order = [...batch, ...[...left, ...right].filter((c) => !shared.includes(c))]
  const perm = [...output].map((c) => order.indexOf(c))
  return perm.every((p, i) => p === i) ? dot : permute(dot, ...perm)
}

export const softmax = (x: N, axis = x.type.shape.length - 1): N => make("softmax", [x], { axis })
export const logsumexp = (x: N, axis = x.type.shape.length - 1): N => make("logsumexp", [x], { axis })

/** A reduction over one axis that keeps the axis with size 1. */
export const reduce = (
  name: "reduce_sum" | "reduce_max" | "reduce_min",
  x: N,
  ...axes: ReadonlyArray<number>
): N => {
  const own = axes.length === 0 ? [x.type.shape.length - 1] : axes
  return reshape(
    make(name, [x], { axes: own }),
    x.type.shape.map((d, i) => (own.includes(i) ? Dim.one : d))
  )
}

export const graph = (outputs: N | { readonly [name: string]: N }): Graph.Graph =>
  "op" in outputs && typeof outputs.op === "string"
    ? Graph.make([{ name: "out", node: outputs as N }])
    : Graph.make(
        Object.entries(outputs as { readonly [name: string]: N }).map(([name, node]) => ({ name, node }))
      )

/** [B, Hkv, S, D] to [B, Hkv * times, S, D]: each head `times` times in a row, by broadcast and reshape. */
export const repeatHeads = (x: N, times: number): N => {
  const [b, h, s, d] = x.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
  const wide = broadcast(reshape(x, [b, h, 1, s, d]), [b, h, times, s, d])
  return reshape(wide, [b, Dim.mul(h, Dim.constant(times)), s, d])
}
export * as Dim from "../../ir/Dim.ts"
