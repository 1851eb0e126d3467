import * as Attr from "../Attr.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import * as TensorType from "../TensorType.ts"

/**
 * What a backend runs as one kernel: the value of a graph over the operands. Around at most one anchor (a reduction, a
 * contraction, a normalisation, attention) the body holds what is folded into it: views and elementwise work on the
 * way in, elementwise work on the way out.
 */
export const fused = Op.define("fused", {
  family: "fused",
  summary: "The value of its body on the operands, computed by one kernel.",
  example: [
    `%0: f32[T, S] = input {name = "x"}`,
    "%1: f32[S, T] = fused %0 {",
    "  body = {",
    `    %0: f32[T, S] = input {name = "a"}`,
    "    %1: f32[S, T] = transpose %0 {perm = [1, 0]}",
    "    %2: f32[S, T] = exp %1",
    "    return %2",
    "  }",
    "}"
  ].join("\n"),
  operands: ["operands..."],
  attrs: { body: Attr.region },
  infer: (operands, { body }) => {
    const takes = body.inputs.map((i) => i.type)
    if (
      takes.length !== operands.length ||
      !takes.every((t, i) => TensorType.equals(t, operands[i] as TensorType.TensorType))
    ) {
      throw Infer.attrError(
        "fused",
        `the body takes (${takes.map(TensorType.print).join(", ")}) but is given (${operands.map(TensorType.print).join(", ")})`
      )
    }
    const [result, ...more] = body.outputs
    if (result === undefined || more.length > 0) throw Infer.attrError("fused", "the body returns one value")
    return { type: result.node.type }
  }
})
