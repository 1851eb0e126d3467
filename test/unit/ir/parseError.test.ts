import { Result } from "effect"
import { describe, expect, test } from "vitest"
import type { ParseError } from "../../../ir/errors.ts"
import * as Graph from "../../../ir/Graph.ts"
import * as Json from "../../../ir/Json.ts"
import * as Parse from "../../../ir/Parse.ts"

const refused = (text: string): ParseError =>
  Result.getOrThrow(Result.flip(Parse.graph(text, { file: "a.eir" })))

const lines = (...nodes: ReadonlyArray<string>): string => ["graph {", ...nodes, "}"].join("\n")
const x = '  %0: f32[T, 4] = input {name = "x"}'

describe("the message alone", () => {
  test("tells the place, the line with a caret, and what to try", () => {
    const error = refused(lines(x, "  %1: f32[4, T] = softmax %0 {axis = 1}", "  return %1"))
    expect(error.message.split("\n")).toEqual([
      "the annotation says f32[4, T], but softmax gives f32[T, 4]",
      "  at a.eir:3:7",
      "      %1: f32[4, T] = softmax %0 {axis = 1}",
      "          ^",
      "  try: write f32[T, 4], or change the operands or attributes of softmax"
    ])
    expect(error.what).toBe("the annotation says f32[4, T], but softmax gives f32[T, 4]")
  })

  test("tells it of JSON as well, once", () => {
    const outputs = '"outputs": [{"name": "out", "node": 3}]}'
    const error = Result.getOrThrow(Result.flip(Json.parse(`{"nodes": [],\n ${outputs}`, { file: "a.json" })))
    expect(error.what).toBe("graph.outputs[0]: there is no node 3")
    expect(error.message.split("\n")).toEqual([
      error.what,
      "  at a.json:2:14",
      `     ${outputs}`,
      `${" ".repeat(17)}^`,
      "  try: no node comes before it"
    ])
  })

  test("of JSON that has no text holds the path and the hint", () => {
    const decoded = Json.decode({ nodes: [], outputs: [{ name: "out", node: 0 }] })
    expect(Result.getOrThrow(Result.flip(decoded)).message).toBe(
      "graph.outputs[0]: there is no node 0\n  try: no node comes before it"
    )
  })
})

describe("hints", () => {
  const nested = (depth: number): string =>
    depth === 0 ? "graph {" : `${nested(depth - 1)} %0: f32[] = fused {body = {`
  const cases: ReadonlyArray<readonly [what: string, text: string, hint: string]> = [
    ["undefined name", lines(x, "%1: f32[T, 4] = exp %scores", "return %1"), "defined above: %0"],
    ["nothing defined", lines("return %0"), "no value is defined yet"],
    ["duplicate name", lines(x, x, "return %0"), "a name of its own"],
    ["duplicate input", lines(x, x.replace("%0", "%1"), "return %1"), "a name of its own"],
    ["duplicate result", lines(x, 'return "a": %0, "a": %0'), "a name of its own"],
    ["unclosed string", lines('%0: f32[T] = input {name = "x}', "return %0"), "close it with a quote"],
    ["regions too deep", nested(Graph.MAX_NESTING + 1), "compute the inner part outside"],
    ["missing attribute", lines(x, "%1: f32[T, 4] = softmax %0", "return %1"), "{axis = ...}"],
    ["unknown op", lines(x, "%1: f32[T, 4] = xyzzy %0", "return %1"), "`effuse ops`"]
  ]
  for (const [what, text, hint] of cases) {
    test(what, () => {
      const error = refused(text)
      expect(error.hint).toContain(hint)
      expect(error.message.split(error.hint ?? "").length).toBe(2)
    })
  }

  test("a long list of values is cut to the nearest", () => {
    const many = Array.from({ length: 20 }, (_, i) => `%n${i}: f32[] = constant {values = [${i}]}`)
    const hint = refused(lines(...many, "return %unlike")).hint
    expect(hint).toBe("defined above: ..., %n12, %n13, %n14, %n15, %n16, %n17, %n18, %n19")
  })
})
