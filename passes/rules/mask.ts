import type * as Node from "../../ir/Node.ts"
import * as Scalar from "../../ir/Scalar.ts"
import { constant, named, number, ops, uniform } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { add, and, cast, mul, select, sub } = ops

const scores = `%0: f32[T, S] = input {name = "scores"}\n%1: bool[T, S] = input {name = "keep"}`

const isTruth = (node: Node.Node): boolean => node.type.dtype === "bool"
const minusInfinity = (node: Node.Node): boolean => uniform(node) === -Infinity

/** Masks as a choice between a score and its fill. A finite fill stays what it is: it is never taken for -inf. */
export const masks: ReadonlyArray<Rule.Rule> = [
  // x + select(c, 0, f) = select(c, x, x + f)
  Rule.make("additive-select", {
    law: "x + select(c, 0, f) = select(c, x, x + f)",
    kind: "refines-nan",
    match: ({ x, c }) => add(x, select(c, number(0), constant("f"))),
    when: (m) => uniform(m.get("x")) === undefined,
    rewrite: Rule.by((m) => m.build("select", [m.get("c"), m.get("x"), filled(m, m.get("f"))], {})),
    example: `${scores}\n%2: f32[] = constant {values = [0]}\n%3: f32[] = constant {values = [-inf]}\n%4: f32[T, S] = select %1, %2, %3\n%5: f32[T, S] = add %0, %4`
  }),
  // x + select(c, f, 0) = select(c, x + f, x)
  Rule.make("additive-select-dropped", {
    law: "x + select(c, f, 0) = select(c, x + f, x)",
    kind: "refines-nan",
    match: ({ x, c }) => add(x, select(c, constant("f"), number(0))),
    when: (m) => uniform(m.get("x")) === undefined,
    rewrite: Rule.by((m) => m.build("select", [m.get("c"), filled(m, m.get("f")), m.get("x")], {})),
    example: `${scores}\n%2: f32[] = constant {values = [0]}\n%3: f32[] = constant {values = [-10000]}\n%4: f32[T, S] = select %1, %3, %2\n%5: f32[T, S] = add %0, %4`
  }),
  // (1 - c) · f = select(c, 0, f) for a truth value c
  Rule.make("one-minus-keep", {
    law: "(1 - c) · f = select(c, 0, f) for c of 0 or 1",
    kind: "refines-nan",
    match: ({ c }) => mul(sub(number(1), cast(c)), constant("f")),
    when: (m) => isTruth(m.get("c")),
    rewrite: Rule.by((m) => m.build("select", [m.get("c"), m.constant(0), m.constant(m.number("f"))], {})),
    example: `%0: bool[T, S] = input {name = "keep"}\n%1: f32[T, S] = cast %0\n%2: f32[] = constant {values = [1]}\n%3: f32[T, S] = sub %2, %1\n%4: f32[] = constant {values = [-1000000000]}\n%5: f32[T, S] = mul %3, %4`
  }),
  // c · f = select(c, f, 0) for a truth value c
  Rule.make("drop-times-fill", {
    law: "c · f = select(c, f, 0) for c of 0 or 1",
    kind: "refines-nan",
    match: ({ c }) => mul(cast(c), constant("f")),
    when: (m) => isTruth(m.get("c")),
    rewrite: Rule.by((m) => m.build("select", [m.get("c"), m.constant(m.number("f")), m.constant(0)], {})),
    example: `%0: bool[T, S] = input {name = "drop"}\n%1: f32[T, S] = cast %0\n%2: f32[] = constant {values = [-10000]}\n%3: f32[T, S] = mul %1, %2`
  }),
  // (c - 1) · f = select(c, 0, -f) for a truth value c
  Rule.make("keep-minus-one", {
    law: "(c - 1) · f = select(c, 0, -f) for c of 0 or 1",
    kind: "refines-nan",
    match: ({ c }) => mul(sub(cast(c), number(1)), constant("f")),
    when: (m) => isTruth(m.get("c")),
    rewrite: Rule.by((m) => m.build("select", [m.get("c"), m.constant(0), negated(m, "f")], {})),
    example: `%0: bool[T, S] = input {name = "keep"}\n%1: f32[T, S] = cast %0\n%2: f32[] = constant {values = [1]}\n%3: f32[T, S] = sub %1, %2\n%4: f32[] = constant {values = [10000]}\n%5: f32[T, S] = mul %3, %4`
  }),
  // x - select(c, 0, f) = select(c, x, x - f)
  Rule.make("subtracted-select", {
    law: "x - select(c, 0, f) = x + select(c, 0, -f)",
    kind: "exact",
    match: ({ x, c }) => sub(x, select(c, number(0), constant("f"))),
    rewrite: Rule.by((m) => {
      const addend = m.build("select", [m.get("c"), m.constant(0), negated(m, "f")], {})
      return m.build("add", [m.get("x"), addend], {})
    }),
    example: `${scores}\n%2: f32[] = constant {values = [0]}\n%3: f32[] = constant {values = [10000]}\n%4: f32[T, S] = select %1, %2, %3\n%5: f32[T, S] = sub %0, %4`
  }),
  // select(c, select(d, x, f), f) = select(c ∧ d, x, f)
  Rule.make("masks-in-a-row", {
    law: "select(c, select(d, x, f), f) = select(c ∧ d, x, f)",
    kind: "exact",
    match: ({ c, d, x }) => select(c, named("inner", select(d, x, constant("f"))), constant("g")),
    when: (m) => m.number("f") === m.number("g"),
    rewrite: ({ c, d, x }) => select(and(c, d), x, constant("f")),
    example: `${scores}\n%2: bool[S] = input {name = "padding"}\n%3: f32[] = constant {values = [-inf]}\n%4: f32[T, S] = select %1, %0, %3\n%5: f32[T, S] = select %2, %4, %3`
  }),
  // select(c, f, select(d, x, f)) = select(c, f, select(d, x, f)) as one choice
  Rule.make("drop-in-front", {
    law: "select(c, -∞, select(d, x, -∞)) = select(d ∧ ¬c, x, -∞)",
    kind: "exact",
    match: ({ c, d, x }) => select(c, constant("f"), select(d, x, constant("g"))),
    when: (m) => minusInfinity(m.get("f")) && minusInfinity(m.get("g")),
    rewrite: ({ c, d, x }) => select(and(d, ops.not(c)), x, constant("g")),
    example: `${scores}\n%2: bool[S] = input {name = "drop"}\n%3: f32[] = constant {values = [-inf]}\n%4: f32[T, S] = select %1, %0, %3\n%5: f32[T, S] = select %2, %3, %4`
  })
]

/** -f in the dtype of the result: integers wrap. */
const negated = (m: Rule.Match, f: string): Node.Node =>
  m.constant(Scalar.wrap[m.get("root").type.dtype](-m.number(f)))

/** x + f, which is -inf for an infinite f. */
const filled = (m: Rule.Match, f: Node.Node): Node.Node =>
  minusInfinity(f) ? m.constant(-Infinity) : m.build("add", [m.get("x"), f], {})
