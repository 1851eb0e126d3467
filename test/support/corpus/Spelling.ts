import type * as Dim from "../../../ir/Dim.ts"
import type * as DType from "../../../ir/DType.ts"
import * as Graph from "../../../ir/Graph.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as arrays from "../arrays.ts"

/**
 * Published ways to write attention, as tables. Shapes: B batch, H query heads, M key/value heads, T queries, S keys, D head size,
 * E value head size. `P` in a name: q, k and v are permuted from [B, S, H, D] inside the expression.
 */

export type Any = Tensor.Tensor
export type Dims = ReadonlyArray<number | string>

/** One way, and what must become of it. */
export interface Spelling {
  readonly name: string
  readonly write: (c: Setting) => Any | { readonly [name: string]: Any }
  /** In these element types; where it does not say, in f32. */
  readonly dtypes?: ReadonlyArray<Setting["dtype"]>
  /** How many flash_attention nodes compute results; one unless told. */
  readonly nodes?: number
  /** Whether the program makes its own values, or gives several heads the same: otherwise they are a view of an input, as keys always are. */
  readonly ownValues?: boolean
  /** Whether the program returns the weights, which are as large as the scores. */
  readonly returnsWeights?: boolean
  /** Numbers of inputs that are not drawn at random: the largest of an integer that starts at 0. */
  readonly most?: { readonly [input: string]: number }
}

/** What a spelling is written for. */
export interface Setting {
  readonly dtype: "f32" | "f16"
  /** The batch: a symbol, or 1, where views and broadcasts vanish. */
  readonly batch: "B" | 1
  readonly dropout: Dropout
}

/** Keep-masks: counted random bits, a bool that is given, or a factor that is given. */
export type Dropout = (typeof dropouts)[number]
export const dropouts = ["random", "bool", "factor"] as const

export const [H, D, E] = [4, 4, 3]

export const input = (name: string, shape: Dims, dtype: DType.DType = "f32"): Any =>
  Tensor.input(name, spec(dtype, shape))

/** q [B, H, T, D], k [B, M, S, D], v [B, M, S, E]. */
export const bhsd = ({ batch, dtype }: Setting, M = H) => ({
  q: input("q", [batch, H, "T", D], dtype),
  k: input("k", [batch, M, "S", D], dtype),
  v: input("v", [batch, M, "S", E], dtype)
})

/** P: the same, permuted from q [B, T, H, D], k [B, S, M, D], v [B, S, M, E]. */
export const bshd = ({ batch, dtype }: Setting, M = H) => ({
  q: heads(input("q", [batch, "T", H, D], dtype)),
  k: heads(input("k", [batch, "S", M, D], dtype)),
  v: heads(input("v", [batch, "S", M, E], dtype))
})

/** Heads first or, again, positions first. */
export const heads = (x: Any): Any => Tensor.permute(x, [0, 2, 1, 3])

/** q @ kT. */
export const product = (q: Any, k: Any): Any => Tensor.matmul(q, Tensor.swapAxes(k, -2, -1))

export const softmax = (x: Any): Any => Tensor.softmax(x, -1)

/** The lowest finite number. */
export const lowest = (dtype: DType.DType): number => (dtype === "f16" ? -65504 : -3.4028234663852886e38)

const rate = 0.25

/** Weights of which a quarter is 0 and the others as much larger. */
export const drop = (p: Any, { dropout }: Setting): Any => {
  switch (dropout) {
    case "random":
      return Tensor.dropout(p, { rate, seed: 7 })
    case "bool":
      return Tensor.where(
        input("kept", p.shape, "bool") as Tensor.Tensor<"bool">,
        Tensor.mul(p, 1 / (1 - rate)),
        0
      )
    case "factor":
      return Tensor.div(Tensor.mul(p, input("kept", p.shape, p.dtype)), 1 - rate)
  }
}

/** The graph of a spelling in a setting. */
export const graphOf = ({ write }: Spelling, setting: Setting): Graph.Graph => {
  const written = write(setting)
  const outputs = Tensor.isTensor(written) ? { out: written } : written
  return Graph.make(Object.entries(outputs).map(([name, x]) => ({ name, node: Tensor.nodeOf(x) })))
}

/** Settings that make different graphs: what a spelling does not depend on is written once. */
export const settingsOf = (
  spelling: Spelling
): ReadonlyArray<readonly [name: string, graph: Graph.Graph]> => {
  const graphs = new Map<string, readonly [string, Graph.Graph]>()
  for (const dtype of spelling.dtypes ?? (["f32"] as const)) {
    for (const batch of ["B", 1] as const) {
      for (const dropout of dropouts) {
        const graph = graphOf(spelling, { dtype, batch, dropout })
        const key = Graph.key(graph)
        if (!graphs.has(key)) graphs.set(key, [`${dtype}, batch ${batch}, dropout by ${dropout}`, graph])
      }
    }
  }
  return [...graphs.values()]
}

/** Random numbers for all inputs; integers as the spelling says. */
export const inputsOf = (
  { most = {} }: Spelling,
  graph: Graph.Graph,
  sizes: Dim.Bindings,
  seed: number
): ReadonlyArray<HostArray> => {
  const from = arrays.random(seed)
  return graph.inputs.map(({ attrs, type }) => {
    const shape = Shape.evaluate(type.shape, sizes)
    const last = most[attrs.name]
    return last === undefined ? arrays.array(from, type.dtype, shape) : arrays.integers(from, shape, 0, last)
  })
}
