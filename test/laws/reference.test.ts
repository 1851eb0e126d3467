import { describe, expect, it } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import * as Dim from "../../ir/Dim.ts"
import * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Node } from "../../ir/Node.ts"
import { specOf } from "../../ir/Node.ts"
import { type OpName, opNames } from "../../ir/ops.ts"
import * as Shape from "../../ir/Shape.ts"
import { array, integers, type Random, random } from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import { expectOutputs } from "../support/tolerance.ts"

/** The op's own example as a graph that returns every node of that op. */
const exampleOf = (op: OpName): Graph.Graph => {
  const { example } = specOf(op)
  const results = [...example.matchAll(/^(%\d+): .*? = (\w+)/gm)].filter((match) => match[2] === op)
  return graphOf(`${example}\nreturn ${results.map((match, i) => `"r${i}": ${match[1]}`).join(", ")}`)
}

const lengths = [0, 1, 2, 3, 5, 7]

/** Random sizes for the symbols that hold what the shape rules assumed; undefined where none was found. */
const sizesFor = (graph: Graph.Graph, from: Random): Dim.Bindings | undefined => {
  for (let attempt = 0; attempt < 200; attempt++) {
    const sizes = Object.fromEntries(Graph.symbols(graph).map((name) => [name, from.pick(lengths)]))
    const holds = Graph.constraints(graph).every(({ left, relation, right }) => {
      const [l, r] = [Dim.evaluate(left, sizes), Dim.evaluate(right, sizes)]
      return relation === "=" ? l === r : l <= r
    })
    if (holds && graph.nodes.every((n) => Shape.evaluate(n.type.shape, sizes).every((d) => d >= 0)))
      return sizes
  }
  return undefined
}

const inputsFor = (graph: Graph.Graph, sizes: Dim.Bindings, from: Random): ReadonlyArray<HostArray> =>
  graph.inputs.map(({ type }) => {
    const shape = Shape.evaluate(type.shape, sizes)
    return type.dtype === "i32" ? integers(from, shape, -3, 9) : array(from, type.dtype, shape)
  })

describe("the type an op infers is the type of its value", () => {
  it.each(opNames)("%s", (op) => {
    const graph = exampleOf(op)
    const from = random(opNames.indexOf(op) + 1)
    for (let trial = 0; trial < 8; trial++) {
      const sizes = sizesFor(graph, from)
      expect(sizes, `no sizes satisfy the example of ${op}`).toBeDefined()
      const results = Reference.evaluate(
        graph,
        inputsFor(graph, sizes as Dim.Bindings, from),
        sizes as Dim.Bindings
      )
      expect(results.map((r) => r.dtype)).toEqual(graph.outputs.map((o) => o.node.type.dtype))
      expect(results.map((r) => r.shape)).toEqual(
        graph.outputs.map((o) => Shape.evaluate(o.node.type.shape, sizes as Dim.Bindings))
      )
    }
  })
})

describe("rounding to dtypes stays within the derived tolerance of the oracle", () => {
  const floats = opNames.filter((op) => exampleOf(op).outputs.every((o) => o.node.type.dtype.startsWith("f")))
  it.each(floats)("%s", (op) => {
    const graph = exampleOf(op)
    const from = random(opNames.indexOf(op) + 77)
    for (let trial = 0; trial < 4; trial++) {
      const sizes = sizesFor(graph, from) as Dim.Bindings
      const inputs = inputsFor(graph, sizes, from)
      const [actual, oracle] = (["f32", "f64"] as const).map((precision) =>
        Reference.evaluate(graph, inputs, sizes, { precision })
      ) as [ReadonlyArray<HostArray>, ReadonlyArray<HostArray>]
      expectOutputs(graph, sizes, actual, oracle)
    }
  })
})

/** The definition of each normalisation by primitives, on rows of f32[T, S]; `whole` has the op itself. */
const definitions: { readonly [op: string]: { readonly whole: string; readonly primitive: string } } = {
  softmax: {
    whole: "%y: f32[T, S] = softmax %x {axis = 1}",
    primitive: `%m0: f32[T] = reduce_max %x {axes = [1]}
      %none: f32[] = constant {values = [-inf]}
      %empty: bool[T] = eq %m0, %none
      %zero: f32[] = constant {values = [0]}
      %m1: f32[T] = select %empty, %zero, %m0
      %m: f32[T, 1] = reshape %m1
      %d: f32[T, S] = sub %x, %m
      %e: f32[T, S] = exp %d
      %l0: f32[T] = reduce_sum %e {axes = [1]}
      %one: f32[] = constant {values = [1]}
      %l1: f32[T] = select %empty, %one, %l0
      %l: f32[T, 1] = reshape %l1
      %y: f32[T, S] = div %e, %l`
  },
  logsumexp: {
    whole: "%y: f32[T] = logsumexp %x {axis = 1}",
    primitive: `%m0: f32[T] = reduce_max %x {axes = [1]}
      %none: f32[] = constant {values = [-inf]}
      %empty: bool[T] = eq %m0, %none
      %zero: f32[] = constant {values = [0]}
      %m1: f32[T] = select %empty, %zero, %m0
      %m: f32[T, 1] = reshape %m1
      %d: f32[T, S] = sub %x, %m
      %e: f32[T, S] = exp %d
      %l: f32[T] = reduce_sum %e {axes = [1]}
      %g: f32[T] = log %l
      %y: f32[T] = add %g, %m1`
  },
  layer_norm: {
    whole: "%y: f32[T, S] = layer_norm %x {axis = 1, epsilon = 0.001}",
    primitive: `%n0: i32[] = dim {value = S}
      %n: f32[] = cast %n0
      %s: f32[T] = reduce_sum %x {axes = [1]}
      %c0: f32[T] = div %s, %n
      %c: f32[T, 1] = reshape %c0
      %d: f32[T, S] = sub %x, %c
      %q: f32[T, S] = mul %d, %d
      %v0: f32[T] = reduce_sum %q {axes = [1]}
      %v: f32[T] = div %v0, %n
      %epsilon: f32[] = constant {values = [0.001]}
      %w: f32[T] = add %v, %epsilon
      %r0: f32[T] = rsqrt %w
      %r: f32[T, 1] = reshape %r0
      %y: f32[T, S] = mul %d, %r`
  },
  rms_norm: {
    whole: "%y: f32[T, S] = rms_norm %x {axis = 1, epsilon = 0.001}",
    primitive: `%n0: i32[] = dim {value = S}
      %n: f32[] = cast %n0
      %q: f32[T, S] = mul %x, %x
      %v0: f32[T] = reduce_sum %q {axes = [1]}
      %v: f32[T] = div %v0, %n
      %epsilon: f32[] = constant {values = [0.001]}
      %w: f32[T] = add %v, %epsilon
      %r0: f32[T] = rsqrt %w
      %r: f32[T, 1] = reshape %r0
      %y: f32[T, S] = mul %x, %r`
  }
}

describe("a normalisation is its primitive expansion", () => {
  it.each(Object.keys(definitions))("%s", (op) => {
    const { whole, primitive } = definitions[op] as { whole: string; primitive: string }
    const [a, b] = [whole, primitive].map((body) =>
      graphOf(`%x: f32[T, S] = input {name = "x"}\n${body}\nreturn %y`)
    ) as [Graph.Graph, Graph.Graph]
    const from = random(31)
    for (const [T, S] of [
      [1, 1],
      [3, 7],
      [5, 64],
      [0, 3],
      [3, 0],
      [2, 257]
    ] as const) {
      for (const kind of [
        "normal",
        ...(op === "softmax" || op === "logsumexp" ? ["holes" as const] : [])
      ] as const) {
        const x = array(from, "f32", [T, S], kind)
        if (T > 1 && kind === "holes") x.data.fill(-Infinity, 0, S)
        expectOutputs(
          b,
          { T, S },
          Reference.evaluate(a, [x], { T, S }),
          Reference.evaluate(b, [x], { T, S }),
          {
            expected: "rounded"
          }
        )
      }
    }
  })
})

it("evaluates a fused node as its body", () => {
  const graph = exampleOf("fused")
  const [fused] = graph.outputs.map((o) => o.node) as [Extract<Node, { op: "fused" }>]
  const x = array(random(5), "f32", [3, 5])
  const sizes = { T: 3, S: 5 }
  expect(Reference.evaluate(graph, [x], sizes)).toEqual(Reference.evaluate(fused.attrs.body, [x], sizes))
})
