import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type * as Graph from "../../../ir/Graph.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { expectOutputs } from "../../support/tolerance.ts"

/** What looks like something that a rule knows and means something else. The value stays what the expression says. */

const sizes = { B: 1, T: 3, S: 5 }

/** Values of inputs by name, repeated until the input is full; random where none are given. */
type Values = { readonly [name: string]: ReadonlyArray<number> }

const inputsOf = (graph: Graph.Graph, values: Values): ReadonlyArray<HostArray.HostArray> => {
  const from = arrays.random(5)
  return graph.inputs.map(({ attrs, type }) => {
    const shape = Shape.evaluate(type.shape, sizes)
    const own = values[attrs.name]
    if (own === undefined) return arrays.array(from, type.dtype, shape)
    const all = Float64Array.from(
      { length: HostArray.sizeOf(shape) },
      (_, i) => own[i % own.length] as number
    )
    return HostArray.fromNumbers(type.dtype, shape, all)
  })
}

/** Whether attention was fused. The optimised graph gives what the graph gives, with every op rounded if `rounded`. */
const keeps = (text: string, values: Values = {}, rounded = false): boolean => {
  const before = graphOf(text)
  const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const { graph, diagnostics } = Result.getOrThrow(
    Pipeline.run(pipeline, before, { limits: Limits.portable })
  )
  const inputs = inputsOf(before, values)
  const evaluate = (g: Graph.Graph) =>
    Reference.evaluate(g, inputs, sizes, { precision: rounded ? "f32" : "f64" })
  expectOutputs(before, sizes, evaluate(graph), evaluate(before), { reassociated: true })
  return diagnostics.some((d) => d.pass === "fuse-attention" && d.outcome === "fused")
}

const x = `%0: f32[T, S] = input {name = "x"}`
const zero = "%zero: f32[] = constant {values = [0]}"
const none = "%none: f32[] = constant {values = [-inf]}"

/** exp(y) over its sum along S, where `guard` makes %g: f32[T] of the sum %n. */
const normalised = (y: string, guard: string): string => `%e: f32[T, S] = exp ${y}
%n: f32[T] = reduce_sum %e {axes = [1]}
${guard}
%d: f32[T, 1] = reshape %g
%p: f32[T, S] = div %e, %d
return %p`

describe("sums that are more than sums", () => {
  test("a sum rounded to an integer", () => {
    keeps(`${x}\n${normalised("%0", "%i: i32[T] = cast %n\n%g: f32[T] = cast %i")}`)
  })
  test("at least a number, over weights of any size", () => {
    const guard = "%c: f32[] = constant {values = [1e-20]}\n%g: f32[T] = max %n, %c"
    keeps(`${x}\n${normalised("%0", guard)}`, { x: [-60, -61] })
  })
  test("at least a number, over weights whose greatest is masked", () => {
    keeps(
      `${x}
%keep: bool[T, S] = input {name = "keep"}
%m: f32[T] = reduce_max %0 {axes = [1]}
%mm: f32[T, 1] = reshape %m
%y: f32[T, S] = sub %0, %mm
%e: f32[T, S] = exp %y
${zero}
%w: f32[T, S] = select %keep, %e, %zero
%n: f32[T] = reduce_sum %w {axes = [1]}
%c: f32[] = constant {values = [1e-20]}
%g: f32[T] = max %n, %c
%d: f32[T, 1] = reshape %g
%p: f32[T, S] = div %w, %d
return %p`,
      { x: [100, 1, 2, 3, 4], keep: [0, 1, 1, 1, 1] }
    )
  })
  for (const [name, guard] of [
    [
      "another number in the place of 0",
      `${zero}
%one: f32[] = constant {values = [1]}
%none: bool[T] = eq %n, %zero
%g: f32[T] = select %none, %one, %n`
    ],
    ["a least number", "%c: f32[] = constant {values = [1e-20]}\n%g: f32[T] = max %n, %c"]
  ] as const) {
    test(`rows that a shift of -inf empties, with ${name}`, () => {
      const shifted = `%b: f32[T, 1] = input {name = "b"}\n%y: f32[T, S] = add %0, %b`
      keeps(`${x}\n${shifted}\n${normalised("%y", guard)}`, { b: [0, -Infinity, 1] })
    })
  }
  test("a guarded sum of another row", () => {
    keeps(
      `%0: f32[T, T, S] = input {name = "x"}
%e: f32[T, T, S] = exp %0
%n: f32[T, T] = reduce_sum %e {axes = [2]}
%u: f32[T, T] = transpose %n {perm = [1, 0]}
${zero}
%one: f32[] = constant {values = [1]}
%empty: bool[T, T] = eq %u, %zero
%g: f32[T, T] = select %empty, %one, %u
%d: f32[T, T, 1] = reshape %g
%p: f32[T, T, S] = div %e, %d
return %p`
    )
  })
})

describe("conditions of other rows", () => {
  const rows = [1, 2, 3, -Infinity, -Infinity, -Infinity, 1, 1, 2]
  test("a condition along the columns", () => {
    keeps(
      `%0: f32[T, T] = input {name = "x"}
${none}
%1: bool[T, T] = eq %0, %none
%2: bool[T] = reduce_min %1 {axes = [1]}
${zero}
%3: f32[T, T] = softmax %0 {axis = 1}
%4: f32[T, T] = select %2, %zero, %3
return %4`,
      { x: rows }
    )
  })
  test("a greatest score along the columns", () => {
    keeps(
      `%0: f32[T, T] = input {name = "x"}
${none}
%1: f32[T] = reduce_max %0 {axes = [1]}
%2: bool[T] = gt %1, %none
${zero}
%3: f32[T, T] = softmax %0 {axis = 1}
%4: f32[T, T] = select %2, %3, %zero
return %4`,
      { x: rows }
    )
  })
  test("the condition of one row for all", () => {
    keeps(
      `%0: f32[3, T] = input {name = "x"}
${none}
%1: bool[3, T] = eq %0, %none
%2: bool[3] = reduce_min %1 {axes = [1]}
%3: bool[1] = slice %2 {starts = [1], stops = [2], steps = [1]}
%4: bool[1, 1] = reshape %3
${zero}
%5: f32[3, T] = softmax %0 {axis = 1}
%6: f32[3, T] = select %4, %zero, %5
return %6`,
      { x: rows }
    )
  })
})

describe("shifts", () => {
  test("a log-sum-exp shifted back by more than a row", () => {
    keeps(`${x}
%m: f32[T, S] = input {name = "m"}
%y: f32[T, S] = sub %0, %m
%l: f32[T] = logsumexp %y {axis = 1}
%ll: f32[T, 1] = reshape %l
%a: f32[T, S] = add %ll, %m
%d: f32[T, S] = sub %0, %a
%p: f32[T, S] = exp %d
return %p`)
  })
  for (const [name, steps] of [
    ["scores", "%h: f16[T, S] = cast %y\n%e: f16[T, S] = exp %h"],
    ["weights", "%h: f32[T, S] = exp %y\n%e: f16[T, S] = cast %h"]
  ] as const) {
    test(`${name} that fit into a narrower type because of the shift`, () => {
      const text = `${x}
%m: f32[T] = reduce_max %0 {axes = [1]}
%mm: f32[T, 1] = reshape %m
%y: f32[T, S] = sub %0, %mm
${steps}
%n: f16[T] = reduce_sum %e {axes = [1]}
%d: f16[T, 1] = reshape %n
%p: f16[T, S] = div %e, %d
return %p`
      keeps(text, { x: [1000.25, 1000.75, 1001, 1002.5, 1001.125] }, true)
      keeps(text, { x: [100000.25, 100000.75, 100001, 100002.5, 100001.125] }, true)
    })
  }
})

describe("numbers", () => {
  test("factors whose product has fewer digits", () => {
    const c = "%c: f16[] = constant {values = [0.001]}"
    keeps(
      `%0: f16[T] = input {name = "x"}\n${c}\n%1: f16[T] = mul %0, %c\n%2: f16[T] = mul %1, %c\nreturn %2`,
      { x: [60000, 30000] },
      true
    )
  })
  test("integers that have no negative wrap", () => {
    const masked = (dtype: string, fill: number) => `%0: bool[T] = input {name = "keep"}
%1: ${dtype}[T] = cast %0
%2: ${dtype}[] = constant {values = [1]}
%3: ${dtype}[T] = sub %1, %2
%4: ${dtype}[] = constant {values = [${fill}]}
%5: ${dtype}[T] = mul %3, %4
return %5`
    keeps(masked("i32", -(2 ** 31)))
    keeps(masked("u32", 7))
    keeps(`%0: bool[T] = input {name = "keep"}
%1: u32[T] = input {name = "x"}
%2: u32[] = constant {values = [0]}
%3: u32[] = constant {values = [7]}
%4: u32[T] = select %0, %2, %3
%5: u32[T] = sub %1, %4
return %5`)
  })
  test("a product of large integers wraps exactly", () => {
    keeps("%0: i32[] = constant {values = [2147483647]}\n%1: i32[] = mul %0, %0\nreturn %1")
  })
})

/** Attention over scores %x made of logits %s, and weights %w made of a softmax %p. */
const attention = (
  scores: string,
  weights = "",
  dtype = "f32"
) => `%q: ${dtype}[B, 2, T, 4] = input {name = "q"}
%k: ${dtype}[B, 2, S, 4] = input {name = "k"}
%v: ${dtype}[B, 2, S, 4] = input {name = "v"}
%keep: bool[T, S] = input {name = "keep"}
%s: ${dtype}[B, 2, T, S] = dot %q, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
${scores}
%p: ${dtype}[B, 2, T, S] = softmax %x {axis = 3}
${weights}
%o: ${dtype}[B, 2, T, 4] = dot ${weights === "" ? "%p" : "%w"}, %v {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
return %o`

describe("attention that fuses, with its own meaning", () => {
  const thresholds: { readonly [name: string]: string } = {
    "scores kept by their own size": `${zero}
${none}
%c: bool[B, 2, T, S] = gt %s, %zero
%x: f32[B, 2, T, S] = select %c, %s, %none`,
    "the logarithm of scores": `${zero}\n%c: f32[B, 2, T, S] = max %s, %zero\n%x: f32[B, 2, T, S] = log %c`,
    "a fill of +inf": `%c: f32[] = constant {values = [inf]}\n%x: f32[B, 2, T, S] = select %keep, %s, %c`,
    "a fill of NaN": `%c: f32[] = constant {values = [nan]}\n%x: f32[B, 2, T, S] = select %keep, %s, %c`
  }
  for (const [name, scores] of Object.entries(thresholds)) {
    test(name, () => {
      expect(keeps(attention(scores))).toBe(true)
    })
  }
  test("a fill that a narrower type rounds to -inf", () => {
    const scores = `%wide: f32[B, 2, T, S] = cast %s
%c: f32[] = constant {values = [-1000000000]}
%y: f32[B, 2, T, S] = select %keep, %wide, %c
%x: f16[B, 2, T, S] = cast %y`
    expect(keeps(attention(scores, "", "f16"), { keep: [0] }, true)).toBe(true)
    expect(keeps(attention(scores, "", "f16"), { keep: [1, 0] }, true)).toBe(true)
  })
  test("columns of -inf without values", () => {
    const text = `%q: f32[B, 2, T, 4] = input {name = "q"}
%k: f32[B, 2, S, 4] = input {name = "k"}
%sinks: f32[3] = input {name = "sinks"}
%s: f32[B, 2, T, S] = dot %q, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
%b: f32[B, 2, T, 3] = broadcast %sinks
%c: f32[B, 2, T, S + 3] = concat %s, %b {axis = 3}
%p: f32[B, 2, T, S + 3] = softmax %c {axis = 3}
%w: f32[B, 2, T, S] = slice %p {starts = [0, 0, 0, 0], stops = [B, 2, T, S], steps = [1, 1, 1, 1]}
%o: f32[B, 2, T, 4] = dot %w, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
return %o`
    for (const sinks of [[-Infinity], [-Infinity, 1, -Infinity], [1, -Infinity, -Infinity], [90, -200, 1]])
      expect(keeps(text, { sinks })).toBe(true)
  })
  test("values and keys of a wider type than queries", () => {
    expect(
      keeps(`%q: f16[B, 2, T, 4] = input {name = "q"}
%k: f32[B, 2, S, 4] = input {name = "k"}
%v: f64[B, 2, S, 4] = input {name = "v"}
%wide: f32[B, 2, T, 4] = cast %q
%s: f32[B, 2, T, S] = dot %wide, %k {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
%p: f32[B, 2, T, S] = softmax %s {axis = 3}
%w: f64[B, 2, T, S] = cast %p
%o: f64[B, 2, T, 4] = dot %w, %v {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
return %o`)
    ).toBe(true)
  })
  for (const [name, made] of [
    ["a hash that wraps", "%h: i32[T, S] = add %m, %offset\n%y: bool[T, S] = ge %h, %nil"],
    ["the remainder of a hash that wraps", "%h: i32[T, S] = mod %m, %three\n%y: bool[T, S] = eq %h, %nil"]
  ] as const) {
    test(`a mask by ${name}`, () => {
      const scores = `%rows: i32[T] = iota
%i: i32[T, 1] = reshape %rows
%j: i32[S] = iota
%nil: i32[] = constant {values = [0]}
%three: i32[] = constant {values = [3]}
%offset: i32[] = constant {values = [1013904223]}
%factor: i32[] = constant {values = [1103515245]}
%five: i32[] = constant {values = [5]}
%n: i32[T, 1] = mul %i, %five
%a: i32[T, S] = add %n, %j
%m: i32[T, S] = mul %a, %factor
${made}
${none}
%x: f32[B, 2, T, S] = select %y, %s, %none`
      expect(keeps(attention(scores))).toBe(true)
    })
  }
})

describe("weights that choose", () => {
  for (const dtype of ["i32", "bool"]) {
    test(`weights as ${dtype}`, () => {
      const weights = `%c: ${dtype}[B, 2, T, S] = cast %p\n%w: f32[B, 2, T, S] = cast %c`
      expect(
        keeps(attention("%one: f32[] = constant {values = [3]}\n%x: f32[B, 2, T, S] = mul %s, %one", weights))
      ).toBe(false)
    })
  }
})
