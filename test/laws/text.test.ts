import { Result } from "effect"
import { describe, expect, test } from "vitest"
import { ParseError } from "../../ir/errors.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Json from "../../ir/Json.ts"
import { opNames } from "../../ir/ops.ts"
import * as Parse from "../../ir/Parse.ts"
import * as Print from "../../ir/Print.ts"
import * as Verify from "../../ir/Verify.ts"
import { anyGraph } from "../support/anyGraph.ts"
import * as arrays from "../support/arrays.ts"
import { exampleText, graphOf } from "../support/examples.ts"
import { randomGraph } from "../support/randomGraph.ts"

const seeds = Array.from({ length: 250 }, (_, seed) => seed)
const graphs = (): ReadonlyArray<Graph.Graph> => seeds.flatMap((seed) => [anyGraph(seed), randomGraph(seed)])

describe("random graphs", () => {
  test("hold every op between them", () => {
    const met = new Set(graphs().flatMap((g) => g.nodes.map((n) => n.op)))
    expect(opNames.filter((op) => !met.has(op))).toEqual([])
  })
  test("parse ∘ print is the identity on graphs", () => {
    for (const graph of graphs()) expect(Graph.key(graphOf(Print.graph(graph)))).toBe(Graph.key(graph))
  })
  test("print ∘ parse is the identity on printed text", () => {
    for (const graph of graphs()) {
      const text = Print.graph(graph)
      expect(Print.graph(graphOf(text))).toBe(text)
    }
  })
  test("locations survive the text", () => {
    for (const graph of graphs()) {
      const text = Print.graph(graphOf(Print.graph(graph)), { locations: true })
      expect(Print.graph(graphOf(text), { locations: true })).toBe(text)
    }
  })
  test("decode ∘ encode is the identity, through JSON text and with places and labels", () => {
    for (const graph of graphs()) {
      const placed = graphOf(Print.graph(graph))
      const json = JSON.stringify(Json.encode(placed))
      const back = Result.getOrThrow(Json.parse(json))
      expect(Graph.key(back)).toBe(Graph.key(graph))
      expect(JSON.stringify(Json.encode(back))).toBe(json)
    }
  })
  test("verify", () => {
    for (const graph of graphs()) expect(Verify.graph(graph)).toEqual(Result.succeed(undefined))
  })
  test("are equal to themselves rebuilt", () => {
    for (const graph of graphs())
      expect(
        Graph.equals(
          Graph.transform(graph, (n) => n),
          graph
        )
      ).toBe(true)
  })
})

/** One to three characters deleted, repeated, swapped or replaced. */
const damaged = (text: string, from: arrays.Random): string => {
  let result = text
  for (let edits = from.integer(1, 3); edits > 0; edits--) {
    const at = from.integer(0, result.length - 1)
    const [left, right] = [result.slice(0, at), result.slice(at)]
    const piece = from.pick([
      "{",
      "}",
      "[",
      "]",
      "%",
      '"',
      "\\",
      ",",
      ":",
      "=",
      "-",
      "9",
      "e",
      "\n",
      "//",
      "\u0000",
      "T",
      " ",
      "%0",
      "return"
    ])
    result = from.pick([
      left + piece + right,
      left + piece + right.slice(1),
      left + right.slice(from.integer(1, 9))
    ])
  }
  return result
}

describe("hostile text", () => {
  test("is refused with a place inside it, or is a graph that verifies and round-trips", () => {
    let refused = 0
    let accepted = 0
    for (let seed = 0; seed < 6000; seed++) {
      const from = arrays.random(seed)
      const text = damaged(exampleText(from.pick(opNames)), from)
      const result = Parse.graph(text)
      if (Result.isFailure(result)) {
        refused++
        const { at, source = "" } = result.failure
        const lines = text.split("\n")
        expect(result.failure).toBeInstanceOf(ParseError)
        expect(at?.line).toBeLessThanOrEqual(lines.length)
        expect(at?.column).toBeLessThanOrEqual((lines[(at?.line ?? 0) - 1] ?? "").length + 1)
        expect(source).toMatch(/\^$/)
        expect(source.split("\n").slice(-2).join("")).not.toContain("\u0000")
      } else {
        accepted++
        expect(Verify.graph(result.success)).toEqual(Result.succeed(undefined))
        expect(Graph.equals(graphOf(Print.graph(result.success)), result.success)).toBe(true)
      }
    }
    // Both sides of the law are met often.
    expect(refused).toBeGreaterThan(1000)
    expect(accepted).toBeGreaterThan(100)
  })

  test("damaged JSON is refused, or is a graph that verifies", () => {
    let refused = 0
    let accepted = 0
    for (let seed = 0; seed < 3000; seed++) {
      const from = arrays.random(seed)
      const result = Json.parse(damaged(JSON.stringify(Json.encode(anyGraph(seed % 50, 6))), from))
      if (Result.isFailure(result)) {
        refused++
        expect(result.failure).toBeInstanceOf(ParseError)
      } else {
        accepted++
        expect(Verify.graph(result.success)).toEqual(Result.succeed(undefined))
      }
    }
    expect(refused).toBeGreaterThan(500)
    expect(accepted).toBeGreaterThan(20)
  })
})

describe("size", () => {
  const nested = (depth: number): string => {
    const open = (level: number) =>
      `%0: f32[T] = input {name = "x"}\n%1: f32[T] = ${level === 0 ? "exp %0" : `fused %0 {body = {\n${level}`}`
    let text = `${open(0)}\nreturn %1`
    for (let level = 1; level <= depth; level++)
      text = `${open(level).replace(/\d+$/, "")}${text}\n}}\nreturn %1`
    return `graph {\n${text}\n}`
  }
  test("regions nest 64 deep and no deeper", () => {
    const deep = graphOf(nested(Graph.MAX_NESTING))
    expect(Graph.equals(graphOf(Print.graph(deep)), deep)).toBe(true)
    expect(Verify.graph(deep)).toEqual(Result.succeed(undefined))
    expect(Graph.equals(Result.getOrThrow(Json.decode(Json.encode(deep))), deep)).toBe(true)
    for (const depth of [Graph.MAX_NESTING + 1, 100_000]) {
      const result = Parse.graph(nested(depth))
      expect(Result.isFailure(result) && result.failure.what).toBe("regions nest deeper than 64")
    }
  })
  const chain = (count: number): string => {
    const lines = ["graph {", `  %0: f32[T, 4] = input {name = "x"}`]
    for (let i = 1; i < count; i++)
      lines.push(`  %${i}: f32[T, 4] = ${i % 2 === 0 ? "exp" : "neg"} %${i - 1}`)
    return [...lines, `  return %${count - 1}`, "}"].join("\n")
  }
  test("a million nodes in a chain parse", () => {
    expect(graphOf(chain(1_000_000)).nodes.length).toBe(1_000_000)
  })
  test("a hundred thousand nodes in a chain verify, print and become JSON", () => {
    const text = chain(100_000)
    const graph = graphOf(text)
    expect(Verify.graph(graph)).toEqual(Result.succeed(undefined))
    expect(Print.graph(graph) === text).toBe(true)
    expect(Graph.equals(Result.getOrThrow(Json.decode(Json.encode(graph))), graph)).toBe(true)
  })
  test("a constant of a million numbers", () => {
    const values = Array.from({ length: 1_000_000 }, (_, i) => i / 7)
    const text = `graph {\n  %0: f32[1000000] = constant {values = [${values.join(", ")}]}\n  return %0\n}`
    expect(Print.graph(graphOf(text)) === text).toBe(true)
  })
  test("brackets without end", () => {
    for (const open of [
      "[",
      "{",
      '"',
      "graph {",
      "graph { %0: f32[",
      "graph { %0: f32[] = constant {values = ["
    ]) {
      expect(Result.isFailure(Parse.graph(open.repeat(100_000)))).toBe(true)
      expect(Result.isFailure(Json.parse(open.repeat(100_000)))).toBe(true)
    }
    const cyclic: { nodes: Array<unknown>; outputs: Array<unknown> } = { nodes: [], outputs: [] }
    cyclic.nodes.push({
      op: "fused",
      operands: [],
      attrs: { body: cyclic },
      type: { dtype: "f32", shape: [] }
    })
    expect(Result.isFailure(Json.decode(cyclic))).toBe(true)
  })
})
