import { Effect, Scope, Stream } from "effect"
import type { Backend, DeviceArray, Value } from "../../backends/Backend.ts"
import * as HostArray from "../../ir/HostArray.ts"
import type { Compiled } from "../Compiled.ts"
import { compile } from "../compile.ts"
import { AttrError, type CompileError, type RunError } from "../errors.ts"
import { type Spec, spec } from "../spec.ts"
import type * as Tensor from "../Tensor.ts"
import { download, free, upload } from "../transfer.ts"
import type { Decoder, DecoderParams } from "./models/decoder.ts"
import * as Params from "./Params.ts"
import { check, type Sampling } from "./sample.ts"
import { cacheShape, grown, type Step, step } from "./step.ts"

export interface GenerateOptions extends Sampling {
  /** Words to make for each prompt, at most. */
  readonly maxTokens: number
  /** Words that end their sequence; they are given too. */
  readonly stop?: ReadonlyArray<number> | undefined
  /** Of the draws; 0 unless told otherwise. */
  readonly seed?: number | undefined
  /** Positions that caches start with; they double when they are full. As many as are needed unless told otherwise. */
  readonly capacity?: number | undefined
}

/** One step of all sequences. */
export interface Generated {
  /** For each prompt the word that was made, or undefined where its sequence has ended. */
  readonly tokens: ReadonlyArray<number | undefined>
  /** Bytes that went to the device and came back in this step, parameters not counted. */
  readonly bytesMoved: number
}

const op = "generate"

type Program = Compiled<{ readonly [name: string]: Spec }, { readonly [name: string]: Tensor.Tensor }>

const integers = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>): HostArray.HostArray =>
  HostArray.fromNumbers("i32", shape, values)

const checked = (
  model: Decoder,
  prompts: ReadonlyArray<ReadonlyArray<number>>,
  options: GenerateOptions
): void => {
  const refuse = (message: string, hint: string) => new AttrError({ op, message, hint })
  if (prompts.length === 0) throw refuse("there is no prompt", "pass a list of lists of words")
  prompts.forEach((prompt, n) => {
    if (prompt.length === 0) throw refuse(`prompt ${n} is empty`, "start it with the word that begins a text")
    const wrong = prompt.find((t) => !Number.isSafeInteger(t) || t < 0 || t >= model.config.words)
    if (wrong !== undefined)
      throw refuse(
        `prompt ${n} holds ${wrong}, which is no word of ${model.config.words}`,
        "use the model's own tokenizer"
      )
  })
  if (!Number.isSafeInteger(options.maxTokens) || options.maxTokens < 1)
    throw refuse(`maxTokens is ${options.maxTokens}`, "use a whole number of 1 or more")
  check(options)
}

/** What lives on the device from step to step. */
interface State {
  readonly arrays: { readonly [name: string]: DeviceArray }
  /** Filled positions of each sequence. */
  readonly lengths: ReadonlyArray<number>
  readonly capacity: number
  /** The words of the next call, [B, T], and the position of the last of each. */
  readonly rows: ReadonlyArray<ReadonlyArray<number>>
  readonly ended: ReadonlyArray<boolean>
  readonly made: number
}

/**
 * Continues prompts of any lengths together, a word for each of them at a time. Keys and values stay on the device and are written in place; what comes back in
 * a step is one number for each sequence. The stream can be interrupted between any two steps; its scope owns the memory.
 *
 * `params` are the model's parameters as `Params.flatten` names them, on the host or, uploaded once, on the device. Fails with `AttrError` for
 * prompts and options that mean nothing, and with what compiling and running fail with.
 */
export const generate = (
  model: Decoder,
  params: Params.Values<DecoderParams> | { readonly [name: string]: Value },
  prompts: ReadonlyArray<ReadonlyArray<number>>,
  options: GenerateOptions
): Stream.Stream<Generated, CompileError | RunError | AttrError, Backend> =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* Effect.try({ try: () => checked(model, prompts, options), catch: (e) => e as AttrError })
      const own = step(model, options)
      const run = (yield* compile(own.fn as never, own.signature, {
        donate: own.donate
      })) as unknown as Program
      const scope = yield* Effect.scope
      const grow = yield* compile(({ x }) => grown(x as Tensor.Tensor), {
        x: spec(model.config.dtype ?? "f32", cacheShape(model, "C", "B") as ReadonlyArray<string>)
      })
      const weights = yield* onDevice(params)
      const first = yield* start(model, own, prompts, options)
      return Stream.unfold(first, (state: State) =>
        Effect.provideService(next({ run, grow, own, weights, options }, state), Scope.Scope, scope)
      )
    })
  ) as Stream.Stream<Generated, CompileError | RunError | AttrError, Backend>

/** Parameters on the device, by the step's names. */
const onDevice = (params: object) =>
  Effect.gen(function* () {
    const flat = Params.flatten<Value>(params)
    const found: { [name: string]: DeviceArray } = {}
    for (const [name, value] of Object.entries(flat))
      found[`params.${name}`] = "_tag" in value ? value : yield* upload(value)
    return found
  })

const start = (
  model: Decoder,
  own: Step,
  prompts: ReadonlyArray<ReadonlyArray<number>>,
  options: GenerateOptions
) =>
  Effect.gen(function* () {
    const longest = Math.max(...prompts.map((p) => p.length))
    const capacity = Math.max(options.capacity ?? longest + options.maxTokens, longest)
    const { words, dtype = "f32" } = model.config
    const arrays: { [name: string]: DeviceArray } = {}
    for (const name of own.donate) {
      if (name === "seen") {
        const seen = HostArray.zeros("bool", [prompts.length, words])
        prompts.forEach((prompt, b) => {
          for (const t of prompt) seen.data[b * words + t] = 1
        })
        arrays[name] = yield* upload(seen)
      } else {
        arrays[name] = yield* upload(
          HostArray.zeros(dtype, cacheShape(model, capacity, prompts.length) as ReadonlyArray<number>)
        )
      }
    }
    const state: State = {
      arrays,
      lengths: prompts.map(() => 0),
      capacity,
      rows: prompts,
      ended: prompts.map(() => false),
      made: 0
    }
    return state
  })

interface Running {
  readonly run: Program
  readonly grow: Compiled<{ readonly x: Spec }, Tensor.Tensor>
  readonly own: Step
  readonly weights: { readonly [name: string]: DeviceArray }
  readonly options: GenerateOptions
}

const next = (running: Running, state: State) =>
  Effect.gen(function* () {
    const { run, own, weights, options } = running
    if (state.made >= options.maxTokens || state.ended.every(Boolean)) return undefined
    const batch = state.rows.length
    const longest = Math.max(...state.rows.map((r) => r.length))
    const needed = Math.max(...state.lengths.map((l) => l + longest))
    const { arrays, capacity } = yield* roomFor(running, state, needed)
    // What pads short rows is overwritten before any query stands behind it.
    const tokens = state.rows.flatMap((r) => [...r, ...Array.from({ length: longest - r.length }, () => 0)])
    const inputs = {
      tokens: integers([batch, longest], tokens),
      length: integers([batch], state.lengths),
      last: integers(
        [batch],
        state.rows.map((r) => r.length - 1)
      ),
      seed: HostArray.fromNumbers("u32", [], [(Math.imul(options.seed ?? 0, 0x9e3779b1) + state.made) >>> 0])
    }
    const results = yield* run.onDevice({ ...weights, ...arrays, ...inputs })
    const word = results.next as DeviceArray
    const made = HostArray.toNumbers(yield* download(word))
    yield* free(word)
    const stop = new Set(options.stop ?? [])
    const given = state.ended.map((ended, b) => (ended ? undefined : (made[b] as number)))
    const after: State = {
      arrays: Object.fromEntries(own.donate.map((name) => [name, results[name] as DeviceArray])),
      lengths: state.lengths.map((l, b) => l + (state.rows[b]?.length ?? 0)),
      capacity,
      rows: [...made].map((t) => [t]),
      ended: given.map((t) => t === undefined || stop.has(t)),
      made: state.made + 1
    }
    const moved = Object.values(inputs).reduce((sum, x) => sum + HostArray.byteLength(x), 0) + 4 * batch
    return [{ tokens: given, bytesMoved: moved }, after] as const
  })

/** Caches that hold the positions of the next call: twice as long, as often as it takes. */
const roomFor = ({ grow, own }: Running, state: State, needed: number) =>
  Effect.gen(function* () {
    let { arrays, capacity } = state
    while (capacity < needed) {
      const larger: { [name: string]: DeviceArray } = { ...arrays }
      for (const name of own.donate) {
        if (name === "seen") continue
        const old = arrays[name] as DeviceArray
        larger[name] = yield* grow.onDevice({ x: old })
        yield* free(old)
      }
      arrays = larger
      capacity *= 2
    }
    return { arrays, capacity }
  })
