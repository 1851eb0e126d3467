import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type * as Dim from "../../../ir/Dim.ts"
import * as Form from "../../../ir/Form.ts"
import * as Graph from "../../../ir/Graph.ts"
import { anchorOf } from "../../../ir/KernelBody.ts"
import { portable } from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Verify from "../../../ir/Verify.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { isAnchor } from "../../../passes/traits.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { randomGraph } from "../../support/randomGraph.ts"

const fuse = (graph: Graph.Graph, limits = portable): Graph.Graph =>
  fuseElementwise.run(graph, { limits, donated: new Set(), count: () => {} }).graph

const kernelsOf = (graph: Graph.Graph): ReadonlyArray<Node.NodeOf<"fused">> =>
  graph.nodes.filter((n): n is Extract<Node.Node, { op: "fused" }> => n.op === "fused")

/** A kernel in a word: its anchor or `map`, then what of note it folds in. */
const words = (graph: Graph.Graph): ReadonlyArray<string> =>
  kernelsOf(graph).map((k) => {
    const ops = k.attrs.body.nodes.filter((n) => n.op !== "input" && !isAnchor(n)).map((n) => n.op)
    return [anchorOf(k.attrs.body)?.op ?? "map", ...ops].join(" ")
  })

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"

/** Text, and the kernels it becomes. */
/** Attention over a pool [P, 2, 4] that a table [B, W] looks up. */
const attending = (lines: string, operands: string): string => `
     %pool: f32[P, 2, 4] = input {name = "pool"}
     %table: i32[B, W] = input {name = "table"}
     %q: f32[B, 2, W, 4] = input {name = "q"}
     ${lines}
     %out: f32[B, 2, W, 4] = flash_attention ${operands} {
       score = {
         %0: f32[] = input {name = "logit"}
         %1: i32[] = input {name = "b"}
         %2: i32[] = input {name = "h"}
         %3: i32[] = input {name = "i"}
         %4: i32[] = input {name = "j"}
         return %0
       },
       fill = -inf, output = "result"
     }
     return %out`

const examples: ReadonlyArray<readonly [name: string, text: string, kernels: ReadonlyArray<string>]> = [
  [
    "an epilogue joins its matmul, the activation used twice included; a transposed result is no copy",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[8, 4] = input {name = "w"}
     %2: f32[4] = input {name = "b"}
     %3: f32[T, 4] = dot %0, %1 ${dot}
     %4: f32[T, 4] = add %3, %2
     %5: f32[T, 4] = sigmoid %4
     %6: f32[T, 4] = mul %4, %5
     %7: f32[4, T] = transpose %6 {perm = [1, 0]}
     return %7`,
    ["dot add sigmoid mul transpose"]
  ],
  [
    "views and casts of operands fold into a matmul, arithmetic does not",
    `%0: f16[8, T] = input {name = "x"}
     %1: f32[8, 4] = input {name = "w"}
     %2: f32[8, T] = cast %0
     %3: f32[T, 8] = transpose %2 {perm = [1, 0]}
     %4: f32[8, 4] = exp %1
     %5: f32[T, 4] = dot %3, %4 ${dot}
     return %5`,
    ["map exp", "dot cast transpose"]
  ],
  [
    "a residual and a normalisation with gain",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[T, 8] = input {name = "y"}
     %2: f32[8] = input {name = "g"}
     %3: f32[T, 8] = add %0, %1
     %4: f32[T, 8] = rms_norm %3 {axis = 1, epsilon = 0.001}
     %5: f32[T, 8] = mul %4, %2
     return %5`,
    ["rms_norm add mul"]
  ],
  [
    "a mean ends with its division; what spreads it over rows is another kernel",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[T] = reduce_sum %0 {axes = [1]}
     %2: f32[] = constant {values = [0.125]}
     %3: f32[T] = mul %1, %2
     %4: f32[T, 1] = reshape %3
     %5: f32[T, 8] = sub %0, %4
     return %5`,
    ["reduce_sum constant mul", "map reshape sub"]
  ],
  [
    "softmax written out: max, exponentials with their sum's operand, sum, quotient",
    `%0: f32[T, S] = input {name = "x"}
     %1: f32[T] = reduce_max %0 {axes = [1]}
     %2: f32[T, 1] = reshape %1
     %3: f32[T, S] = sub %0, %2
     %4: f32[T, S] = exp %3
     %5: f32[T] = reduce_sum %4 {axes = [1]}
     %6: f32[T, 1] = reshape %5
     %7: f32[T, S] = div %4, %6
     return %7`,
    ["reduce_max", "map reshape sub exp", "reduce_sum", "map reshape div"]
  ],
  [
    "a causal mask from indices is written out in both kernels that use it",
    `%0: f32[T, S] = input {name = "x"}
     %1: f32[T, S] = input {name = "y"}
     %2: i32[T] = iota
     %3: i32[T, 1] = reshape %2
     %4: i32[S] = iota
     %5: bool[T, S] = ge %3, %4
     %6: f32[] = constant {values = [-inf]}
     %7: f32[T, S] = select %5, %0, %6
     %8: f32[T, S] = softmax %7 {axis = 1}
     %9: f32[T, S] = select %5, %1, %6
     %10: f32[T, S] = softmax %9 {axis = 1}
     return "a": %8, "b": %10`,
    ["softmax iota reshape iota ge constant select", "softmax iota reshape iota ge constant select"]
  ],
  [
    "work with two users is done once",
    `%0: f32[T] = input {name = "x"}
     %1: f32[T] = exp %0
     %2: f32[] = reduce_sum %1 {axes = [0]}
     %3: f32[] = reduce_max %1 {axes = [0]}
     return "a": %2, "b": %3`,
    ["map exp", "reduce_sum", "reduce_max"]
  ],
  [
    "a narrowing cast stays with the matmul that feeds two others",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[8, 8] = input {name = "w"}
     %2: f16[8, 8] = input {name = "u"}
     %3: f32[T, 8] = dot %0, %1 ${dot}
     %4: f16[T, 8] = cast %3
     %5: f16[T, 8] = dot %4, %2 ${dot}
     %6: f16[8, T] = transpose %4 {perm = [1, 0]}
     %7: f16[8, 8] = dot %6, %4 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
     return "a": %5, "b": %7`,
    ["dot cast", "dot", "dot transpose"]
  ],
  [
    "of two matmuls that meet, one takes the sum",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[8, 8] = input {name = "w"}
     %2: f32[T, 8] = dot %0, %1 ${dot}
     %3: f32[T, 8] = dot %2, %1 ${dot}
     %4: f32[T, 8] = add %2, %3
     return %4`,
    ["dot", "dot add"]
  ],
  [
    "rotation of halves reads its operand at two places, so a computed operand is a kernel",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[T, 8] = exp %0
     %2: f32[T, 4] = slice %1 {starts = [0, 0], stops = [T, 4], steps = [1, 1]}
     %3: f32[T, 4] = slice %1 {starts = [0, 4], stops = [T, 8], steps = [1, 1]}
     %4: f32[T, 4] = neg %3
     %5: f32[T, 8] = concat %4, %2 {axis = 1}
     return %5`,
    ["map exp", "map slice neg slice concat"]
  ],
  [
    "a cache takes new rows, rotated on the way; attention reads it through views",
    `%0: f32[B, C, 2, 4] = input {name = "cache"}
     %1: f32[B, 1, 2, 4] = input {name = "new"}
     %2: i32[B] = input {name = "at"}
     %3: f32[B, 6, T, 4] = input {name = "q"}
     %4: f32[B, 1, 2, 4] = sin %1
     %5: f32[B, C, 2, 4] = update_slice %0, %4, %2 {axis = 1, wrap = false}
     %6: f32[B, 2, C, 4] = transpose %5 {perm = [0, 2, 1, 3]}
     %7: f32[B, 6, T, 4] = ${plainAttention("%3, %6, %6")}
     %8: f32[B, T, 6, 4] = transpose %7 {perm = [0, 2, 1, 3]}
     return "out": %8, "cache": %5`,
    ["map sin update_slice", "flash_attention transpose transpose"]
  ],
  [
    "results that are views of inputs are copies; inputs and constants stay as they are",
    `%0: f32[T, 8] = input {name = "x"}
     %1: f32[8, T] = transpose %0 {perm = [1, 0]}
     %2: f32[3] = constant {values = [1, 2, 3]}
     %3: f32[] = constant {values = [1]}
     return "a": %0, "b": %1, "c": %2, "d": %3`,
    ["map transpose"]
  ],
  [
    "a scalar computed from an input is computed where it is used",
    `%0: f32[] = input {name = "s"}
     %1: f32[T] = input {name = "x"}
     %2: f32[] = exp %0
     %3: f32[T] = mul %1, %2
     %4: f32[] = reduce_sum %3 {axes = [0]}
     %5: f32[] = mul %4, %2
     return %5`,
    ["reduce_sum exp mul mul"]
  ],
  [
    "a lookup joins the normalisation that follows",
    `%0: f32[9, 8] = input {name = "table"}
     %1: i32[T] = input {name = "ids"}
     %2: f32[T, 8] = gather %0, %1 {axis = 0}
     %3: f32[T, 8] = layer_norm %2 {axis = 1, epsilon = 0.001}
     return %3`,
    ["layer_norm gather"]
  ],
  [
    "keys that a table finds by rows are read where they lie",
    attending(
      `%4: f32[B, W, 2, 4] = gather %pool, %table {axis = 0}
     %keys: f32[B, 2, W, 4] = transpose %4 {perm = [0, 2, 1, 3]}`,
      "%q, %keys, %keys"
    ),
    ["flash_attention gather transpose"]
  ],
  [
    "keys that something else reads too are gathered",
    attending(
      `%4: f32[B, W, 2, 4] = gather %pool, %table {axis = 0}
     %keys: f32[B, 2, W, 4] = transpose %4 {perm = [0, 2, 1, 3]}
     %queries: f32[B, 2, W, 4] = sin %keys`,
      "%queries, %keys, %keys"
    ),
    ["map gather", "map transpose sin", "flash_attention transpose"]
  ],
  [
    "keys that are queries too, or found along their own elements, are gathered",
    attending(
      `%4: f32[B, W, 2, 4] = gather %pool, %table {axis = 0}
     %keys: f32[B, 2, W, 4] = transpose %4 {perm = [0, 2, 1, 3]}
     %columns: i32[4] = input {name = "columns"}
     %values: f32[B, 2, W, 4] = gather %q, %columns {axis = 3}`,
      "%keys, %keys, %values"
    ),
    ["map gather", "map gather", "flash_attention transpose"]
  ]
]

describe("fuse-elementwise", () => {
  it.each(examples)("%s", (_, text, kernels) => {
    expect(words(fuse(graphOf(text)))).toEqual(kernels)
  })

  it("leaves inputs, constants and kernels, each with one anchor at most and bindings that fit", () => {
    for (let seed = 0; seed < 60; seed++) {
      const fused = fuse(randomGraph(seed))
      expect(Result.isSuccess(Verify.graph(fused)) && Result.isSuccess(Form.check(fused, "kernels"))).toBe(
        true
      )
      for (const node of fused.nodes) {
        expect(["input", "constant", "fused"]).toContain(node.op)
        if (node.op !== "fused") continue
        expect(node.attrs.body.nodes.filter((n) => isAnchor(n)).length).toBeLessThanOrEqual(1)
        expect(node.operands.length).toBeLessThanOrEqual(portable.maxStorageBuffersPerShaderStage - 1)
        expect(new Set(node.operands).size).toBe(node.operands.length)
        expect(node.attrs.body.inputs.map((i) => i.attrs.name)).toEqual(node.operands.map((_, i) => `a${i}`))
      }
    }
  })

  it("keeps every bit of what random programs mean, at several lengths", () => {
    for (let seed = 0; seed < 60; seed++) {
      const graph = randomGraph(seed)
      const fused = fuse(graph)
      for (const sizes of [
        { T: 3, S: 5 },
        { T: 1, S: 1 },
        { T: 0, S: 2 }
      ]) {
        const inputs = inputsOf(graph, sizes, seed)
        expect(Reference.evaluate(fused, inputs, sizes), `seed ${seed}`).toEqual(
          Reference.evaluate(graph, inputs, sizes)
        )
      }
    }
  })

  it("computes no element twice where that takes more than a few instructions", () => {
    for (let seed = 0; seed < 60; seed++) {
      const graph = randomGraph(seed)
      const heavy = (g: Graph.Graph): number => {
        const inBodies = kernelsOf(g).reduce((sum, k) => sum + heavy(k.attrs.body), 0)
        return g.nodes.filter((n) => n.op === "exp" || isAnchor(n)).length + inBodies
      }
      expect(heavy(fuse(graph)), `seed ${seed}`).toBe(heavy(graph))
    }
  })

  it("takes a concat of more parts than there are bindings in several kernels", () => {
    const parts = Array.from({ length: 20 }, (_, i) => `%${i}: f32[2] = input {name = "x${i}"}`)
    const all = parts.map((_, i) => `%${i}`).join(", ")
    const graph = graphOf(`${parts.join("\n")}\n%20: f32[40] = concat ${all} {axis = 0}\nreturn %20`)
    const fused = fuse(graph)
    expect(Math.max(...kernelsOf(fused).map((k) => k.operands.length))).toBeLessThanOrEqual(7)
    expect(kernelsOf(fused).length).toBe(4)
    const inputs = inputsOf(graph, {}, 1)
    expect(Reference.evaluate(fused, inputs, {})).toEqual(Reference.evaluate(graph, inputs, {}))
  })

  it("keeps apart what would need more bindings than the device has", () => {
    const parts = Array.from({ length: 9 }, (_, i) => `%${i}: f32[T] = input {name = "x${i}"}`)
    const sums = Array.from({ length: 8 }, (_, i) => {
      return `%${9 + i}: f32[T] = add ${i === 0 ? "%0" : `%${8 + i}`}, %${i + 1}`
    })
    const graph = graphOf([...parts, ...sums, "return %16"].join("\n"))
    expect(kernelsOf(fuse(graph)).map((k) => k.operands.length)).toEqual([3, 7])
    expect(kernelsOf(fuse(graph, { ...portable, maxStorageBuffersPerShaderStage: 16 })).length).toBe(1)
  })

  it("does not compute a value in ever more ways where shifted sums follow each other", () => {
    const build = Graph.builder()
    let x: Node.Node = build.add("input", [], { name: "x", type: { dtype: "f32", shape: Shape.from([64]) } })
    for (let size = 64; size > 24; size--) {
      const part = (start: number): Node.Node =>
        build.add("slice", [x], {
          starts: Shape.from([start]),
          stops: Shape.from([start + size - 1]),
          steps: [1]
        })
      x = build.add("add", [part(0), part(1)], {})
    }
    const graph = Graph.make([{ name: "out", node: x }])
    const fused = fuse(graph)
    expect(kernelsOf(fused).length).toBeLessThanOrEqual(20)
    const inputs = inputsOf(graph, {}, 3)
    expect(Reference.evaluate(fused, inputs, {})).toEqual(Reference.evaluate(graph, inputs, {}))
  })

  it("ends quickly on a chain of fifty thousand steps, in kernels of bounded size", () => {
    const build = Graph.builder()
    const T = Shape.from(["T"])
    let x: Node.Node = build.add("input", [], { name: "x", type: { dtype: "f32", shape: T } })
    for (let i = 0; i < 50_000; i++) x = build.add(i % 2 === 0 ? "exp" : "neg", [x], {})
    const fused = fuse(Graph.make([{ name: "out", node: x }]))
    expect(Math.max(...kernelsOf(fused).map((k) => k.attrs.body.nodes.length))).toBeLessThanOrEqual(97)
  })
})

const inputsOf = (graph: Graph.Graph, sizes: Dim.Bindings, seed: number) => {
  const from = arrays.random(seed)
  return graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
  )
}
