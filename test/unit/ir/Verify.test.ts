import { Result } from "effect"
import { describe, expect, test } from "vitest"
import type { Graph } from "../../../ir/Graph.ts"
import * as Node from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import type { TensorType } from "../../../ir/TensorType.ts"
import * as Verify from "../../../ir/Verify.ts"
import { graphOf } from "../../support/examples.ts"

/** Graphs that no constructor makes, one for each rule they break. */

const matrix: TensorType = { dtype: "f32", shape: Shape.from(["T", 4]) }
const input = (name: string, type = matrix) => Node.make("input", [], { name, type }, at(1))
const at = (line: number) => ({ at: { file: "model.ts", line, column: 5 } })

const x = input("x")
const e = Node.make("exp", [x], {}, at(2))
const sound: Graph = { inputs: [x], nodes: [x, e], outputs: [{ name: "out", node: e }] }

/** A node as its parts say, whatever its op's rule thinks. */
const forged = (parts: Partial<Record<keyof Node.Node, unknown>>): Node.Node =>
  ({ ...e, ...parts }) as Node.Node

/** A graph over x whose result is the last of `nodes`. */
const ending = (...nodes: ReadonlyArray<Node.Node>): Graph => ({
  inputs: [x],
  nodes: [x, ...nodes],
  outputs: [{ name: "out", node: nodes.at(-1) as Node.Node }]
})

const violations = (graph: Graph): ReadonlyArray<string> => {
  const result = Verify.graph(graph)
  return Result.isFailure(result) ? result.failure.violations : []
}

const first = (text: string | undefined): string | undefined => text?.split("\n")[0]

test("a sound graph is accepted", () => {
  expect(violations(sound)).toEqual([])
})

describe("each rule, broken alone", () => {
  const wrongType = forged({ type: { dtype: "f32", shape: Shape.from(["S", 4]) } })
  const late = Node.make("neg", [e], {})
  const stranger = Node.make("neg", [input("elsewhere")], {})
  const b = input("b")
  const twin = Node.make("exp", [x], {})
  const y = input("x", { dtype: "f16", shape: [] })
  const cast = forged({ op: "cast", attrs: { dtype: "f16" }, type: { dtype: "f32", shape: matrix.shape } })
  const constant = Node.make("constant", [], { values: [1], type: { dtype: "f32", shape: [] } })
  const cases: ReadonlyArray<readonly [string, Graph, string]> = [
    ["the type is not the rule's", ending(wrongType), "the type is f32[S, 4], but exp gives f32[T, 4]"],
    [
      "the rule refuses",
      ending(forged({ op: "softmax", attrs: { axis: 2 } })),
      "softmax: axis 2 is outside a tensor of rank 2"
    ],
    ["too many operands", ending(forged({ operands: [x, x] })), "exp: takes 1 operand, not 2"],
    [
      "an operand after its user",
      { inputs: [x], nodes: [x, late, e], outputs: [{ name: "out", node: late }] },
      "the operand %2 does not come before its user"
    ],
    ["an operand elsewhere", ending(stranger), "an operand is not in the graph"],
    ["a node twice", { ...sound, nodes: [x, e, e] }, "a node is listed twice"],
    [
      "equal nodes",
      { inputs: [x], nodes: [x, e, twin], outputs: [e, twin].map((node, i) => ({ name: `${i}`, node })) },
      "the node equals %1: equal nodes are one node"
    ],
    ["a dead node", { ...sound, nodes: [x, e, late] }, "the node is dead: no output needs it"],
    ["an unknown op", ending(forged({ op: "sofmax" })), 'there is no op "sofmax"'],
    ["a missing attribute", ending(forged({ op: "softmax" })), "softmax needs the attribute axis"],
    ["an attribute too many", ending(forged({ attrs: { axis: 1 } })), 'exp has no attribute "axis"'],
    [
      "an attribute of another kind",
      ending(forged({ op: "softmax", attrs: { axis: 0.5 } })),
      "the attribute axis of softmax is not an integer"
    ],
    [
      "a type that differs from the attribute it repeats",
      ending(cast),
      "the type is f32[T, 4], but cast gives f16[T, 4]"
    ],
    ["an input that is not in the signature", { ...sound, inputs: [] }, "the input is not in the signature"],
    [
      "an input that is not among the nodes",
      { ...sound, inputs: [x, input("y")] },
      "an input of the graph is not among its nodes"
    ],
    [
      "inputs of one name",
      { inputs: [x, y], nodes: [x, y, e], outputs: sound.outputs },
      'two inputs are named "x"'
    ],
    [
      "inputs in another order than the nodes",
      { ...sound, inputs: [b, x], nodes: [x, b, e] },
      "the inputs do not lead the nodes in the order of the signature"
    ],
    [
      "a node before the inputs",
      { inputs: [x], nodes: [constant, x, e], outputs: [...sound.outputs, { name: "c", node: constant }] },
      "the inputs do not lead the nodes in the order of the signature"
    ],
    [
      "an input that is another op",
      { ...sound, inputs: [x, e] as unknown as Graph["inputs"] },
      "an input of the graph is another op"
    ],
    ["no result", { inputs: [x], nodes: [x], outputs: [] }, "the graph returns nothing"],
    [
      "results of one name",
      { ...sound, outputs: [...sound.outputs, { name: "out", node: x }] },
      'two results are named "out"'
    ],
    [
      "a result from elsewhere",
      { ...sound, outputs: [...sound.outputs, { name: "b", node: stranger }] },
      'the result "b" is not in the graph'
    ]
  ]
  test.each(cases)("%s", (_, graph, expected) => {
    expect(violations(graph).map(first)).toEqual([expected])
  })
})

test("all violations are reported, the first place is the error's", () => {
  const bad = forged({ operands: [x, x] })
  const result = Verify.graph({ inputs: [x], nodes: [x, bad, e], outputs: [{ name: "out", node: bad }] })
  if (Result.isSuccess(result)) throw new Error("accepted")
  expect(result.failure.violations.map(first)).toEqual([
    "exp: takes 1 operand, not 2",
    "the node is dead: no output needs it"
  ])
  expect(result.failure.at).toEqual({ file: "model.ts", line: 2, column: 5 })
})

test("a violation shows the node, what it reads, and the line that wrote it", () => {
  const late = forged({ operands: [x], type: { dtype: "f16", shape: [] } })
  expect(violations(ending(late))).toEqual([
    [
      "the type is f16[], but exp gives f32[T, 4]",
      "  %1: f16[] = exp %0",
      '    reads %0: f32[T, 4] = input {name = "x"}',
      "  written at model.ts:2:5"
    ].join("\n")
  ])
})

test("a cycle is reported, not followed", () => {
  const a = forged({}) as { operands: ReadonlyArray<Node.Node> } & Node.Node
  const b = Node.make("neg", [a], {})
  a.operands = [b]
  expect(violations(ending(a, b)).map(first)).toEqual(["the operand %2 does not come before its user"])
})

test("regions are verified, with the path to them", () => {
  const body = { ...sound, outputs: [...sound.outputs], nodes: [x, e, Node.make("neg", [x], {})] }
  const fused = Node.make("fused", [x], { body })
  expect(violations(ending(fused)).map(first)).toEqual([
    "in the body of %1 (fused): the node is dead: no output needs it"
  ])
})

test("regions nest 64 deep and no deeper", () => {
  let body = sound
  for (let depth = 0; depth < 65; depth++) body = ending(Node.make("fused", [x], { body }))
  expect(violations(body).map((v) => v.slice(-30))).toEqual([expect.stringContaining("nest deeper than 64")])
})

test("what the parser makes is sound", () => {
  const graph = graphOf('graph {\n %0: f32[T] = input {name = "x"}\n %1: f32[T] = exp %0\n return %1\n}')
  expect(violations(graph)).toEqual([])
})
