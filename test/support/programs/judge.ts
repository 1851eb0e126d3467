import { Result } from "effect"
import * as ReferenceBackend from "../../../backends/reference/Reference.ts"
import * as Dim from "../../../ir/Dim.ts"
import type * as Graph from "../../../ir/Graph.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as HostArrays from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import * as Diagnostic from "../../../passes/Diagnostic.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { trace } from "../../../src/trace.ts"
import { isCoarse } from "./Axes.ts"
import { inputs, signature } from "./arguments.ts"
import { build } from "./build.ts"
import { fill, make, type Program, type Sizes } from "./Program.ts"

/** What became of a program: its attention is one node and its results are those of the oracle, or what is not so. */
export interface Verdict {
  readonly outcome: "fused" | "missed" | "wrong"
  /** Why not, for people. */
  readonly why: string
}

const get = <A, E extends { readonly message: string }>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

export const traced = (p: Program): Graph.Graph => get(trace(build(p) as never, signature(p))).graph

/** What a value is computed from, itself first. */
const behind = (root: Node.Node): ReadonlySet<Node.Node> => {
  const found = new Set([root])
  for (const node of found) for (const o of node.operands) found.add(o)
  return found
}

/** Whether a value is an argument seen through views and conversions. */
const isArgument = (node: Node.Node): boolean => {
  let x: Node.Node | undefined = node
  while (x !== undefined && x.op !== "input")
    x = ["reshape", "transpose", "slice", "cast"].includes(x.op) ? x.operands[0] : undefined
  return x !== undefined
}

/** Whether a tensor has an element for each query and key. Lengths that are numbers may be others by accident. */
const isPairwise = ({ type }: Node.Node): boolean =>
  Dim.product(type.shape).terms.some(
    ({ symbols }) => symbols.filter((s) => s === "T" || s === "S").length > 1
  )

/** Results that need no tensor of queries by keys. */
const narrow = new Set(["out", "other", "lse", "max", "columns", "keys", "k", "v"])

/**
 * Sums of columns come from scores in memory where these are there for somebody else. Where lengths are numbers, those of numerators may
 * be a layer's, and scores of one query or one key are a row like any other.
 */
const mayKeepScores = ({ choices: { lengths, user, softmax }, sizes: { T, S } }: Program): boolean =>
  user === "sums of logits" ||
  (lengths === "numbers" && (T === 1 || S === 1 || softmax.endsWith("divided after P V")))

/** What keeps the attention of a graph from being one node, and scores out of what its kernels write; undefined if nothing does. */
const missing = (p: Program, graph: Graph.Graph, kernels: Graph.Graph): string | undefined => {
  const softmax = graph.nodes.find((n) => n.op === "softmax")
  if (softmax !== undefined) return `there still is a softmax of ${Shape.print(softmax.type.shape)}`
  for (const { name, node } of graph.outputs) {
    if (!narrow.has(name) || (name === "columns" && mayKeepScores(p))) continue
    const values = [...behind(node)]
    const flash = values.filter((n) => n.op === "flash_attention")
    const results = flash.filter((n) => n.attrs.output === "result")
    const attends = name === "out" || name === "other"
    if (attends && results.length !== 1) return `${name} comes from ${results.length} flash_attention nodes`
    const result = kernels.outputs.find((o) => o.name === name)
    const left =
      values.find((n) => n.op === "dot") ??
      [...behind(result?.node ?? node)].find((n) => isPairwise(n) && !isArgument(n))
    if (left !== undefined) return `${name} needs ${left.op} of ${Shape.print(left.type.shape)}`
    for (const n of attends ? results : []) {
      const other = n.operands.slice(1, 3).find((x) => !isArgument(x))
      if (other !== undefined) return `keys or values of ${name} come through ${other.op}`
    }
  }
  return undefined
}

/** The same program said plainly: what its results are where the spelling makes NaN of them. */
const meant = (p: Program): ReadonlyArray<Program> => {
  const { mask, fill } = p.choices
  const product = mask === "s + (1 - keep) * fill" || mask === "s - big * (1 - keep)"
  const chosen = {
    ...p.choices,
    ...(product && fill === "-inf" ? { mask: "where(keep, s, fill)" as const } : {})
  }
  return [make(p.seed, chosen, p.sizes), make(p.seed, { ...chosen, softmax: "op" }, p.sizes)]
}

/** Lengths that a program runs at: its own and, where they are symbols, others too: many, no key, no query. */
export const runs = (p: Program): ReadonlyArray<Sizes> => {
  if (p.choices.lengths === "numbers") return [p.sizes]
  const batch = p.choices.layout === "HSD" || p.choices.layout === "SD" ? 1 : 2
  const others: ReadonlyArray<Sizes> = [
    { ...p.sizes, B: batch, T: 4, S: 9 },
    { ...p.sizes, B: 1, S: 1 },
    { ...p.sizes, S: 0 },
    { ...p.sizes, T: 0 }
  ].map((sizes) => (p.choices.lengths === "symbols" ? sizes : { ...sizes, T: sizes.S }))
  return [p.sizes, others[Math.abs(p.seed) % others.length] as Sizes]
}

const exact = { precision: "f64" } as const

/** Numbers in the place of NaN, where the expectation has it. */
const filledIn = (expected: HostArray, by: HostArray): HostArray => {
  const numbers = HostArrays.toNumbers(by)
  return HostArrays.fromNumbers(
    expected.dtype,
    expected.shape,
    HostArrays.toNumbers(expected).map((x, i) => (Number.isNaN(x) ? (numbers[i] as number) : x))
  )
}

/** NaN is refined to the number that was meant, or stays. */
const refined = (expected: HostArray, ideal: HostArray, actual: HostArray): HostArray => {
  const [found, e] = [HostArrays.toNumbers(actual), HostArrays.toNumbers(expected)]
  return HostArrays.fromNumbers(
    expected.dtype,
    expected.shape,
    HostArrays.toNumbers(ideal).map((x, i) => (Number.isNaN(e[i]) && Number.isNaN(found[i]) ? Number.NaN : x))
  )
}

/** Numerators that are divided after the product with the values: of a row without keys they may be anything. */
const isNumerator = ({ choices: { softmax } }: Program, output: string): boolean =>
  softmax.endsWith("divided after P V") && (output === "weights" || output === "columns")

/** The expectation, with numbers from the plainer programs in the place of NaN; undefined where any number will do. */
const ideals = (
  p: Program,
  graph: Graph.Graph,
  expected: ReadonlyArray<HostArray>,
  given: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings
): ReadonlyArray<HostArray | undefined> => {
  const numbers = meant(p).map((plainer) => ReferenceBackend.evaluate(traced(plainer), given, sizes, exact))
  return expected.map((e, i) =>
    isNumerator(p, graph.outputs[i]?.name ?? "")
      ? undefined
      : numbers.reduce((found, plain) => filledIn(found, plain[i] as HostArray), e)
  )
}

/** A program at some lengths: what goes in and what comes out. */
export interface Call {
  readonly sizes: Dim.Bindings
  readonly inputs: { readonly [name: string]: HostArray }
  readonly given: ReadonlyArray<HostArray>
  readonly expected: ReadonlyArray<HostArray>
  /** What NaN may be refined to, where there is any. */
  readonly ideal: ReadonlyArray<HostArray | undefined> | undefined
  /** What float32 may be off by, and float64. */
  readonly tolerances: { readonly [P in "f32" | "f64"]: ReadonlyArray<Tolerance.Tolerance> }
}

export const call = (p: Program, graph: Graph.Graph, own: Sizes, isWhole = true): Call => {
  const named = inputs(p, own)
  const given = graph.inputs.map((i) => named[i.attrs.name] as HostArray)
  const sizes = ReferenceBackend.bind(graph, given)
  const expected = ReferenceBackend.evaluate(graph, given, sizes, exact)
  const hasNaN = expected.some((x) => HostArrays.toNumbers(x).some(Number.isNaN))
  const ideal = hasNaN && isWhole ? ideals(p, graph, expected, given, sizes) : undefined
  // Numbers as large as a fill that is added leave their roundoff in the scores; float64 has bits for most of them.
  const large = isCoarse(p.choices) ? Math.abs(fill(p)) : 0
  const within = (most: number) =>
    Tolerance.of(graph, sizes, { reassociated: true, exponent: 40 + (large > most ? large : 0) })
  return { sizes, inputs: named, given, expected, ideal, tolerances: { f32: within(0), f64: within(1e9) } }
}

/** What is wrong with results of a call; undefined if nothing is. */
export const difference = (
  graph: Graph.Graph,
  { sizes, expected, ideal, tolerances }: Call,
  actual: ReadonlyArray<HostArray>,
  precision: "f32" | "f64" = "f32"
): string | undefined => {
  for (const [i, { name }] of graph.outputs.entries()) {
    const found = actual[i] as HostArray
    const [e, plain] = [expected[i] as HostArray, ideal?.[i]]
    const wanted =
      ideal === undefined ? e : plain === undefined ? filledIn(e, found) : refined(e, plain, found)
    const compared = Tolerance.compare(found, wanted, tolerances[precision][i] as Tolerance.Tolerance)
    if (!compared.ok) return `${JSON.stringify(sizes)} ${name}: ${compared.message}`
  }
  return undefined
}

/**
 * What is wrong with results that were rounded. Sums that cancel leave less than any bound on their terms tells: what was written
 * is then off by as much, and is right by definition.
 */
export const inFloat32 = (
  graph: Graph.Graph,
  c: Call,
  actual: ReadonlyArray<HostArray>
): string | undefined => {
  const off = difference(graph, c, actual)
  if (off === undefined) return undefined
  const expected = ReferenceBackend.evaluate(graph, c.given, c.sizes)
  return difference(graph, { ...c, expected }, actual) === undefined ? undefined : off
}

/** Whether a graph computes something else once it is compiled, in float64 and where it computes numbers. */
export const changes = (p: Program, graph: Graph.Graph, passes: string = Pipeline.defaultText): boolean => {
  const compiled = Pipeline.run(get(Pipeline.parse(passes)), graph, { limits: Limits.portable })
  if (Result.isFailure(compiled)) return true
  return runs(p).some((sizes) => {
    const c = call(p, graph, sizes, false)
    const actual = ReferenceBackend.evaluate(compiled.success.graph, c.given, c.sizes, exact)
    const numbers = c.expected.map((e, i) => filledIn(e, actual[i] as HostArray))
    return difference(graph, { ...c, expected: numbers }, actual, "f64") !== undefined
  })
}

const judged = (p: Program, passes: string): Verdict => {
  const graph = traced(p)
  const {
    graph: compiled,
    snapshots,
    diagnostics
  } = get(Pipeline.run(get(Pipeline.parse(passes)), graph, { limits: Limits.portable }))
  for (const sizes of runs(p)) {
    const c = call(p, graph, sizes)
    const f64 = ReferenceBackend.evaluate(compiled, c.given, c.sizes, exact)
    const unlike = difference(graph, c, f64, "f64")
    if (unlike !== undefined) return { outcome: "wrong", why: `in float64: ${unlike}` }
    const off = inFloat32(graph, c, ReferenceBackend.evaluate(compiled, c.given, c.sizes))
    if (off !== undefined) return { outcome: "wrong", why: `in float32: ${off}` }
  }
  const fused = snapshots.find((s) => s.pass === "fuse-attention")?.graph ?? compiled
  const miss = missing(p, fused, compiled)
  if (miss === undefined) return { outcome: "fused", why: "" }
  const said = diagnostics.filter((d) => d.pass === "fuse-attention").map(Diagnostic.print)
  return { outcome: "missed", why: [miss, ...said].join("\n") }
}

/** Traces, compiles and runs a program, in float32 and in float64. */
export const judge = (p: Program, passes: string = Pipeline.defaultText): Verdict => {
  try {
    return judged(p, passes)
  } catch (error) {
    return { outcome: "wrong", why: error instanceof Error ? error.message : String(error) }
  }
}
