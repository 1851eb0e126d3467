import * as Attr from "../Attr.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"

/** Predicates and choice. Comparisons with NaN are false, `ne` is true. */

const comparison = <const Name extends string>(
  name: Name,
  summary: string,
  holds: (x: number, y: number) => boolean,
  facts: Op.Facts = { exact: true }
) =>
  Op.define(name, {
    family: "compare",
    summary,
    example: `%0: i32[T, 1] = input {name = "x"}\n%1: i32[S] = input {name = "y"}\n%2: bool[T, S] = ${name} %0, %1`,
    operands: ["x", "y"],
    attrs: Attr.none,
    infer: Infer.elementwise(name, "any", "bool"),
    scalar: (x, y) => (holds(x as number, y as number) ? 1 : 0),
    facts
  })

const predicate = <const Name extends string>(name: Name, summary: string, holds: (x: number) => boolean) =>
  Op.define(name, {
    family: "compare",
    summary,
    example: `%0: f32[T] = input {name = "x"}\n%1: bool[T] = ${name} %0`,
    operands: ["x"],
    attrs: Attr.none,
    infer: Infer.elementwise(name, "float", "bool"),
    scalar: (x) => (holds(x as number) ? 1 : 0),
    facts: { exact: true }
  })

export const eq = comparison("eq", "x = y.", (x, y) => x === y, { exact: true, commutative: true })
export const ne = comparison("ne", "x ≠ y.", (x, y) => x !== y, { exact: true, commutative: true })
export const lt = comparison("lt", "x < y.", (x, y) => x < y)
export const le = comparison("le", "x ≤ y.", (x, y) => x <= y)
export const gt = comparison("gt", "x > y.", (x, y) => x > y)
export const ge = comparison("ge", "x ≥ y.", (x, y) => x >= y)
export const isNan = predicate(
  "is_nan",
  "Whether the element is NaN; a test of its bits on devices.",
  Number.isNaN
)
export const isInf = predicate(
  "is_inf",
  "Whether the element is +inf or -inf; a test of its bits on devices.",
  (x) => x === Infinity || x === -Infinity
)

export const select = Op.define("select", {
  family: "compare",
  summary: "`then` where the condition holds, `otherwise` elsewhere; the branch not taken never matters.",
  example: [
    `%0: bool[T, S] = input {name = "keep"}`,
    `%1: f32[8, T, S] = input {name = "scores"}`,
    "%2: f32[] = constant {values = [-inf]}",
    "%3: f32[8, T, S] = select %0, %1, %2"
  ].join("\n"),
  operands: ["condition", "then", "otherwise"],
  attrs: Attr.none,
  infer: (operands) => {
    const [condition, then, otherwise] = operands
    if (condition === undefined || then === undefined || otherwise === undefined) {
      throw Infer.attrError("select", "takes three operands")
    }
    if (condition.dtype !== "bool") throw Infer.dtypeError("select", operands, "the condition is a bool")
    const branches = Infer.elementwise("select", "any")([then, otherwise])
    const constraints = [...(branches.constraints ?? [])]
    const shape = Infer.broadcast("select", operands, constraints)
    return { type: { dtype: branches.type.dtype, shape }, constraints }
  },
  scalar: (condition, then, otherwise) => (condition !== 0 ? then : otherwise) as number,
  facts: { exact: true }
})
