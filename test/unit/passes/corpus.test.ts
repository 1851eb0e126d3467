import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type * as Dim from "../../../ir/Dim.ts"
import type * as Graph from "../../../ir/Graph.ts"
import * as Limits from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Print from "../../../ir/Print.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { flashlight } from "../../support/corpus/flashlight.ts"
import { frameworks } from "../../support/corpus/frameworks.ts"
import { huggingFace } from "../../support/corpus/huggingFace.ts"
import { inductor } from "../../support/corpus/inductor.ts"
import { inputsOf, type Spelling, settingsOf } from "../../support/corpus/Spelling.ts"
import { isViewOfInput, nodesOf } from "../../support/fusing.ts"
import { expectOutputs } from "../../support/tolerance.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** C and L are buffers that are longer than the text. */
const lengths: ReadonlyArray<Dim.Bindings> = [
  { B: 2, T: 5, S: 7, C: 9, L: 8, N: 3 },
  { B: 1, T: 1, S: 1, C: 1, L: 1, N: 1 },
  { B: 1, T: 3, S: 0, C: 4, L: 0, N: 1 }
]

/** Results of kernels as large as the scores: what there is of that size came in. */
const scoresInMemory = (graph: Graph.Graph) =>
  graph.nodes.filter(({ op, type: { shape } }) => {
    const symbols = shape.map((d) => d.key)
    return op !== "input" && symbols.includes("T") && symbols.includes("S")
  })

const fuses = (spelling: Spelling, graph: Graph.Graph): void => {
  const compiled = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: Limits.portable }))
  const after = compiled.snapshots.find(({ pass }) => pass === "fuse-attention")?.graph as Graph.Graph
  const text = Print.graph(after)
  expect(compiled.diagnostics.flatMap((d) => (d.outcome === "refused" ? [d.failed] : []))).toEqual([])
  const nodes = nodesOf(after, "flash_attention").filter(({ attrs }) => attrs.output === "result")
  expect(nodes.length, text).toBe(spelling.nodes ?? 1)
  expect(nodesOf(after, "softmax"), text).toEqual([])
  // Weights that are returned come from the log-sum-exp that the attention has anyway, and scores made once more.
  if (spelling.returnsWeights === true) expect(nodesOf(after, "dot").length, text).toBe(1)
  else expect([...nodesOf(after, "dot"), ...scoresInMemory(compiled.graph)], text).toEqual([])
  for (const { operands } of nodes) {
    const [, k, v] = operands as readonly [Node.Node, Node.Node, Node.Node]
    expect([isViewOfInput(k), isViewOfInput(v)], text).toEqual([true, spelling.ownValues !== true])
  }
  for (const sizes of lengths) {
    const inputs = inputsOf(spelling, graph, sizes, 7)
    const evaluate = (g: Graph.Graph) => Reference.evaluate(g, inputs, sizes, { precision: "f64" })
    expectOutputs(graph, sizes, evaluate(compiled.graph), evaluate(graph), { reassociated: true })
  }
}

for (const [name, table] of Object.entries({ inductor, huggingFace, frameworks, flashlight })) {
  describe(name, () => {
    for (const spelling of table) {
      test(spelling.name, () => {
        for (const [, graph] of settingsOf(spelling)) fuses(spelling, graph)
      })
    }
  })
}

test("the list of Inductor has thirty rows", () => {
  expect(inductor.map(({ name }) => Number.parseInt(name, 10))).toEqual(
    Array.from({ length: 30 }, (_, n) => n + 1)
  )
})
