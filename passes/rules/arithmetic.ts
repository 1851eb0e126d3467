import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import * as Scalar from "../../ir/Scalar.ts"
import { constant, named, number, ops, uniform } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { add, and, div, mul, neg, not, or, pow, select, sub } = ops

const x4 = `%0: f32[T, 4] = input {name = "x"}`
const withConstant = (value: number, op: string): string =>
  `${x4}\n%1: f32[] = constant {values = [${value}]}\n%2: f32[T, 4] = ${op} %0, %1`

const isPowerOfTwo = (x: number): boolean =>
  Number.isFinite(x) &&
  x !== 0 &&
  Number.isInteger(Math.log2(Math.abs(x))) &&
  Math.abs(Math.log2(Math.abs(x))) < 14

/** The smallest normal numbers: what is smaller has fewer digits, and is 0 on some devices. */
const smallest: { readonly [D in DType.DType]: number } = {
  f64: 2 ** -1022,
  f32: 2 ** -126,
  bf16: 2 ** -126,
  f16: 2 ** -14,
  i32: 1,
  u32: 1,
  bool: 1
}

const isConstant = (node: Node.Node): boolean => uniform(node) !== undefined

/** Arithmetic that every reader does in their head. */
export const arithmetic: ReadonlyArray<Rule.Rule> = [
  // x · 1 = x
  Rule.make("mul-one", {
    law: "x · 1 = x",
    kind: "exact",
    match: ({ x }) => mul(x, number(1)),
    rewrite: ({ x }) => x,
    example: withConstant(1, "mul")
  }),
  // x / 1 = x
  Rule.make("div-one", {
    law: "x / 1 = x",
    kind: "exact",
    match: ({ x }) => div(x, number(1)),
    rewrite: ({ x }) => x,
    example: withConstant(1, "div")
  }),
  // x + 0 = x
  Rule.make("add-zero", {
    law: "x + 0 = x",
    kind: "exact",
    match: ({ x }) => add(x, number(0)),
    rewrite: ({ x }) => x,
    example: withConstant(0, "add")
  }),
  // x - 0 = x
  Rule.make("sub-zero", {
    law: "x - 0 = x",
    kind: "exact",
    match: ({ x }) => sub(x, number(0)),
    rewrite: ({ x }) => x,
    example: withConstant(0, "sub")
  }),
  // 0 - x = -x
  Rule.make("zero-sub", {
    law: "0 - x = -x",
    kind: "exact",
    match: ({ x }) => sub(number(0), x),
    rewrite: ({ x }) => neg(x),
    example: `${x4}\n%1: f32[] = constant {values = [0]}\n%2: f32[T, 4] = sub %1, %0`
  }),
  // -(-x) = x
  Rule.make("neg-neg", {
    law: "-(-x) = x",
    kind: "exact",
    match: ({ x }) => neg(neg(x)),
    rewrite: ({ x }) => x,
    example: `${x4}\n%1: f32[T, 4] = neg %0\n%2: f32[T, 4] = neg %1`
  }),
  // x · -1 = -x
  Rule.make("mul-minus-one", {
    law: "x · -1 = -x",
    kind: "exact",
    match: ({ x }) => mul(x, number(-1)),
    rewrite: ({ x }) => neg(x),
    example: withConstant(-1, "mul")
  }),
  // x + (-y) = x - y
  Rule.make("add-neg", {
    law: "x + (-y) = x - y",
    kind: "exact",
    match: ({ x, y }) => add(x, neg(y)),
    rewrite: ({ x, y }) => sub(x, y),
    example: `${x4}\n%1: f32[4] = input {name = "y"}\n%2: f32[4] = neg %1\n%3: f32[T, 4] = add %0, %2`
  }),
  // x - (-y) = x + y
  Rule.make("sub-neg", {
    law: "x - (-y) = x + y",
    kind: "exact",
    match: ({ x, y }) => sub(x, neg(y)),
    rewrite: ({ x, y }) => add(x, y),
    example: `${x4}\n%1: f32[4] = input {name = "y"}\n%2: f32[4] = neg %1\n%3: f32[T, 4] = sub %0, %2`
  }),
  // c · x = x · c
  Rule.make("constant-last", {
    law: "c ∘ x = x ∘ c for + and ·",
    kind: "exact",
    match: ({ x }) => named("product", mul(constant("c"), x)),
    when: (m) => m.get("root").operands[0] === m.get("c") && !isConstant(m.get("x")),
    rewrite: ({ c, x }) => mul(x, c),
    example: `${x4}\n%1: f32[] = constant {values = [3]}\n%2: f32[T, 4] = mul %1, %0`
  }),
  // x / c = x · (1/c), exact where c is a power of two
  Rule.make("div-power-of-two", {
    law: "x / c = x · (1/c) for c = 2ⁿ",
    kind: "exact",
    match: ({ x }) => div(x, constant("c")),
    when: (m) => isPowerOfTwo(m.number("c")) && m.number("c") !== 1,
    rewrite: Rule.by((m) => m.build("mul", [m.get("x"), m.constant(1 / m.number("c"))], {})),
    example: withConstant(8, "div")
  }),
  // (x · c) · d = x · (c · d)
  Rule.make("mul-constants", {
    law: "(x · c) · d = x · (c · d)",
    kind: "reassociates",
    match: ({ x }) => mul(named("inner", mul(x, constant("c"))), constant("d")),
    when: (m) => DType.isFloat(m.get("root").type.dtype) && !isConstant(m.get("x")) && isConstant(m.get("c")),
    rewrite: Rule.by((m) => {
      const product = Scalar.wrap[m.get("root").type.dtype](m.number("c") * m.number("d"))
      // A product that leaves the range in which the dtype is precise is not the same factor any more.
      return Number.isFinite(product) && Math.abs(product) >= smallest[m.get("root").type.dtype]
        ? m.build("mul", [m.get("x"), m.constant(product)], {})
        : undefined
    }),
    example: `${x4}\n%1: f32[] = constant {values = [3]}\n%2: f32[T, 4] = mul %0, %1\n%3: f32[] = constant {values = [0.1]}\n%4: f32[T, 4] = mul %2, %3`
  }),
  // x · (1/y) = x / y
  Rule.make("mul-reciprocal", {
    law: "x · (1/y) = x / y",
    kind: "reassociates",
    match: ({ x, y }) => mul(x, div(number(1), y)),
    rewrite: ({ x, y }) => div(x, y),
    example: `${x4}\n%1: f32[4] = input {name = "y"}\n%2: f32[] = constant {values = [1]}\n%3: f32[4] = div %2, %1\n%4: f32[T, 4] = mul %0, %3`
  }),
  // x · y⁻¹ = x / y
  Rule.make("mul-inverse-power", {
    law: "x · y⁻¹ = x / y",
    kind: "reassociates",
    match: ({ x, y }) => mul(x, pow(y, number(-1))),
    rewrite: ({ x, y }) => div(x, y),
    example: `${x4}\n%1: f32[4] = input {name = "y"}\n%2: f32[] = constant {values = [-1]}\n%3: f32[4] = pow %1, %2\n%4: f32[T, 4] = mul %0, %3`
  }),
  // x² = x · x
  Rule.make("pow-two", {
    law: "x² = x · x",
    kind: "reassociates",
    match: ({ x }) => pow(x, number(2)),
    rewrite: ({ x }) => mul(x, x),
    example: withConstant(2, "pow")
  }),
  // ¬¬x = x
  Rule.make("not-not", {
    law: "¬¬x = x",
    kind: "exact",
    match: ({ x }) => not(not(x)),
    rewrite: ({ x }) => x,
    example: `%0: bool[T] = input {name = "x"}\n%1: bool[T] = not %0\n%2: bool[T] = not %1`
  }),
  // x ∧ x = x
  Rule.make("and-same", {
    law: "x ∧ x = x",
    kind: "exact",
    match: ({ x }) => and(x, x),
    rewrite: ({ x }) => x,
    example: `%0: bool[T] = input {name = "x"}\n%1: bool[T] = and %0, %0`
  }),
  // x ∧ (x ∧ y) = x ∧ y
  Rule.make("and-again", {
    law: "x ∧ (x ∧ y) = x ∧ y",
    kind: "exact",
    match: ({ x, y }) => and(x, and(x, y)),
    rewrite: ({ x, y }) => and(x, y),
    example: `%0: bool[T, 1] = input {name = "x"}\n%1: bool[4] = input {name = "y"}\n%2: bool[T, 4] = and %0, %1\n%3: bool[T, 4] = and %0, %2`
  }),
  // x ∨ x = x
  Rule.make("or-same", {
    law: "x ∨ x = x",
    kind: "exact",
    match: ({ x }) => or(x, x),
    rewrite: ({ x }) => x,
    example: `%0: bool[T] = input {name = "x"}\n%1: bool[T] = or %0, %0`
  }),
  // select(¬c, x, y) = select(c, y, x)
  Rule.make("select-not", {
    law: "select(¬c, x, y) = select(c, y, x)",
    kind: "exact",
    match: ({ c, x, y }) => select(not(c), x, y),
    rewrite: ({ c, x, y }) => select(c, y, x),
    example: `%0: bool[T, 4] = input {name = "c"}\n%1: f32[T, 4] = input {name = "x"}\n%2: f32[4] = input {name = "y"}\n%3: bool[T, 4] = not %0\n%4: f32[T, 4] = select %3, %1, %2`
  }),
  // select(c, x, x) = x
  Rule.make("select-same", {
    law: "select(c, x, x) = x",
    kind: "exact",
    match: ({ c, x }) => select(c, x, x),
    rewrite: ({ x }) => x,
    example: `%0: bool[T, 4] = input {name = "c"}\n%1: f32[T, 4] = input {name = "x"}\n%2: f32[T, 4] = select %0, %1, %1`
  }),
  // select(true, x, y) = x
  Rule.make("select-true", {
    law: "select(true, x, y) = x",
    kind: "exact",
    match: ({ x, y }) => select(number(1), x, y),
    rewrite: ({ x }) => x,
    example: `%0: bool[] = constant {values = [1]}\n%1: f32[T, 4] = input {name = "x"}\n%2: f32[4] = input {name = "y"}\n%3: f32[T, 4] = select %0, %1, %2`
  }),
  // select(false, x, y) = y
  Rule.make("select-false", {
    law: "select(false, x, y) = y",
    kind: "exact",
    match: ({ x, y }) => select(number(0), x, y),
    rewrite: ({ y }) => y,
    example: `%0: bool[] = constant {values = [0]}\n%1: f32[4] = input {name = "x"}\n%2: f32[T, 4] = input {name = "y"}\n%3: f32[T, 4] = select %0, %1, %2`
  })
]
