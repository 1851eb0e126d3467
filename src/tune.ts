import { Effect, Option, Result } from "effect"
import type { BackendShape, Plan, Value } from "../backends/Backend.ts"
import type { DeviceLost } from "../backends/errors.ts"
import * as Dim from "../ir/Dim.ts"
import { alternatives } from "../ir/flashAlternatives.ts"
import * as Budget from "../ir/flashBudget.ts"
import type { Graph } from "../ir/Graph.ts"
import * as HostArray from "../ir/HostArray.ts"
import { anchorOf } from "../ir/KernelBody.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import type { Flash, Schedule, Schedules } from "../ir/Schedule.ts"
import * as Shape from "../ir/Shape.ts"
import * as TensorType from "../ir/TensorType.ts"
import { describe } from "../passes/scheduleTable.ts"
import { kernelVersion } from "./kernelVersion.ts"
import { type ScheduleCache, standard } from "./ScheduleCache.ts"

/** One schedule that was measured. */
export interface Trial {
  /** The queries and keys of the attention, as types. */
  readonly attention: string
  readonly schedule: string
  /** The fastest call of the whole program; undefined where the device refuses the schedule. */
  readonly milliseconds: number | undefined
  /** Which of how many. The first is what is chosen without measuring. */
  readonly number: number
  readonly of: number
}

export interface TuneOptions {
  /** Lengths to measure at. Others are 1 where they lead an input, as a batch does, and 512. */
  readonly sizes?: Dim.Bindings
  /** Arguments to measure with, by name; others are made up. */
  readonly inputs?: { readonly [name: string]: HostArray.HostArray }
  /** Time to spend, compiling included. What is not measured by then is left to later compilations. 5000 unless given. */
  readonly milliseconds?: number
  /** Told of each schedule as soon as it is measured. */
  readonly progress?: (trial: Trial) => void
  /** Where answers are kept; a file of the user's cache folder or the browser's storage unless given. */
  readonly cache?: ScheduleCache
}

const callsEach = 3

/** A call that takes so many times the fastest says enough: it is not made again. */
const hopelesslyLonger = 3

/** What measures faster by less than this is not preferred to what is chosen without measuring. */
const worthwhile = 0.97

/** Schedules kept; beyond it the oldest go first. */
const mostKept = 500

interface Family {
  readonly key: string
  readonly text: string
  readonly nodes: ReadonlyArray<Node>
  readonly schedules: ReadonlyArray<Flash>
}

/**
 * Measures schedules of each kind of attention in a plan, in turn, and gives the plan's schedules with the fastest. Which of them run is bounded by time: a later
 * compilation goes on where an earlier one had to stop. Answers are kept by device, shapes, lengths and kernels. No schedule changes a result beyond
 * the order of sums.
 */
export const tune = (
  backend: BackendShape,
  plan: Plan,
  options: TuneOptions
): Effect.Effect<Schedules, never> =>
  Effect.gen(function* () {
    const { milliseconds = 5000, progress = () => {}, cache = standard() } = options
    const sizes = { ...assumedSizes(plan.graph), ...options.sizes }
    const deadline = (yield* now) + milliseconds
    const known = yield* remembered(cache)
    const learned: { [key: string]: Answer } = {}
    const schedules = new Map<Node, Schedule>(plan.schedules)
    const use = (family: Family, schedule: Flash): void => {
      for (const node of family.nodes) schedules.set(node, schedule)
    }
    let measured = 0
    for (const family of families(backend, plan, sizes)) {
      const all = family.schedules
      const kept = answerOf(known[family.key], family)
      let best = kept?.best ?? (all[0] as Flash)
      use(family, best)
      if (kept !== undefined && (kept.tried >= all.length || milliseconds <= (kept.stuck ?? 0))) continue
      const values = argumentsOf(plan, sizes, options.inputs ?? {})
      // What was best is measured again: other numbers are of another day.
      const open = kept === undefined ? all : [best, ...all.slice(kept.tried)]
      const before = kept === undefined ? 0 : kept.tried - 1
      let [least, tried, stuck] = [Infinity, before, false]
      for (const [n, schedule] of open.entries()) {
        const left = deadline - (yield* now)
        if (left <= 0) break
        use(family, schedule)
        const time = yield* Effect.timeoutOption(
          measure(backend, { ...plan, schedules: new Map(schedules) }, values, sizes, least),
          left
        )
        if (Option.isNone(time)) {
          // Nothing but what it is compared with went before: it will not have more time another day.
          if (n === 1 && measured === 1) tried++
          stuck = measured === 0
          break
        }
        measured++
        tried++
        progress({
          attention: family.text,
          schedule: describe(schedule),
          milliseconds: time.value,
          number: n === 0 ? 1 + Math.max(0, all.map(textOf).indexOf(textOf(best))) : before + n + 1,
          of: all.length
        })
        if (time.value !== undefined && (least === Infinity || time.value < worthwhile * least)) {
          best = schedule
          least = time.value
        }
      }
      use(family, best)
      if (stuck) learned[family.key] = { best, tried: Math.max(1, before), stuck: milliseconds }
      // Where nothing ran nothing was learned.
      else if (least < Infinity) learned[family.key] = { best, tried }
    }
    if (Object.keys(learned).length > 0) {
      // Others may have written meanwhile.
      const entries = Object.entries({ ...(yield* remembered(cache)), ...learned })
      const text = JSON.stringify(Object.fromEntries(entries.slice(-mostKept)))
      // An answer that cannot be kept is used all the same, and measured again next time.
      yield* Effect.ignore(Effect.tryPromise(() => cache.write(text)))
    }
    return schedules
    // What is not measured because the device went away is no worse for that: nothing was learned.
  }).pipe(Effect.catchTag("DeviceLost", () => Effect.succeed(plan.schedules)))

/** Milliseconds of a clock that never goes back. */
const now = Effect.clockWith((clock) => Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6))

/** What is kept: the fastest of the first so many schedules, and a time in which nothing more is found out. */
interface Answer {
  readonly best: Flash
  readonly tried: number
  readonly stuck?: number
}

/** What was read, if it is an answer that could be given today: a schedule that is none, or none any more, is measured anew. */
const answerOf = (x: unknown, { schedules }: Family): Answer | undefined => {
  const { best, tried, stuck = 0 } = (x ?? {}) as { readonly [part in keyof Answer]?: unknown }
  const known = schedules.find((schedule) => textOf(schedule) === JSON.stringify(best))
  if (known === undefined) return
  if (typeof stuck !== "number" || typeof tried !== "number" || !(tried >= 1)) return
  return { best: known, tried: Math.floor(tried), stuck }
}

const textOf = (schedule: Flash): string => JSON.stringify(schedule)

/**
 * The fastest of a few calls, after one that warms up; undefined where the schedule cannot run. Who takes much longer than `least` is not called
 * again.
 */
const measure = (
  backend: BackendShape,
  plan: Plan,
  values: ReadonlyArray<Value>,
  sizes: Dim.Bindings,
  least: number
): Effect.Effect<number | undefined, DeviceLost> =>
  Effect.gen(function* () {
    const executable = yield* backend.compile(plan, { ahead: false })
    const donated = new Set<number>()
    const call = Effect.gen(function* () {
      const start = yield* now
      yield* executable.call(values, sizes, { donated })
      return (yield* now) - start
    })
    // The first waits for pipelines.
    yield* call
    let fastest = yield* call
    for (let n = 1; n < callsEach && fastest < hopelesslyLonger * least; n++)
      fastest = Math.min(fastest, yield* call)
    return fastest
  }).pipe(
    Effect.catch((error) =>
      error._tag === "DeviceLost" ? Effect.fail(error) : Effect.succeed<number | undefined>(undefined)
    )
  )

/** What the cache holds, if it is a record: a file that is spoilt, or somebody else's, is as good as none. */
const remembered = (cache: ScheduleCache): Effect.Effect<{ readonly [key: string]: unknown }> =>
  Effect.tryPromise(async (): Promise<unknown> => JSON.parse((await cache.read()) ?? "{}")).pipe(
    Effect.result,
    Effect.map((read) => {
      const record = Result.isSuccess(read) ? read.success : undefined
      return typeof record === "object" && record !== null && !Array.isArray(record) ? { ...record } : {}
    })
  )

/** Kernels of attention that one schedule suits: equal sizes, types and number of buffers. */
const families = (backend: BackendShape, plan: Plan, sizes: Dim.Bindings): ReadonlyArray<Family> => {
  const found = new Map<string, Family>()
  for (const [node, schedule] of plan.schedules) {
    const anchor = node.op === "fused" ? anchorOf(node.attrs.body) : undefined
    if (schedule.kind !== "flash" || anchor?.op !== "flash_attention") continue
    const { limits, description } = backend
    const shape = shapeOf(anchor, sizes)
    const buffers = node.operands.length
    const text = anchor.operands
      .slice(0, 2)
      .map((x) => TensorType.print(x.type))
      .join(" and ")
    const lengths = [shape.rows, shape.keys].map((n) => Math.ceil(Math.log2(Math.max(1, n))))
    const hasRange = anchor.attrs.range !== undefined
    const { D, E, group, dtype, rows } = shape
    const { arithmetic = "f32" } = schedule.prefill
    // Nothing is computed, and nothing learned.
    if (rows === 0 || shape.keys === 0) continue
    const schedules = alternatives(limits, D, E, group, rows, arithmetic).map((s) =>
      Budget.withBuffers(s, buffers, limits)
    )
    const version = kernelVersion(backend, { D: D[0] as number, E, group, dtype, arithmetic }, schedules)
    const facts = [D, E, group, dtype, arithmetic, lengths, hasRange, buffers, version]
    const key = JSON.stringify([description, ...facts])
    const nodes = [...(found.get(key)?.nodes ?? []), node]
    found.set(key, { key, text, nodes, schedules })
  }
  return [...found.values()]
}

const shapeOf = (anchor: NodeOf<"flash_attention">, sizes: Dim.Bindings) => {
  const { terms, v } = parts(anchor.operands, anchor.attrs)
  const [q, k] = anchor.operands as readonly [Node, Node]
  const at = (x: Node, axis: number): number => Dim.evaluate(x.type.shape[axis] as Dim.Dim, sizes)
  const group = Dim.value(Dim.divideExact(q.type.shape[1] as Dim.Dim, k.type.shape[1] as Dim.Dim) ?? Dim.one)
  return {
    D: terms.map((term) => at(term.q, 3)),
    E: at(v, 3),
    group,
    dtype: q.type.dtype,
    rows: (at(q, 1) / at(k, 1)) * at(q, 2),
    keys: at(k, 2)
  }
}

/** Lengths that nobody gave: one sequence of 512. */
export const assumedSizes = (graph: Graph): Dim.Bindings => {
  const sizes: { [symbol: string]: number } = {}
  for (const { type } of graph.inputs)
    for (const [axis, dim] of type.shape.entries())
      for (const symbol of Dim.symbols(dim)) sizes[symbol] ??= axis === 0 && type.shape.length > 2 ? 1 : 512
  return sizes
}

/** Arguments: given, or made up. Whole numbers are large ones, so that masks by lengths hide nothing. */
const argumentsOf = (
  { graph }: Plan,
  sizes: Dim.Bindings,
  given: { readonly [name: string]: HostArray.HostArray }
): ReadonlyArray<HostArray.HostArray> =>
  graph.inputs.map(({ type, attrs }) => {
    const own = given[attrs.name]
    if (own !== undefined) return own
    const shape = Shape.evaluate(type.shape, sizes)
    const numbers = new Float64Array(shape.reduce((product, n) => product * n, 1))
    const isFloat = type.dtype.startsWith("f") || type.dtype === "bf16"
    const most = Math.max(1, ...Object.values(sizes))
    for (let n = 0; n < numbers.length; n++) numbers[n] = isFloat ? Math.sin(n * 12.9898) : most
    return HostArray.fromNumbers(type.dtype, shape, numbers)
  })
