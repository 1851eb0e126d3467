import { describe, expect, it } from "vitest"
import * as Arena from "../../../backends/Arena.ts"
import * as Dim from "../../../ir/Dim.ts"
import { dispatchGroups } from "../../../ir/dispatchGroups.ts"
import type * as Graph from "../../../ir/Graph.ts"
import { portable } from "../../../ir/Limits.ts"
import type { MemoryPlan } from "../../../ir/MemoryPlan.ts"
import type * as Node from "../../../ir/Node.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { bytesOf, livesOf, planMemory } from "../../../passes/planMemory.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { randomGraph } from "../../support/randomGraph.ts"

const context = { limits: portable, donated: new Set<string>(), count: () => {} }

const kernels = (graph: Graph.Graph): Graph.Graph => fuseElementwise.run(graph, context).graph

const run = (graph: Graph.Graph, donated: ReadonlyArray<string> = []) =>
  planMemory.run(graph, { ...context, donated: new Set(donated) })

const inPlace = (graph: Graph.Graph, donated: ReadonlyArray<string> = []): MemoryPlan["inPlace"] =>
  (run(graph, donated).memory as MemoryPlan).inPlace

/** Bytes of the arena of a graph at one length for every symbol. */
const arena = (graph: Graph.Graph, length: number): number => {
  const outputs = new Set(graph.outputs.map((o) => o.node))
  const lives = livesOf(graph, portable.maxStorageBuffersPerShaderStage).filter((l) => !outputs.has(l.node))
  return Arena.pack(lives.map((l) => ({ ...l, bytes: at(bytesOf(l.node), length) }))).bytes
}

const at = (dim: Dim.Dim, length: number): number =>
  Dim.evaluate(dim, Object.fromEntries(Dim.symbols(dim).map((s) => [s, length])))

/** Steps at which a value must be in memory, worked out from the definition. */
const steps = (graph: Graph.Graph, value: Node.Node): ReadonlyArray<number> => {
  const written = graph.nodes.indexOf(value)
  const read = graph.nodes.flatMap((n, i) => (n.operands.includes(value) ? [i] : []))
  return Array.from({ length: Math.max(written, ...read) - written + 1 }, (_, i) => written + i)
}

/** The least memory any plan can do with: the largest sum over values alive at one step. */
const bound = (graph: Graph.Graph, values: ReadonlyArray<Node.Node>, length: number): number =>
  Math.max(
    0,
    ...graph.nodes.map((_, step) =>
      values.filter((v) => steps(graph, v).includes(step)).reduce((sum, v) => sum + at(bytesOf(v), length), 0)
    )
  )

const intermediates = (graph: Graph.Graph): ReadonlyArray<Node.Node> => {
  const outputs = new Set(graph.outputs.map((o) => o.node))
  return graph.nodes.filter((n) => n.op === "fused" && !outputs.has(n))
}

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"

/** `layers` matmuls of T x T in a row. */
const chain = (layers: number): Graph.Graph =>
  graphOf(
    [
      `%0: f32[T, T] = input {name = "x"}`,
      ...Array.from({ length: layers }, (_, i) => `%${i + 1}: f32[T, T] = dot %${i}, %${i} ${dot}`),
      `return %${layers}`
    ].join("\n")
  )

describe("plan-memory", () => {
  it("says what is alive together: of a chain of any length two values", () => {
    const graph = kernels(chain(9))
    expect(run(graph).diagnostics).toEqual([
      {
        pass: "plan-memory",
        outcome: "note",
        subject: "8 intermediate values in one arena, 0 results in place",
        nearest: "bytes alive together: 8*T*T"
      }
    ])
    expect(arena(graph, 64)).toBe(bound(graph, intermediates(graph), 64))
  })

  it("knows the least memory where values of several sizes come and go", () => {
    const graph = kernels(
      graphOf(`
        %0: f32[T, 4] = input {name = "x"}
        %1: f32[4, T] = input {name = "y"}
        %2: f32[T, T] = dot %0, %1 ${dot}
        %3: f32[T, T] = softmax %2 {axis = 1}
        %4: f32[T, 4] = dot %3, %0 ${dot}
        %5: f32[T, T] = dot %4, %1 ${dot}
        %6: f32[T, T] = softmax %5 {axis = 1}
        %7: f32[T, 4] = dot %6, %4 ${dot}
        %8: f32[T, T] = dot %7, %1 ${dot}
        return %8`)
    )
    expect(run(graph).diagnostics[0]?.nearest).toBe("bytes alive together: 8*T*T + 16*T, or 4*T*T + 32*T")
    for (const length of [1, 3, 512])
      expect(arena(graph, length)).toBe(bound(graph, intermediates(graph), length))
  })

  it("keeps every intermediate value from the step that writes it to the last that reads it", () => {
    for (let seed = 0; seed < 80; seed++) {
      const graph = kernels(randomGraph(seed, 30))
      const outputs = new Set(graph.outputs.map((o) => o.node))
      const lives = livesOf(graph, portable.maxStorageBuffersPerShaderStage)
      const own = lives.filter((l) => !outputs.has(l.node))
      expect(own.map((l) => l.node)).toEqual(intermediates(graph))
      for (const { node, from, to } of own) {
        const needed = steps(graph, node)
        expect([from <= (needed[0] as number), to]).toEqual([true, needed.at(-1)])
      }
    }
  })

  it("keeps both results of one attention from the step of the first on", () => {
    const graph = kernels(
      graphOf(`
        %0: f32[1, 1, T, 4] = input {name = "q"}
        %1: f32[1, 1, T, 4] = ${plainAttention("%0, %0, %0")}
        %2: f32[1, 1, T, 4] = softmax %1 {axis = 3}
        %3: f32[1, 1, T, 4] = softmax %2 {axis = 2}
        %4: f32[1, 1, T] = ${plainAttention("%0, %0, %0", "lse")}
        %5: f32[1, 1, T] = softmax %4 {axis = 2}
        return "a": %3, "b": %5`)
    )
    const lives = livesOf(graph, portable.maxStorageBuffersPerShaderStage)
    const [lse, result] = [3, 4].map((rank) => lives.find((l) => l.node.type.shape.length === rank))
    expect(lse?.node).not.toBe(graph.nodes.find((n) => n.op === "fused"))
    expect(lse?.from).toBe(result?.from)
  })

  const update = (more: string, results: string): Graph.Graph =>
    kernels(
      graphOf(`
        %0: f32[C, 4] = input {name = "cache"}
        %1: f32[T, 4] = input {name = "new"}
        %2: i32[] = input {name = "at"}
        %3: f32[C, 4] = update_slice %0, %1, %2 {axis = 0, wrap = false}
        ${more}
        return ${results}`)
    )

  it("writes an update of a donated input into that input", () => {
    const graph = update("%4: f32[C] = reduce_sum %3 {axes = [1]}", `"cache": %3, "sum": %4`)
    expect([...inPlace(graph, ["cache"])]).toEqual([[graph.outputs[0]?.node, 0]])
    expect(inPlace(graph).size).toBe(0)
    expect(inPlace(graph, ["new"]).size).toBe(0)
  })

  it.each([
    ["update_slice %0, %1, %2 {axis = 0, wrap = false}", "i32[]"],
    ["scatter %0, %1, %2", "i32[T]"]
  ])("an update does not come before a kernel that reads the old content: %s", (line, at) => {
    const reading = (old: string) =>
      kernels(
        graphOf(`
        %0: f32[C, 4] = input {name = "cache"}
        %1: f32[T, 4] = input {name = "new"}
        %2: ${at} = input {name = "at"}
        %3: f32[C, 4] = input {name = "other"}
        %4: f32[C, 4] = sin %3
        %5: f32[C, 4] = softmax ${old} {axis = 1}
        %6: f32[C, 4] = ${line}
        return "before": %4, "old": %5, "cache": %6`)
      )
    const [with_, without] = ["%0", "%3"].map((old) => {
      const graph = reading(old)
      const update = graph.outputs[2]?.node as Node.NodeOf<"fused">
      return dispatchGroups(graph, 8).has(update)
    })
    expect([with_, without]).toEqual([false, true])
  })

  it("copies where the old content is read later or returned", () => {
    const later = update(
      "%4: f32[C, 4] = softmax %3 {axis = 1}\n%5: f32[C, 4] = add %4, %0",
      `"cache": %3, "both": %5`
    )
    expect(inPlace(later, ["cache"]).size).toBe(0)
    expect(inPlace(update("", `"cache": %3, "old": %0`), ["cache"]).size).toBe(0)
  })
})
