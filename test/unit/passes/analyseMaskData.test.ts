import { Result } from "effect"
import { describe, expect, it } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import { statsOf } from "../../../backends/webgpu/stats.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as Form from "../../../ir/Form.ts"
import * as Graph from "../../../ir/Graph.ts"
import { portable } from "../../../ir/Limits.ts"
import * as Verify from "../../../ir/Verify.ts"
import { analyseMask } from "../../../passes/analyseMask.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { classifyMask } from "../../../passes/mask/classify.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { graphOf } from "../../support/evaluate.ts"
import { type Attention, flashText } from "../../support/flashText.ts"
import { maskCases } from "../../support/maskCases.ts"
import { flashOf } from "../../support/visits.ts"

const context = { limits: portable, donated: new Set<string>(), count: () => {} }

const analysed = (graph: Graph.Graph, limits = portable): Graph.Graph => {
  const kernels = fuseElementwise.run(graph, { ...context, limits }).graph
  return analyseMask.run(kernels, { ...context, limits }).graph
}

const large = { heads: [8, 4], head: [16, 16], sizes: ["B", "T", "S"] } satisfies Attention

const named = (name: string): Attention => {
  const { mask, captures } = maskCases.find((c) => c.name === name) as (typeof maskCases)[number]
  return { ...large, mask, ...(captures === undefined ? {} : { captures }) }
}

const kernelsOf = (graph: Graph.Graph) => graph.nodes.filter((n) => n.op === "fused")

/** The kernels that measure: none of them has attention in it. */
const measuring = (graph: Graph.Graph) =>
  kernelsOf(graph).filter((n) => n.attrs.body.nodes.every((x) => x.op !== "flash_attention"))

const shapeOf = (graph: Graph.Graph): string | undefined =>
  measuring(graph)[0]?.type.shape.map(Dim.print).join(" ")

const attentionIn = (graph: Graph.Graph) =>
  flashOf(kernelsOf(graph).find((n) => !measuring(graph).includes(n))?.attrs.body as Graph.Graph)

describe("masks that read data", () => {
  it.each(maskCases)("$name: $by", (c) => {
    const graph = analysed(graphOf(flashText(named(c.name))))
    expect(Result.isSuccess(Verify.graph(graph))).toBe(true)
    expect(Result.isSuccess(Form.check(graph, "kernels"))).toBe(true)
    const { range, rowRange, mask } = attentionIn(graph).attrs
    if (c.words !== undefined) expect(classifyMask(mask as Graph.Graph)).toBe(c.words)
    const bounds = measuring(graph)
    expect(range).toBeDefined()
    expect(bounds.length).toBe(c.by === "measured" ? 1 : 0)
    if (c.by !== "measured") expect(rowRange !== undefined).toBe(c.by === "row")
    // Nothing that is kept is as large as the scores.
    for (const { type } of bounds) expect(Graph.symbols(graphOfType(type.shape))).not.toContain("S")
  })

  const graphOfType = (shape: ReadonlyArray<Dim.Dim>): Graph.Graph =>
    graphOf(`%x: f32[${shape.map(Dim.print).join(", ")}] = input {name = "x"}\nreturn %x`)

  it("measures once for all rows what depends on keys alone", () => {
    const graph = analysed(graphOf(flashText(named("causal and padding by flags"))))
    expect(shapeOf(graph)).toBe("3 B 1 1")
    expect(attentionIn(graph).attrs.rowRange).toBeUndefined()
    expect(shapeOf(analysed(graphOf(flashText(named("documents, causal")))))).toBe("3 B 1 T")
    expect(shapeOf(analysed(graphOf(flashText(named("documents by cumulative lengths")))))).toBe("3 1 1 T")
  })

  it("changes nothing twice", () => {
    const once = analysed(graphOf(flashText(named("documents, causal"))))
    expect(Graph.equals(analyseMask.run(once, context).graph, once)).toBe(true)
  })

  it("does not measure what costs more than a quarter of the contractions", () => {
    const small: Attention = { ...named("documents, causal"), heads: [2, 1], head: [8, 8] }
    const graph = analysed(graphOf(flashText(small)))
    expect(measuring(graph)).toEqual([])
    expect(attentionIn(graph).attrs.rowRange).toBeUndefined()
    expect(attentionIn(graph).attrs.range).toBeDefined()
  })

  it("does not measure where a kernel could not bind one more buffer", () => {
    const graph = graphOf(flashText(named("documents, causal")))
    const limits = { ...portable, maxStorageBuffersPerShaderStage: 6 }
    expect(measuring(analysed(graph, limits))).toEqual([])
    expect(measuring(analysed(graph, { ...limits, maxStorageBuffersPerShaderStage: 7 })).length).toBe(1)
  })

  it("does not measure bits that are drawn at random", () => {
    const graph = analysed(
      graphOf(
        flashText({
          ...large,
          captures: { seed: "u32[]" },
          mask: [
            "%bits: u32[T, S] = random_bits %seed",
            "%x: u32[] = load %bits, %i, %j",
            "%half: u32[] = constant {values = [2147483648]}",
            "%m: bool[] = lt %x, %half"
          ]
        })
      )
    )
    expect(measuring(graph)).toEqual([])
  })
})

const compiled = (text: string) => {
  const pipeline = Result.getOrThrow(
    Pipeline.parse("fuse-elementwise,analyse-mask,choose-schedule,plan-memory")
  )
  const { graph, schedules, memory } = Result.getOrThrow(
    Pipeline.run(pipeline, graphOf(text), { limits: portable })
  )
  if (memory === undefined) throw new Error("memory was not planned")
  const plan = { graph, schedules, memory }
  const program = lower(plan, portable)
  return { graph, stats: (sizes: Dim.Bindings) => statsOf(plan, program, portable, sizes) }
}

/** Bytes of so many numbers, as one binding. */
const bytes = (numbers: number): number => Math.ceil((4 * numbers) / 256) * 256

describe("what a call costs", () => {
  it("is one more kernel, and three numbers for each row", () => {
    const { stats } = compiled(flashText(named("documents, causal")))
    const at = (T: number) => stats({ B: 2, T, S: T })
    expect(at(1000).dispatches).toBe(2)
    expect(at(1000).scratchBytes).toBe(bytes(3 * 2 * 1000))
    expect(at(2000).scratchBytes).toBe(2 * at(1000).scratchBytes)
  })

  it("is told before a call for any data: the keys that some data may show", () => {
    const read = (name: string) =>
      compiled(flashText(named(name))).stats({ B: 2, T: 50, S: 70 }).keyValueBytesRead
    expect(read("causal")).toBeLessThan(0.7 * read("padding"))
    for (const name of ["causal and padding", "documents, causal"]) expect(read(name)).toBe(read("causal"))
    expect(read("documents")).toBe(read("padding"))
  })

  it("is shared by all attention under one mask, and by what is asked of it", () => {
    const text = flashText({ ...named("documents, causal"), outputs: ["result", "lse"] })
    expect(measuring(compiled(text).graph).length).toBe(1)
  })

  it("stays so where two masks have steps in common", () => {
    const [one, other] = ["documents", "documents, causal"].map((name) => flashText(named(name)))
    const node = (text: string): string =>
      text.slice(text.indexOf("%result"), text.indexOf('return "result"'))
    const both = `${(one as string).slice(0, (one as string).indexOf('return "result"'))}
      ${node(other as string).replace("%result", "%second")}
      return "result": %result, "second": %second
    }`
    const { graph, stats } = compiled(both)
    expect(measuring(graph).length).toBe(2)
    expect(stats({ B: 1, T: 4000, S: 4000 }).scratchBytes).toBeLessThanOrEqual(2 * bytes(3 * 4000))
  })
})

it("words say what holds whichever way a choice of positions goes", () => {
  const block = (name: string): ReadonlyArray<string> => [
    `%${name}c: bool[] = ge %${name}, %n`,
    `%${name}d: i32[] = sub %${name}, %n`,
    `%${name}p: i32[] = select %${name}c, %${name}d, %${name}`,
    `%${name}q: i32[] = floor_div %${name}p, %two`
  ]
  const mask = [
    "%n: i32[] = dim {value = N}",
    "%two: i32[] = constant {values = [2]}",
    ...block("i"),
    ...block("j"),
    "%m: bool[] = eq %iq, %jq"
  ]
  const graph = analysed(graphOf(flashText({ ...large, mask })))
  expect(classifyMask(attentionIn(graph).attrs.mask as Graph.Graph)).toBe("chunks of 2")
})
