/**
 * Times the default pipeline on a decoder of 32 layers (about 2,000 nodes), and on 4 and 16 times as many: the time each node takes should
 * stay the same.
 *
 *     npm run bench:compile [-- --quick]     --quick leaves out 16 times
 *
 * Medians and the fastest run are of the clock; `cpu` is what this process computed, collecting garbage included, which a busy machine
 * changes less. Tracing, which writes the graph, is measured beside it.
 */
import { Result } from "effect"
import type * as Graph from "../ir/Graph.ts"
import * as Limits from "../ir/Limits.ts"
import * as Pipeline from "../passes/Pipeline.ts"
import { table } from "../src/cli/table.ts"
import { transformer } from "./cases/transformer.ts"

const layers = 32
const factors = process.argv.includes("--quick") ? [1, 4] : [1, 4, 16]
const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

const compile = (graph: Graph.Graph): Pipeline.Compiled =>
  Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: Limits.portable }))

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] as number

interface Timed<A> {
  readonly result: A
  readonly clock: number
  readonly cpu: number
}

const timed = <A>(run: () => A): Timed<A> => {
  const [started, before] = [performance.now(), process.cpuUsage()]
  const result = run()
  const { user, system } = process.cpuUsage(before)
  return { result, clock: performance.now() - started, cpu: (user + system) / 1000 }
}

/** Calls that are measured: fewer of those that take long. */
const measured = (factor: number): number => Math.max(3, Math.round(15 / factor))

const ms = (t: number): string => `${t.toFixed(t < 10 ? 1 : 0)} ms`

for (let warmup = 0; warmup < 8; warmup++) compile(transformer(layers))

const results = factors.map((factor) => {
  const rounds = Array.from({ length: measured(factor) }, () => {
    const traced = timed(() => transformer(layers * factor))
    return { traced, compiled: timed(() => compile(traced.result)) }
  })
  const [{ traced, compiled }] = rounds as [(typeof rounds)[number]]
  const clock = rounds.map((r) => r.compiled.clock)
  return {
    factor,
    nodes: traced.result.nodes.length,
    fused: compiled.result.diagnostics.filter((d) => d.outcome === "fused").length,
    trace: median(rounds.map((r) => r.traced.clock)),
    median: median(clock),
    least: Math.min(...clock),
    cpu: Math.min(...rounds.map((r) => r.compiled.cpu)),
    passes: pipeline.map((_, i) =>
      median(rounds.map((r) => r.compiled.result.snapshots[i]?.milliseconds ?? 0))
    )
  }
})

const heads = ["layers", "nodes", "fused", "trace", "compile", "fastest", "cpu", "per 1,000 nodes"]
const rows = results.map((r) => [
  String(layers * r.factor),
  String(r.nodes),
  String(r.fused),
  ms(r.trace),
  ms(r.median),
  ms(r.least),
  ms(r.cpu),
  ms((r.median / r.nodes) * 1000)
])
console.log(`${table([heads, ...rows], [0, 1, 2, 3, 4, 5, 6, 7])}\n`)
console.log(
  table(
    [
      ["pass", ...results.map((r) => `${r.factor}×`)],
      ...pipeline.map((pass, i) => [pass.name, ...results.map((r) => ms(r.passes[i] ?? 0))]),
      // What lies between the passes: each graph is verified, and compared with the one before.
      ["checks", ...results.map((r) => ms(r.median - r.passes.reduce((a, b) => a + b, 0)))]
    ],
    factors.map((_, i) => i + 1)
  )
)
const [first, last] = [results[0], results.at(-1)]
if (first !== undefined && last !== undefined) {
  // What others on the machine disturb least: the fastest run, and of two that are compared, what was computed.
  const times = (last.cpu / first.cpu).toFixed(1)
  console.log(
    `\ncompile: ${first.nodes.toLocaleString("en")} nodes in ${Math.round(first.least)} ms, ${last.factor}× nodes in ${times}× the time`
  )
}
