import * as Attr from "../Attr.ts"
import type { Dim } from "../Dim.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type { Constraint } from "../Shape.ts"
import type { TensorType } from "../TensorType.ts"

export const dot = Op.define("dot", {
  family: "contract",
  summary:
    "Sum of products over the contracted axes; result axes are batch, lhs free, rhs free. Accumulates in f32 (f64 for f64).",
  example: [
    `%0: f32[B, 8, T, 64] = input {name = "q"}`,
    `%1: f32[B, 8, S, 64] = input {name = "k"}`,
    "%2: f32[B, 8, T, S] = dot %0, %1 {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}"
  ].join("\n"),
  operands: ["lhs", "rhs"],
  attrs: { lhsBatch: Attr.ints, rhsBatch: Attr.ints, lhsContract: Attr.ints, rhsContract: Attr.ints },
  infer: (operands, { lhsBatch, rhsBatch, lhsContract, rhsContract }) => {
    const [lhs, rhs] = operands as readonly [TensorType, TensorType]
    if (lhs.dtype !== rhs.dtype)
      throw Infer.dtypeError("dot", operands, "operands must have one dtype", "cast one of them")
    Infer.requireDomain("dot", operands, lhs.dtype, "number")
    Infer.axes("dot", [...lhsBatch, ...lhsContract], lhs.shape.length, "lhs axes")
    Infer.axes("dot", [...rhsBatch, ...rhsContract], rhs.shape.length, "rhs axes")
    if (lhsBatch.length !== rhsBatch.length || lhsContract.length !== rhsContract.length) {
      throw Infer.attrError("dot", "lhs and rhs name different numbers of batch or contracted axes")
    }
    const constraints: Array<Constraint> = []
    const pair = (a: number, b: number, verb: string): Dim =>
      Infer.same(
        "dot",
        operands,
        lhs.shape[a] as Dim,
        rhs.shape[b] as Dim,
        `${verb} lhs axis ${a} with rhs axis ${b}`,
        constraints
      )
    const batch = lhsBatch.map((a, i) => pair(a, rhsBatch[i] as number, "batches"))
    for (const [i, a] of lhsContract.entries()) pair(a, rhsContract[i] as number, "contracts")
    const shape = [
      ...batch,
      ...Infer.without(lhs.shape, [...lhsBatch, ...lhsContract]),
      ...Infer.without(rhs.shape, [...rhsBatch, ...rhsContract])
    ]
    return { type: { dtype: lhs.dtype, shape }, constraints }
  },
  facts: { associative: "reassociates" }
})
