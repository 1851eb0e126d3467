import { describe, expect, it } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import { illegal } from "../../../ir/flashSchedules.ts"
import type * as Graph from "../../../ir/Graph.ts"
import { type Limits, portable } from "../../../ir/Limits.ts"
import * as MemoryPlan from "../../../ir/MemoryPlan.ts"
import { illegalMatmul } from "../../../ir/matmulSchedules.ts"
import type { Schedule, Schedules } from "../../../ir/Schedule.ts"
import { illegalThreads } from "../../../ir/threadSchedules.ts"
import { chooseSchedule } from "../../../passes/chooseSchedule.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { scheduleTable } from "../../../passes/scheduleTable.ts"
import { graphOf } from "../../support/evaluate.ts"
import { plainAttention } from "../../support/irText.ts"
import { randomGraph } from "../../support/randomGraph.ts"

const devices: ReadonlyArray<readonly [string, Limits]> = [
  ["the least WebGPU device", portable],
  [
    "a large device",
    { ...portable, maxComputeWorkgroupStorageSize: 65536, maxComputeInvocationsPerWorkgroup: 1024 }
  ],
  ["a software device", { ...portable, kind: "cpu", maxComputeWorkgroupStorageSize: 32768 }],
  [
    "a software device with subgroups",
    { ...portable, kind: "cpu", maxComputeWorkgroupStorageSize: 32768, subgroups: { min: 4, max: 4 } }
  ],
  ["a compatibility device", { ...portable, maxComputeInvocationsPerWorkgroup: 128 }]
]

const run = (text: string | Graph.Graph, limits: Limits, arithmetic: "f32" | "f16" = "f32") => {
  const context = { limits, donated: new Set<string>(), count: () => {}, arithmetic }
  const graph = fuseElementwise.run(typeof text === "string" ? graphOf(text) : text, context).graph
  const { schedules, diagnostics } = chooseSchedule.run(graph, context)
  return { graph, schedules: schedules as Schedules, diagnostics }
}

const attention = (D: number | string, E: number | string, heads = 8, keyHeads = 2): string => `
  %0: f16[B, ${heads}, T, ${D}] = input {name = "q"}
  %1: f16[B, ${keyHeads}, S, ${D}] = input {name = "k"}
  %2: f16[B, ${keyHeads}, S, ${E}] = input {name = "v"}
  %3: f16[B, ${heads}, T, ${E}] = ${plainAttention("%0, %1, %2")}
  return %3`

/** Why a device cannot run a schedule, for the kinds whose cost is plain. */
const broken = (schedule: Schedule, limits: Limits): string | undefined => {
  if (schedule.kind === "flash") return undefined
  if (schedule.kind === "matmul") return illegalMatmul(schedule, limits)
  return illegalThreads(schedule.threads, limits)
}

describe.each(devices)("choose-schedule on %s", (_, limits) => {
  it("cuts every kernel of random programs as the device allows", () => {
    for (let seed = 0; seed < 30; seed++) {
      const { graph, schedules } = run(randomGraph(seed), limits)
      for (const node of graph.nodes) {
        if (node.op !== "fused") continue
        const schedule = schedules.get(node)
        expect(schedule).toBeDefined()
        expect(broken(schedule as Schedule, limits)).toBeUndefined()
      }
    }
  })

  it.each([1, 3, 64, 80, 96, 128, 192, 256])(
    "finds attention tiles for heads of %i, decode included",
    (D) => {
      for (const [E, heads, keyHeads] of [
        [D, 8, 8],
        [D, 32, 8],
        [Math.max(1, D - 7), 6, 2],
        [D, 16, 1]
      ] as const) {
        const { schedules } = run(attention(D, E, heads, keyHeads), limits)
        const [schedule] = schedules.values()
        expect(schedule?.kind).toBe("flash")
        if (schedule?.kind !== "flash") continue
        expect(illegal(schedule, limits, D, E, "f16", heads / keyHeads)).toBeUndefined()
        expect(schedule.decodeRows).toBeGreaterThan(0)
      }
    }
  )

  it("refuses attention over head sizes that are no numbers, and says so", () => {
    const { schedules, diagnostics } = run(attention("D", "D"), limits)
    expect(schedules.size).toBe(0)
    expect(diagnostics.map((d) => d.outcome)).toEqual(["refused"])
    expect(diagnostics[0]?.suggestion).toContain("constant head sizes")
  })
})

it("knows short rows from long ones, small results from large ones", () => {
  const text = `
    %0: f32[T, 16] = input {name = "x"}
    %1: f32[T, 4096] = input {name = "y"}
    %2: f32[T] = reduce_sum %0 {axes = [1]}
    %3: f32[T] = reduce_sum %1 {axes = [1]}
    %4: f32[16, 16] = dot %0, %0 {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}
    %5: f32[4096] = reduce_sum %1 {axes = [0]}
    return "a": %2, "b": %3, "c": %4, "d": %5`
  const { graph, schedules } = run(text, portable)
  const [short, long, product, apart] = graph.outputs.map((o) => schedules.get(o.node))
  expect(short).toEqual({ kind: "rows", threads: 1 })
  expect(long).toEqual({ kind: "rows", threads: 256 })
  expect(apart).toEqual({ kind: "rows", threads: 1 })
  expect(product).toMatchObject({ kind: "matmul", rows: 16, columns: 16 })
  const lines = scheduleTable(graph, schedules).split("\n")
  expect(lines).toHaveLength(4)
  expect(lines[1]).toMatch(/^%\d+ {2}reduce_sum {2}f32\[T\] +256 threads a row$/)
})

/** A product of matrices and attention, as kernels. */
const product = `
  %0: f32[M, 64] = input {name = "x"}
  %1: f32[64, 48] = input {name = "y"}
  %2: f32[M, 48] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
  return %2`

describe("threads that hand each other what they have loaded", () => {
  const device = (min: number, max: number): Limits => ({ ...portable, kind: "cpu", subgroups: { min, max } })
  const four = device(4, 4)
  const texts = (limits: Limits) =>
    [product, attention(64, 64)].map((text) => {
      const { graph, schedules } = run(text, limits)
      const memory = MemoryPlan.none
      return lower({ graph, schedules, memory }, limits)
        .kernels.map(({ wgsl }) => wgsl)
        .join()
    })

  it("are the four of a workgroup that fills its subgroup", () => {
    for (const text of texts(four)) expect(text).toContain("enable subgroups")
  })

  it.each([
    [8, 8],
    [4, 8],
    [4, 128],
    [32, 32]
  ])("are none where a subgroup has %i to %i lanes: some of a quad may not run", (min, max) => {
    const limits = device(min, max)
    for (const text of texts(limits)) expect(text).not.toMatch(/subgroup|quad[A-Z]/)
    const [matmul] = [...run(product, four).schedules.values()]
    const [flash] = [...run(attention(64, 64), four).schedules.values()]
    if (matmul?.kind !== "matmul" || flash?.kind !== "flash") throw new Error("no schedules")
    expect(illegalMatmul(matmul, four)).toBeUndefined()
    expect(illegalMatmul(matmul, limits)).toContain("quads")
    expect(illegal(flash, four, 64, 64, "f32", 4)).toBeUndefined()
    expect(illegal(flash, limits, 64, 64, "f32", 4)).toContain("threads cannot pass on what they load")
  })
})

describe("products in f16", () => {
  const able = { ...portable, shaderF16: true }
  const product = (x: string, y: string, result = "f32"): string => `
    %0: ${x}[M, 64] = input {name = "x"}
    %1: ${y}[64, N] = input {name = "y"}
    %2: f32[M, 64] = cast %0
    %3: f32[64, N] = cast %1
    %4: ${result}[M, N] = dot ${x === "f32" ? "%0" : "%2"}, ${y === "f32" ? "%1" : "%3"} {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
    return %4`
  const asked = (text: string, limits: Limits) => {
    const { schedules, diagnostics } = run(text, limits, "f16")
    return { schedule: [...schedules.values()].at(-1), said: diagnostics.map((d) => d.nearest).join() }
  }

  it("are chosen where they are asked for, the device has them and f16 holds the operands", () => {
    const { schedule, said } = asked(attention(64, 64), able)
    expect(schedule).toMatchObject({ prefill: { arithmetic: "f16" }, short: { arithmetic: "f16" } })
    expect(said).toContain("tiles of 64 rows x 32 keys in workgroup memory, 128 threads, products in f16")
    const matmul = asked(product("f16", "f16"), able)
    expect(matmul.schedule).toMatchObject({ arithmetic: "f16", few: { tile: { arithmetic: "f16" } } })
    expect(matmul.said).toContain("a thread, products in f16")
    expect(JSON.stringify([...run(attention(64, 64), able).schedules.values()])).not.toContain("arithmetic")
  })

  it.each([
    [attention(64, 64), portable, "the device has no shader-f16"],
    [attention(64, 64), { ...able, kind: "cpu" } as const, "a software device would convert every number"],
    [attention(64, 64), { ...able, ownTiles: true }, "this backend has no arithmetic in f16"],
    [
      attention(64, 64).replaceAll("f16", "bf16"),
      able,
      "bf16[B, 8, T, 64], bf16[B, 2, S, 64] is not stored as f16"
    ],
    [product("f16", "f32"), able, "f32[64, N] is not stored as f16"]
  ])("are not where something stands against it, which is said", (text, limits, why) => {
    const { schedule, said } = asked(text, limits)
    expect(JSON.stringify(schedule ?? {})).not.toContain("arithmetic")
    expect(said).toContain(`products in f32: ${why}`)
  })
})
