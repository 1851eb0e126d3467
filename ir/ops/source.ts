import * as Attr from "../Attr.ts"
import type { DType } from "../DType.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import * as Shape from "../Shape.ts"

/** Nodes without operands: where values come from. */

export const input = Op.define("input", {
  family: "source",
  summary: "A named argument of the graph.",
  example: `%0: f16[B, 8, S, 64] = input {name = "k"}`,
  operands: [],
  attrs: { name: Attr.string, type: Attr.resultType },
  infer: (_, { type }) => ({ type })
})

/** Dtypes that hold integers of a range only; a bool is 0 or 1. */
const range: { readonly [D in DType]?: { readonly least: number; readonly greatest: number } } = {
  i32: { least: -(2 ** 31), greatest: 2 ** 31 - 1 },
  u32: { least: 0, greatest: 2 ** 32 - 1 },
  bool: { least: 0, greatest: 1 }
}

export const constant = Op.define("constant", {
  family: "source",
  summary: "A constant: one value for all elements, or every element in row-major order.",
  example: "%0: f32[] = constant {values = [0.125]}",
  operands: [],
  attrs: { values: Attr.numbers, type: Attr.resultType },
  infer: (_, { values, type }) => {
    const sizes = Shape.constants(type.shape)
    if (sizes === undefined) {
      throw Infer.attrError(
        "constant",
        `a constant has no symbolic size, given ${Shape.print(type.shape)}`,
        "broadcast a scalar"
      )
    }
    const size = sizes.reduce((a, b) => a * b, 1)
    if (values.length !== size && values.length !== 1) {
      throw Infer.attrError(
        "constant",
        `${values.length} values do not fill ${Shape.print(type.shape)}, which holds ${size}`
      )
    }
    const holds = range[type.dtype]
    const outside = holds && values.find((v) => !Number.isInteger(v) || v < holds.least || v > holds.greatest)
    if (outside !== undefined) {
      throw Infer.attrError("constant", `${Attr.printNumber(outside)} is not a value of ${type.dtype}`)
    }
    return { type }
  },
  facts: { exact: true }
})

export const iota = Op.define("iota", {
  family: "source",
  summary: "0, 1, 2, … along its only axis.",
  example: "%0: i32[T] = iota",
  operands: [],
  attrs: { type: Attr.resultType },
  infer: (_, { type }) => {
    if (type.dtype !== "i32" || type.shape.length !== 1) {
      throw Infer.attrError("iota", "the result is i32 of rank 1", "cast and broadcast it")
    }
    return { type }
  },
  facts: { exact: true, monotone: true }
})

export const dim = Op.define("dim", {
  family: "source",
  summary: "A length, or a polynomial of lengths, as a scalar.",
  example: "%0: i32[] = dim {value = S - T}",
  operands: [],
  attrs: { value: Attr.dim },
  infer: () => ({ type: { dtype: "i32", shape: [] } }),
  facts: { exact: true }
})

export const randomBits = Op.define("random_bits", {
  family: "source",
  summary:
    "Threefry-2x32 of (key = (seed, 0), counter = (row-major index, 0)), first word: the same bits everywhere.",
  example: `%0: u32[] = input {name = "seed"}\n%1: u32[T, S] = random_bits %0`,
  operands: ["seed"],
  attrs: { shape: Attr.resultShape },
  infer: ([seed], { shape }) => {
    if (seed?.dtype !== "u32" || seed.shape.length !== 0) {
      throw Infer.dtypeError("random_bits", seed ? [seed] : [], "the seed is a u32 scalar")
    }
    return { type: { dtype: "u32", shape } }
  },
  facts: { exact: true }
})
