import { define, spec, Tensor } from "../src/index.ts"

/**
 * Cross attention between two sequences, in the layout [batch, position, head, size], written with einsum. Values have 12
 * elements where queries and keys have 8. T queries of one sequence, S keys of the other.
 */
export const attention = define(
  ({ q, k, v }) =>
    Tensor.einsum("bthd,bshd->bhts", q, k).pipe(Tensor.div(Math.sqrt(8)), Tensor.softmax(-1), (weights) =>
      Tensor.einsum("bhts,bshe->bthe", weights, v)
    ),
  {
    q: spec("f32", ["B", "T", 3, 8]),
    k: spec("f32", ["B", "S", 3, 8]),
    v: spec("f32", ["B", "S", 3, 12])
  }
)
