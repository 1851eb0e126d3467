import { Effect, Scope, Stream } from "effect"
import type { Backend, DeviceArray, Value } from "../../backends/Backend.ts"
import * as DType from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { compile } from "../compile.ts"
import { AttrError, type CompileError, type RunError } from "../errors.ts"
import { download, free, upload } from "../transfer.ts"
import * as Batch from "./Batch.ts"
import * as CacheKind from "./CacheKind.ts"
import type { LanguageModel } from "./LanguageModel.ts"
import * as PagePool from "./PagePool.ts"
import * as Params from "./Params.ts"
import { type Program, type Programs, programsOf } from "./programs.ts"
import { check, type Sampling } from "./sample.ts"
import { made, type Step } from "./step.ts"
import { whole } from "./whole.ts"

export interface GenerateOptions extends Sampling {
  /** Words to make for each prompt, at most. */
  readonly maxTokens: number
  /** Words that end their sequence; they are given too. */
  readonly stop?: ReadonlyArray<number> | undefined
  /** Of the draws; 0 unless told otherwise. */
  readonly seed?: number | undefined
  /** Where keys and values are kept; `{ kind: "static" }` unless told otherwise. */
  readonly cache?: CacheKind.CacheKind | undefined
  /** Sequences that run at once; all unless told otherwise. A prompt that waits joins when another sequence ends. */
  readonly batch?: number | undefined
  /** Words of a prompt that one call reads, at most; all unless told otherwise. */
  readonly chunk?: number | undefined
  /** What the model is given beside words, by name, an entry of the first axis for each prompt: of Whisper `encoded`. */
  readonly context?: { readonly [name: string]: Value } | undefined
}

/** One step of all sequences. */
export interface Generated {
  /** For each prompt the word that was made, or undefined where it waits, is still being read, or its sequence has ended. */
  readonly tokens: ReadonlyArray<number | undefined>
  /** Bytes that went to the device and came back in this step, parameters and context not counted. */
  readonly bytesMoved: number
  /** Bytes of all caches on the device. */
  readonly cacheBytes: number
  /** Pages of the pool that sequences hold. */
  readonly pagesUsed?: number
}

type Words = Stream.Stream<Generated, CompileError | RunError | AttrError, Backend>

type Prompts = ReadonlyArray<ReadonlyArray<number>>

const refuse = (message: string, hint: string) => new AttrError({ op: "generate", message, hint })

const isWord = ({ words }: LanguageModel, t: number): boolean =>
  Number.isSafeInteger(t) && t >= 0 && t < words

const checked = (model: LanguageModel, prompts: Prompts, options: GenerateOptions): void => {
  const { maxTokens, batch, chunk, stop = [], seed = 0, cache = statically, context = {} } = options
  // Without types it can be left out, and nothing else says where to end.
  if (maxTokens === undefined) throw refuse("maxTokens is undefined", "use a whole number of 1 or more")
  whole("generate", { maxTokens, batch, chunk })
  whole("generate", { seed }, 0)
  const strange = stop.find((t) => !isWord(model, t))
  if (strange !== undefined)
    throw refuse(`stop holds ${strange}, which is no word of ${model.words}`, "use the model's own tokenizer")
  if (prompts.length === 0) throw refuse("there is no prompt", "pass a list of lists of words")
  prompts.forEach((prompt, n) => {
    if (prompt.length === 0) throw refuse(`prompt ${n} is empty`, "start it with the word that begins a text")
    const wrong = prompt.find((t) => !isWord(model, t))
    if (wrong !== undefined)
      throw refuse(
        `prompt ${n} holds ${wrong}, which is no word of ${model.words}`,
        "use the model's own tokenizer"
      )
    const needed = prompt.length + maxTokens - 1
    if (needed > (model.positions ?? Infinity))
      throw refuse(
        `prompt ${n} of ${prompt.length} words and ${maxTokens} more need ${needed} positions, the model knows ${model.positions}`,
        "use a shorter prompt, or fewer maxTokens"
      )
  })
  const [wanted, brought] = [Object.keys(model.context?.given ?? {}), Object.keys(context)]
  if (wanted.join() !== brought.join())
    throw refuse(
      `the context is ${brought.join(", ") || "empty"}`,
      `pass ${wanted.join(", ") || "none"} to this model`
    )
  if (wanted.length > 0 && (batch ?? prompts.length) < prompts.length)
    throw refuse(
      `a batch of ${batch} for ${prompts.length} prompts with a context`,
      "sequences with a context run all at once: leave batch out"
    )
  CacheKind.check(cache, model, prompts, maxTokens)
  check(options)
}

const statically: CacheKind.CacheKind = { kind: "static" }

/** What lives on the device from step to step, and who runs. */
interface State {
  readonly arrays: { readonly [name: string]: DeviceArray }
  readonly batch: Batch.Batch
  readonly capacity: number
  /** Bytes of all caches. */
  readonly cacheBytes: number
  readonly steps: number
}

interface Running extends Programs {
  /** Parameters and context. */
  readonly given: { readonly [name: string]: DeviceArray }
  readonly rules: Batch.Rules
  readonly dtype: DType.DType
  readonly words: number
  readonly seed: number
}

/**
 * Continues prompts of any lengths together, a word for each of them at a time. Keys and values stay on the device and are written in place; what comes back in
 * a step is one number for each sequence. The stream can be interrupted between any two steps; its scope owns the memory.
 *
 * `params` are the model's parameters as `Params.flatten` names them, on the host or, uploaded once, on the device. Fails with `AttrError` for
 * prompts and options that mean nothing, and with what compiling and running fail with.
 */
export const generate: <P>(
  model: LanguageModel & { readonly params: P },
  params: Params.Values<P> | { readonly [name: string]: Value },
  prompts: Prompts,
  options: GenerateOptions
) => Words = (model: LanguageModel, params: unknown, prompts: Prompts, options: GenerateOptions): Words =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* Effect.try({ try: () => checked(model, prompts, options), catch: (e) => e as AttrError })
      const { maxTokens, cache = statically, stop = [], seed = 0 } = options
      const longest = Math.max(...prompts.map((p) => p.length))
      const call = Math.min(options.chunk ?? longest, longest)
      const scope = yield* Effect.scope
      const { dtype, words } = model
      const { own, run, grow } = yield* programsOf(model, cache, options, call)
      const weights = yield* onDevice("params.", params)
      const given = { ...weights, ...(yield* contextOf(model, weights, options.context ?? {})) }
      const rules = { maxTokens, stop: new Set(stop), call }
      const first = yield* start(model, own, cache, prompts, options)
      const running: Running = { run, grow, own, given, rules, dtype, words, seed }
      return Stream.unfold(first, (state: State) =>
        Effect.provideService(following(running, state), Scope.Scope, scope)
      )
    })
  ) as Words

/** Values on the device, by the step's names. */
const onDevice = (prefix: string, values: unknown) =>
  Effect.gen(function* () {
    const found: { [name: string]: DeviceArray } = {}
    const isArray = (x: unknown): x is DeviceArray => typeof x === "object" && x !== null && "_tag" in x
    for (const [name, value] of Object.entries(Params.flatten<Value>(values)))
      found[prefix + name] = isArray(value) ? value : yield* upload(value)
    return found
  })

/** What a model makes of its context, on the device. */
const contextOf = (
  model: LanguageModel,
  weights: { readonly [name: string]: DeviceArray },
  brought: { readonly [name: string]: Value }
) =>
  Effect.gen(function* () {
    if (model.context === undefined) return {}
    const { fn, signature } = made(model, model.context)
    const make = (yield* compile(fn as never, signature)) as unknown as Program
    return yield* make.onDevice({ ...weights, ...brought })
  })

/** Sizes of a cache. */
const shapeOf = (
  { shape }: { readonly shape: ReadonlyArray<number | string> },
  sizes: { readonly [symbol: string]: number }
): ReadonlyArray<number> => shape.map((d) => (typeof d === "string" ? (sizes[d] as number) : d))

const sizesOf = ({ batch, capacity }: Pick<State, "batch" | "capacity">) => ({
  B: batch.slots.length,
  C: capacity,
  P: batch.pool?.users.length ?? 0
})

const cacheBytesOf = (
  { caches }: Step,
  dtype: DType.DType,
  sizes: { readonly [symbol: string]: number }
): number =>
  Object.values(caches).reduce((sum, lying) => {
    const elements = shapeOf(lying, sizes).reduce((a, b) => a * b, 1)
    return sum + elements * DType.deviceBytes[dtype]
  }, 0)

const start = (
  model: LanguageModel,
  own: Step,
  kind: CacheKind.CacheKind,
  prompts: Prompts,
  { maxTokens, batch = prompts.length }: GenerateOptions
) =>
  Effect.gen(function* () {
    const slots = Math.min(batch, prompts.length)
    const most = Math.max(...prompts.map((p) => p.length)) + maxTokens
    const rows = CacheKind.rowsOf(kind)
    const pool =
      kind.kind === "pages"
        ? PagePool.make(kind.pages ?? slots * PagePool.pagesOf(rows, most - 1), rows)
        : undefined
    const capacity = (kind.kind === "static" ? kind.capacity : undefined) ?? most
    const made = { batch: Batch.make(prompts, slots, pool), capacity }
    const state = { ...made, steps: 0, cacheBytes: cacheBytesOf(own, model.dtype, sizesOf(made)) }
    const arrays: { [name: string]: DeviceArray } = {}
    for (const [name, lying] of Object.entries(own.caches))
      arrays[name] = yield* upload(HostArray.zeros(model.dtype, shapeOf(lying, sizesOf(state))))
    if (own.penalises) arrays.seen = yield* upload(HostArray.zeros("bool", [slots, model.words]))
    return { ...state, arrays }
  })

/** What a call brings beside what is on the device. */
const inputsOf = (
  { slots, pool }: Batch.Batch,
  { rules, own, words, seed }: Running,
  steps: number
): { readonly [name: string]: HostArray.HostArray } => {
  // A slot that nobody has reads one word, which no one asks about.
  const rows = slots.map((s) => (s === undefined ? [0] : Batch.reads(s, rules)))
  const longest = Math.max(...rows.map((r) => r.length))
  const padded = (lists: ReadonlyArray<ReadonlyArray<number>>, width: number, by: number) =>
    HostArray.fromNumbers(
      "i32",
      [slots.length, width],
      lists.flatMap((list) => Array.from({ length: width }, (_, n) => list[n] ?? by))
    )
  const each = (f: (s: Batch.Sequence | undefined, n: number) => number) =>
    HostArray.fromNumbers("i32", [slots.length], slots.map(f))
  const inputs: { [name: string]: HostArray.HostArray } = {
    // What pads short rows is overwritten before any query stands behind it.
    tokens: padded(rows, longest, 0),
    length: each((s) => s?.length ?? 0),
    last: each((_, n) => (rows[n] as ReadonlyArray<number>).length - 1),
    seed: HostArray.fromNumbers("u32", [], [(Math.imul(seed, 0x9e3779b1) + steps) >>> 0])
  }
  if (pool !== undefined) {
    const needed = slots.map((s, n) =>
      s === undefined ? 1 : PagePool.pagesOf(pool.rows, s.length + (rows[n] as ReadonlyArray<number>).length)
    )
    // Rows of a page past the pool are written nowhere.
    const pages = slots.map((s, n) => s?.pages.slice(0, needed[n]) ?? [])
    inputs.table = padded(pages, Math.max(...needed), pool.users.length)
  }
  if (own.penalises) {
    const marks = slots.map((s) => (s === undefined ? [] : s.fresh ? s.words : s.words.slice(-1)))
    inputs.mark = padded(marks, Math.max(1, ...marks.map((m) => m.length)), words)
    inputs.fresh = HostArray.fromNumbers(
      "bool",
      [slots.length],
      slots.map((s) => (s?.fresh === true ? 1 : 0))
    )
  }
  return inputs
}

const following = (running: Running, state: State) =>
  Effect.gen(function* () {
    const { run, own, given, rules } = running
    if (Batch.isDone(state.batch)) return undefined
    const batch = Batch.joined(state.batch, rules)
    const inputs = inputsOf(batch, running, state.steps)
    const { arrays, capacity, cacheBytes } = yield* roomFor(running, { ...state, batch }, inputs)
    const results = yield* run.onDevice({ ...given, ...arrays, ...inputs })
    const word = results.next as DeviceArray
    const next = HostArray.toNumbers(yield* download(word))
    yield* free(word)
    const { batch: left, tokens } = Batch.after(batch, [...next], rules)
    const kept = [...Object.keys(own.caches), ...(own.penalises ? ["seen"] : [])]
    const after: State = {
      arrays: Object.fromEntries(kept.map((name) => [name, results[name] as DeviceArray])),
      batch: left,
      capacity,
      cacheBytes,
      steps: state.steps + 1
    }
    const generated: Generated = {
      tokens,
      bytesMoved:
        Object.values(inputs).reduce((sum, x) => sum + HostArray.byteLength(x), 0) + 4 * batch.slots.length,
      cacheBytes,
      ...(batch.pool === undefined ? {} : { pagesUsed: PagePool.used(batch.pool) })
    }
    return [generated, after] as const
  })

/** Caches that hold the positions of the next call: twice as long, as often as it takes. */
const roomFor = (
  running: Running,
  state: State,
  { tokens, last }: { readonly [name: string]: HostArray.HostArray }
) => {
  const rows = HostArray.toNumbers(last as HostArray.HostArray)
  const ends = state.batch.slots.map((s, n) => (s?.length ?? 0) + (rows[n] as number) + 1)
  const needed = Math.max((tokens as HostArray.HostArray).shape[1] as number, ...ends)
  return needed <= state.capacity ? Effect.succeed(state) : larger(running, state, needed)
}

const larger = ({ grow, own, dtype }: Running, state: State, needed: number) =>
  Effect.gen(function* () {
    const growing = Object.keys(own.caches).filter((name) => own.caches[name]?.shape[2] === "C")
    let { arrays, capacity } = state
    while (growing.length > 0 && capacity < needed) {
      const longer: { [name: string]: DeviceArray } = { ...arrays }
      for (const name of growing) {
        const old = arrays[name] as DeviceArray
        longer[name] = yield* grow.onDevice({ x: old })
        yield* free(old)
      }
      arrays = longer
      capacity *= 2
    }
    const cacheBytes = cacheBytesOf(own, dtype, sizesOf({ batch: state.batch, capacity }))
    return { ...state, arrays, capacity, cacheBytes }
  })
