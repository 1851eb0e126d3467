import { Result } from "effect"
import { describe, expect, it } from "vitest"
import { transformer } from "../../../bench/cases/transformer.ts"
import * as Dim from "../../../ir/Dim.ts"
import { dispatchGroups } from "../../../ir/dispatchGroups.ts"
import type * as Graph from "../../../ir/Graph.ts"
import { portable } from "../../../ir/Limits.ts"
import type { MemoryPlan } from "../../../ir/MemoryPlan.ts"
import type * as Node from "../../../ir/Node.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { bytesOf, planMemory } from "../../../passes/planMemory.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { randomGraph } from "../../support/randomGraph.ts"

const context = { limits: portable, donated: new Set<string>(), count: () => {} }

const kernels = (graph: Graph.Graph): Graph.Graph => fuseElementwise.run(graph, context).graph

const plan = (graph: Graph.Graph, donated: ReadonlyArray<string> = []): MemoryPlan =>
  planMemory.run(graph, { ...context, donated: new Set(donated) }).memory as MemoryPlan

/** Bytes of all slots at one length for every symbol. */
const peak = (memory: MemoryPlan, length: number): number =>
  memory.slots.reduce((sum, s) => sum + Math.max(...s.bytes.map((b) => at(b, length))), 0)

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
  it("gives a chain of any length two buffers", () => {
    const graph = kernels(chain(9))
    const memory = plan(graph)
    expect(memory.slots.length).toBe(2)
    expect(memory.slotOf.size).toBe(8)
    expect(peak(memory, 64)).toBe(bound(graph, intermediates(graph), 64))
  })

  it("reaches the least memory possible where values of several sizes come and go", () => {
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
    const memory = plan(graph)
    expect(memory.slotOf.size).toBe(6)
    expect(peak(memory, 512)).toBe(bound(graph, intermediates(graph), 512))
  })

  it("gives a decoder no more than whole buffers can do with: of the largest, the second largest, … that are needed at once", () => {
    const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
    for (const layers of [1, 3]) {
      const compiled = Result.getOrThrow(Pipeline.run(pipeline, transformer(layers), { limits: portable }))
      const { graph, memory } = compiled as typeof compiled & { readonly memory: MemoryPlan }
      const values = [...memory.slotOf.keys()]
      const together = dispatchGroups(graph, portable.maxStorageBuffersPerShaderStage)
      const alive = values.map((v) => {
        const own = steps(graph, v)
        const first = graph.nodes.indexOf(together.get(v as Node.NodeOf<"fused">) ?? v)
        return { v, from: Math.min(first, ...own), to: Math.max(...own) }
      })
      for (const length of [1, 7, 512]) {
        // WebGPU binds no buffer for reading and for writing at once, so a buffer holds one value at a time.
        const ranked: Array<number> = []
        graph.nodes.forEach((_, step) => {
          const sizes = alive
            .filter(({ from, to }) => from <= step && step <= to)
            .map(({ v }) => at(bytesOf(v), length))
          for (const [rank, size] of sizes.sort((a, b) => b - a).entries())
            ranked[rank] = Math.max(ranked[rank] ?? 0, size)
        })
        const least = ranked.reduce((sum, size) => sum + size, 0)
        expect(peak(memory, length)).toBe(least)
        // What is alive at one step at most is nearly that.
        expect(least).toBeLessThan(1.2 * bound(graph, values, length))
      }
    }
  })

  it("never puts two values into one slot that are needed at one step, and plans every intermediate value", () => {
    let shared = 0
    for (let seed = 0; seed < 80; seed++) {
      const graph = kernels(randomGraph(seed, 30))
      const memory = plan(graph)
      const values = [...memory.slotOf.keys()]
      expect(new Set(values)).toEqual(new Set(intermediates(graph)))
      for (const a of values) {
        const slot = memory.slotOf.get(a) as number
        const sizes = memory.slots[slot]?.bytes.map(Dim.print)
        expect(sizes).toContain(Dim.print(bytesOf(a)))
        for (const b of values) {
          if (a === b || memory.slotOf.get(b) !== slot) continue
          shared++
          expect(
            steps(graph, a).filter((s) => steps(graph, b).includes(s)),
            `seed ${seed}`
          ).toEqual([])
        }
      }
    }
    expect(shared).toBeGreaterThan(12)
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
    const memory = plan(graph)
    const lse = graph.nodes.find((n) => n.type.shape.length === 3 && n.op === "fused") as Node.Node
    const others = [...memory.slotOf].filter(([n]) => n !== lse).map(([, slot]) => slot)
    expect(others.length).toBe(2)
    expect(others).not.toContain(memory.slotOf.get(lse))
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
    expect([...plan(graph, ["cache"]).inPlace]).toEqual([[graph.outputs[0]?.node, 0]])
    expect(plan(graph).inPlace.size).toBe(0)
    expect(plan(graph, ["new"]).inPlace.size).toBe(0)
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
    expect(plan(later, ["cache"]).inPlace.size).toBe(0)
    expect(plan(update("", `"cache": %3, "old": %0`), ["cache"]).inPlace.size).toBe(0)
  })
})
