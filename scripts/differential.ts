/**
 * Programs of every kind on this runtime's own WebGPU (`navigator.gpu`; Dawn in Node) and on the reference, compared within the tolerance
 * that each graph derives. Prints what differs and the counts, and ends with 1 where anything does.
 *
 *     deno run -A scripts/differential.ts                  all
 *     deno run -A scripts/differential.ts corpus Llama     one table, or programs by a word of their name
 *     npm run differential -- ops                          Node
 */
import { Result } from "effect"
import * as Reference from "../backends/reference/Reference.ts"
import { lower } from "../backends/webgpu/lower.ts"
import type { Program } from "../backends/webgpu/Program.ts"
import { describe } from "../backends/webgpu/runtime/deviceLimits.ts"
import type * as Dim from "../ir/Dim.ts"
import { alternatives } from "../ir/flashAlternatives.ts"
import type { Graph } from "../ir/Graph.ts"
import type { HostArray } from "../ir/HostArray.ts"
import type { Limits } from "../ir/Limits.ts"
import { opNames } from "../ir/ops.ts"
import type { Arithmetic, Schedules } from "../ir/Schedule.ts"
import * as Shape from "../ir/Shape.ts"
import * as Tolerance from "../ir/Tolerance.ts"
import * as Pipeline from "../passes/Pipeline.ts"
import { trace } from "../src/trace.ts"
import * as arrays from "../test/support/arrays.ts"
import { flashlight } from "../test/support/corpus/flashlight.ts"
import { frameworks } from "../test/support/corpus/frameworks.ts"
import { huggingFace } from "../test/support/corpus/huggingFace.ts"
import { inductor } from "../test/support/corpus/inductor.ts"
import { inputsOf, settingsOf } from "../test/support/corpus/Spelling.ts"
import { sharedDevice } from "../test/support/dawn.ts"
import { exampleText, graphOf } from "../test/support/examples.ts"
import { biases } from "../test/support/family/biases.ts"
import { functions } from "../test/support/family/functions.ts"
import { logits } from "../test/support/family/logits.ts"
import { averages, statistics, sums, weightsOut } from "../test/support/family/outputs.ts"
import { type Attention, causal, flashText, schedulesOf, window } from "../test/support/flashText.ts"
import { pieces, randomised } from "../test/support/gallery.ts"
import { blocks, movement } from "../test/support/opPrograms.ts"
import { planOf } from "../test/support/plans.ts"
import { randomGraph } from "../test/support/randomGraph.ts"
import { limitsOf, runProgram } from "../test/support/runProgram.ts"
import * as s from "../test/support/spell.ts"

/** A graph at some lengths. */
interface Case {
  readonly name: string
  readonly graph: Graph
  readonly lengths: ReadonlyArray<Dim.Bindings>
  readonly inputs?: (sizes: Dim.Bindings) => ReadonlyArray<HostArray>
  /** Kernels for one kind of device; for both, unless given. */
  readonly kind?: Limits["kind"]
  /** In place of what the passes choose, for devices of one kind. */
  readonly forced?: {
    readonly limits: Limits
    readonly arithmetic: Arithmetic
    readonly schedules: Schedules
  }
}

const common = [
  { B: 2, T: 5, S: 7, C: 9, L: 8, N: 3, P: 4 },
  { B: 1, T: 35, S: 37, C: 40, L: 37, N: 2, P: 6 }
]
const edges = [
  { B: 1, T: 1, S: 1, C: 1, L: 1, N: 1, P: 1 },
  { B: 2, T: 3, S: 0, C: 3, L: 0, N: 2, P: 0 }
]
const traced = (build: unknown, signature: unknown): Graph =>
  Result.getOrThrow(trace(build as Parameters<typeof trace>[0], signature as Parameters<typeof trace>[1]))
    .graph

const attentions: ReadonlyArray<Attention> = [
  causal,
  window(9),
  { ...causal, dtype: "f16" },
  { ...causal, dtype: "bf16", outputs: ["result", "lse"] },
  { ...window(5), fill: "-3" },
  {}
]

/** Attention by each schedule that is chosen or tuned, for either kind of device. */
const scheduled = async (
  kind: Limits["kind"],
  arithmetic: Arithmetic = "f32"
): Promise<ReadonlyArray<Case>> => {
  const limits = await limitsOf(kind)
  if (arithmetic === "f16" && !limits.shaderF16) return []
  return (
    [
      [1, "decode"],
      [8, "short"],
      [64, "prefill"]
    ] as const
  ).flatMap(([rows, part]) =>
    alternatives(limits, 64, 64, 4, 4 * rows, arithmetic).map((schedule, n): Case => {
      const own = attentions[n % attentions.length]
      const attention = { ...own, heads: [4, 1], head: [22, 12] } as const
      const graph = graphOf(flashText(arithmetic === "f16" ? { ...attention, dtype: "f16" } : attention))
      return {
        name: `${rows} rows by ${JSON.stringify(schedule[part] ?? schedule.prefill)}`,
        graph,
        lengths: [
          { T: rows, S: 131 },
          { T: rows, S: 1 },
          { T: rows, S: 0 }
        ],
        forced: { limits, arithmetic, schedules: schedulesOf(schedule)(graph) }
      }
    })
  )
}

/** Compilers take seconds for attention: each spelling is run by kernels for one kind, and there are many. */
const kindOf = (n: number): Limits["kind"] => (n % 4 < 2 ? "cpu" : "gpu")

const spellings = Object.entries({ inductor, huggingFace, frameworks, flashlight })
const families = Object.entries({ logits, functions, statistics, weightsOut, sums, averages, biases })

const tables: { readonly [name: string]: ReadonlyArray<Case> } = {
  ops: opNames
    // Attention has schedules below; a fused kernel is what passes make.
    .filter((op) => op !== "flash_attention" && op !== "fused")
    .flatMap((op) =>
      ["f32", "f16", "bf16"]
        .filter((d) => d === "f32" || exampleText(op).includes(": f32"))
        .map((d) => ({
          name: `${op} of ${d}`,
          graph: graphOf(exampleText(op).replaceAll(": f32", `: ${d}`)),
          lengths: [...common, ...edges]
        }))
    ),
  blocks: [
    ...Object.entries(blocks),
    ...(["f32", "f16", "bf16", "i32", "u32", "bool"] as const).map(
      (d, n) => [`movement of ${d}`, movement(d, n)] as const
    )
  ].map(([name, { build, signature }]) => ({
    name,
    graph: traced(build, signature),
    lengths: [
      { B: 2, T: 7 },
      { B: 1, T: 13 },
      { B: 3, T: 1 },
      { B: 1, T: 0 }
    ]
  })),
  random: Array.from({ length: 24 }, (_, i) => ({
    name: `seed ${i + 1}`,
    graph: randomGraph(i + 1),
    lengths: [...common, ...edges]
  })),
  corpus: spellings.flatMap(([table, own]) =>
    own.map((spelling, n) => {
      const settings = settingsOf(spelling)
      const [setting, graph] = settings[n % settings.length] as (typeof settings)[number]
      const inputs = (sizes: Dim.Bindings) => inputsOf(spelling, graph, sizes, n)
      return {
        name: `${table}: ${spelling.name} (${setting})`,
        graph,
        lengths: [common[n % 2] as Dim.Bindings],
        inputs,
        kind: kindOf(n)
      }
    })
  ),
  family: families.flatMap(([table, own]) =>
    Object.entries(own).map(([name, { outputs }], n) => ({
      name: `${table}: ${name}`,
      graph: s.graph(outputs),
      lengths: [common[n % 2] as Dim.Bindings, ...edges],
      kind: kindOf(n)
    }))
  ),
  gallery: [...pieces].map(([name, exhibit]) => {
    const graph = traced(exhibit.fn, exhibit.signature)
    const given = randomised(exhibit)
    const inputs = () => graph.inputs.map(({ attrs }) => given[attrs.name] as HostArray)
    return { name, graph, lengths: [exhibit.lengths], inputs }
  }),
  schedules: [...(await scheduled("cpu")), ...(await scheduled("gpu")), ...(await scheduled("gpu", "f16"))]
}

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** What a case may run as: kernels for either kind of device, and products in f16 where the device has them. */
const variants = async ({
  graph,
  kind,
  forced
}: Case): Promise<ReadonlyArray<readonly [Limits, Arithmetic]>> => {
  if (forced !== undefined) return [[forced.limits, forced.arithmetic]]
  const all = await Promise.all((kind === undefined ? (["cpu", "gpu"] as const) : [kind]).map(limitsOf))
  const halves = graph.nodes.some(({ type }) => type.dtype === "f16")
  return all.flatMap((limits) =>
    halves && limits.kind === "gpu" && limits.shaderF16
      ? [[limits, "f32"] as const, [limits, "f16"] as const]
      : [[limits, "f32"] as const]
  )
}

let largest = { share: 0, message: "" }

/** The kernels of a case: what all passes make of it, or the graph as it stands by its schedules. */
const programOf = ({ graph, forced }: Case, limits: Limits, arithmetic: Arithmetic): Program => {
  if (forced !== undefined) return lower(planOf(graph, forced.schedules), limits)
  const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits, arithmetic }))
  if (planned.memory === undefined) throw new Error("memory was not planned")
  return lower({ ...planned, memory: planned.memory }, limits)
}

/** What is wrong with a case; undefined where nothing is. */
const difference = async (c: Case, limits: Limits, arithmetic: Arithmetic): Promise<string | undefined> => {
  const program = programOf(c, limits, arithmetic)
  for (const sizes of c.lengths) {
    const from = arrays.random(7)
    const inputs =
      c.inputs?.(sizes) ??
      c.graph.inputs.map(({ type }) => arrays.array(from, type.dtype, Shape.evaluate(type.shape, sizes)))
    const expected = Reference.evaluate(c.graph, inputs, sizes, { precision: "f64" })
    const actual = await runProgram(program, inputs, sizes)
    const tolerances = Tolerance.of(c.graph, sizes, { reassociated: true, exponent: 16, arithmetic })
    for (const [i, tolerance] of tolerances.entries()) {
      const { ok, worst, message } = Tolerance.compare(
        actual[i] as HostArray,
        expected[i] as HostArray,
        tolerance
      )
      if (!ok) return `${JSON.stringify(sizes)}: ${message}`
      const share = worst === undefined || worst.error === 0 ? 0 : worst.error / worst.allowed
      if (share > largest.share) largest = { share, message: `${c.name}: ${message}` }
    }
  }
  return undefined
}

const device = await sharedDevice()
console.log(describe(device.adapterInfo, await limitsOf("cpu")))
const words = process.argv.slice(2)
let [passed, failed] = [0, 0]
for (const [table, cases] of Object.entries(tables)) {
  const chosen = cases.filter(({ name }) =>
    words.every((w) => (w in tables ? w === table : name.includes(w)))
  )
  const before = { passed, failed }
  for (const c of chosen) {
    for (const [limits, arithmetic] of await variants(c)) {
      const why = await difference(c, limits, arithmetic).catch((cause: unknown) => String(cause))
      if (why === undefined) passed++
      else console.log(`FAILED ${table}, ${c.name}, ${limits.kind}, ${arithmetic}: ${why}`)
      if (why !== undefined) failed++
    }
  }
  if (chosen.length > 0)
    console.log(`${table}: ${passed - before.passed} passed, ${failed - before.failed} failed`)
}
console.log(
  `${passed} passed, ${failed} failed; nearest to its tolerance, at ${largest.share.toFixed(3)} of it:`
)
console.log(largest.message)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
