import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import type { Program } from "../../backends/webgpu/Program.ts"
import type * as Dim from "../../ir/Dim.ts"
import * as Budget from "../../ir/flashBudget.ts"
import { all, legal, type Variant } from "../../ir/flashSchedules.ts"
import type { Graph } from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Limits } from "../../ir/Limits.ts"
import type { Arithmetic, Flash } from "../../ir/Schedule.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Tolerance from "../../ir/Tolerance.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./examples.ts"
import { type Attention, anyKey, causal, flashText, schedulesOf, window } from "./flashText.ts"
import { planOf } from "./plans.ts"
import { runProgram } from "./runProgram.ts"

/** What of all legal schedules is enumerated: one variant of a schedule, in one arithmetic. */
export const families = {
  prefill: { variant: "prefill", arithmetic: "f32" },
  decode: { variant: "decode", arithmetic: "f32" },
  short: { variant: "short", arithmetic: "f32" },
  "prefill in f16": { variant: "prefill", arithmetic: "f16" },
  "short in f16": { variant: "short", arithmetic: "f16" }
} as const satisfies {
  readonly [name: string]: { readonly variant: Variant; readonly arithmetic: Arithmetic }
}

export type Family = keyof typeof families

export const familyNames = Object.keys(families) as ReadonlyArray<Family>

const lastRows = ["%two: i32[] = constant {values = [2]}", "%seen: bool[] = gt %i, %two"]

/** Attention of many kinds, each with what a kernel may treat in a way of its own. */
const attentions: { readonly [name: string]: Attention } = {
  "a window with a finite fill": { ...window(5), fill: "-3" },
  "causal, with the log-sum-exp": { ...causal, outputs: ["result", "lse"] },
  "no mask, stored in f16": { dtype: "f16" },
  "causal, a range that knows nothing, stored in bf16": {
    ...{ mask: causal.mask, range: anyKey, dtype: "bf16", resultDtype: "f32" }
  },
  "a bias that is data, a sink and a factor": {
    ...causal,
    captures: { bias: "f32[T, S]", sinks: "f32[H]", factor: "f32[S]" },
    score: ["%term: f32[] = load %bias, %i, %j", "%biased: f32[] = add %logit, %term"],
    sink: ["%z: f32[] = load %sinks, %h"],
    probability: ["%f: f32[] = load %factor, %j"]
  },
  "no softmax": { ...window(4), normaliser: "none", score: ["%soft: f32[] = tanh %logit"] },
  "two logits of a pair": {
    ...causal,
    more: [[1, 1, 7]],
    score: ["%sum: f32[] = add %logit, %logit1"]
  },
  "no row sees a key": { mask: ["%never: bool[] = lt %j, %b"], range: anyKey },
  "some rows see no key": { mask: lastRows },
  "some rows see no key, stored in f16": { mask: lastRows, dtype: "f16" }
}

const names = Object.keys(attentions)

/** Attention that runs one schedule, at lengths around its tiles. */
export interface Scheduled {
  readonly name: string
  readonly graph: Graph
  readonly program: Program
  readonly lengths: ReadonlyArray<Dim.Bindings>
  /** What elements look like; normally distributed unless given. */
  readonly data?: arrays.Kind
  /** Texts of the kernels of the variant. */
  readonly kernels: ReadonlyArray<string>
}

/** Pairs of a query and a key that the reference looks at in a moment. */
const mostPairs = 4096

const primes = [2, 3, 5, 7, 11, 13, 17, 31, 37, 61]

/** None, one, around `tile`, or any prime. */
const lengthsAround = (tile: number): ReadonlyArray<number> =>
  [0, 1, tile - 1, tile, tile + 1, 2 * tile + 1, ...primes].filter((n) => n >= 0)

/** What a schedule is run with; all of it is drawn by a number. */
export const scheduled = (
  family: Family,
  schedule: Flash,
  [D, E]: readonly [number, number],
  limits: Limits,
  number: number
): Scheduled => {
  const { variant, arithmetic } = families[family]
  const from = arrays.random(number)
  const rows = variant === "decode" ? schedule.decodeRows : (schedule[variant]?.rows ?? 1)
  const group = from.pick([1, 2, 3, 4, 7, 8, 16].filter((n) => variant === "prefill" || n <= rows))
  const keyHeads = from.integer(1, 2)
  const fitting = names.filter((name) => {
    const own = attentions[name] as Attention
    const heads = [D, ...(own.more ?? []).map((m) => Number(m[2]))]
    return legal(schedule, limits, heads, E, "f32", group)
  })
  const kind = fitting[number % fitting.length] as string
  const attention = attentions[kind] as Attention
  const heads = [group * keyHeads, keyHeads] as const
  const captures = Object.fromEntries(
    Object.entries(attention.captures ?? {}).map(([n, type]) => [n, type.replace("H", String(heads[0]))])
  )
  const batch = from.integer(1, 2)
  const graph = graphOf(
    flashText({
      ...attention,
      ...(arithmetic === "f16" ? { dtype: "f16", resultDtype: "f32" } : {}),
      ...{ heads, head: [D, E], sizes: [batch, "T", "S"], captures }
    })
  )
  const tile = Math.ceil(rows / group)
  const keys = variant === "prefill" ? schedule.prefill.keys : 4 * schedule.decode.keysPerSplit
  // Pipelines take seconds, calls nothing.
  const lengths = Array.from({ length: 8 }, (_, n) => {
    // Calls of more rows run another variant.
    const T = Math.max(from.pick(lengthsAround(tile)), Math.min(n, 2))
    const queries = variant === "prefill" ? T : Math.min(T, Math.floor(rows / group))
    const most = Math.floor(mostPairs / (batch * heads[0] * Math.max(1, queries)))
    return { T: queries, S: Math.min(from.pick(lengthsAround(keys)), Math.max(1, most)) }
  })
  const { decode, decodeRows } = schedule
  const { keysPerSplit, maxSplits } = decode
  const numbers = {
    prefill: schedule.prefill,
    decode: { rows: decodeRows, ...decode },
    short: { ...schedule.short, keysPerSplit, maxSplits }
  }
  const program = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
  return {
    name: `${kind}; ${heads.join(":")} heads of ${D} and ${E}, batch ${batch}; ${variant} ${JSON.stringify(numbers[variant])}`,
    graph,
    program,
    lengths,
    kernels: program.kernels
      .filter((kernel) => kernel.name.startsWith("flash_prefill") === (variant === "prefill"))
      .map((kernel) => kernel.wgsl)
  }
}

/** The error nearest to what is allowed, as a share of it. Throws where one is larger. */
export const worstShare = async (
  { graph, program, lengths, data, name }: Scheduled,
  arithmetic: Arithmetic
): Promise<number> => {
  let share = 0
  for (const sizes of lengths) {
    const from = arrays.random(7)
    const inputs = graph.inputs.map(({ type }) =>
      arrays.array(from, type.dtype, Shape.evaluate(type.shape, sizes), data)
    )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    const actual = await runProgram(program, inputs, sizes)
    for (const [i, tolerance] of Tolerance.of(graph, sizes, { exponent: 8, arithmetic }).entries()) {
      const { ok, worst, message } = Tolerance.compare(
        actual[i] as HostArray,
        expected[i] as HostArray,
        tolerance
      )
      if (!ok) throw new Error(`${name}, ${JSON.stringify(sizes)}: ${message}`)
      if (worst !== undefined && worst.error > 0) share = Math.max(share, worst.error / worst.allowed)
    }
  }
  return share
}

/** Multiply-adds that the kernels of a variant write out, which is what a software device takes its time to compile. */
export const written = (family: Family, schedule: Flash, [D, E]: readonly [number, number]): number => {
  const { variant } = families[family]
  const tile =
    variant === "decode"
      ? Budget.decodeTile(schedule.decode, schedule.decodeRows, D, E)
      : Budget.prefillTile(schedule[variant] ?? schedule.prefill, D, E)
  if (tile === undefined) return Infinity
  const { owned, threadRows, threadKeys, chunks, quads } = tile
  if (owned) return threadRows * threadKeys * Budget.writtenPerPair(quads, D, E)
  return threadRows * (threadKeys * 8 + chunks * 16)
}

/** All legal schedules of a family, those first that compile soonest. */
export const listed = (
  family: Family,
  limits: Limits,
  heads: readonly [number, number]
): ReadonlyArray<Flash> => {
  const { variant, arithmetic } = families[family]
  return all(variant, limits, ...heads, arithmetic)
    .map((schedule) => [written(family, schedule, heads), schedule] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, schedule]) => schedule)
}
