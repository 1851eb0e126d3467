import * as Attr from "../Attr.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type { TensorType } from "../TensorType.ts"

/**
 * Many elements to one. The reduced axes disappear; a kept axis is a reshape. f16 and bf16 accumulate in f32 and
 * round once at the end.
 */

const reduction = <const Name extends string>(
  name: Name,
  summary: string,
  domain: "number" | "any",
  facts: Op.Facts
) =>
  Op.define(name, {
    family: "reduce",
    summary,
    example: `%0: f32[T, S] = input {name = "x"}\n%1: f32[T] = ${name} %0 {axes = [1]}`,
    operands: ["x"],
    attrs: { axes: Attr.ints },
    infer: (operands, { axes }) => {
      const x = operands[0] as TensorType
      Infer.requireDomain(name, operands, x.dtype, domain)
      Infer.axes(name, axes, x.shape.length)
      return { type: { dtype: x.dtype, shape: Infer.without(x.shape, axes) } }
    },
    facts
  })

export const reduceSum = reduction("reduce_sum", "Sum over axes; 0 over nothing.", "number", {
  associative: "reassociates"
})
export const reduceProd = reduction(
  "reduce_prod",
  "Product over axes, infinite or 0 only if the whole is; 1 over nothing.",
  "number",
  {
    associative: "reassociates"
  }
)
export const reduceMax = reduction(
  "reduce_max",
  "Largest over axes, `any` on bools; over nothing the least value of the dtype (-inf, false).",
  "any",
  { associative: "exact", monotone: true, exact: true }
)
export const reduceMin = reduction(
  "reduce_min",
  "Smallest over axes, `all` on bools; over nothing the greatest value of the dtype (inf, true).",
  "any",
  { associative: "exact", monotone: true, exact: true }
)

export const argmax = Op.define("argmax", {
  family: "reduce",
  summary: "Index of the first largest element along an axis; 0 over nothing.",
  example: `%0: f32[T, S] = input {name = "x"}\n%1: i32[T] = argmax %0 {axis = 1}`,
  operands: ["x"],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => {
    const x = operands[0] as TensorType
    Infer.requireDomain("argmax", operands, x.dtype, "number")
    Infer.axis("argmax", axis, x.shape.length)
    return { type: { dtype: "i32", shape: Infer.without(x.shape, [axis]) } }
  },
  facts: { exact: true }
})

export const cumsum = Op.define("cumsum", {
  family: "reduce",
  summary: "Running sum along an axis, the own element included.",
  example: `%0: i32[B, T] = input {name = "x"}\n%1: i32[B, T] = cumsum %0 {axis = 1}`,
  operands: ["x"],
  attrs: { axis: Attr.int },
  infer: (operands, { axis }) => {
    const x = operands[0] as TensorType
    Infer.requireDomain("cumsum", operands, x.dtype, "number")
    Infer.axis("cumsum", axis, x.shape.length)
    return { type: x }
  }
})
