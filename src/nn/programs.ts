import { Effect } from "effect"
import { Backend } from "../../backends/Backend.ts"
import type { Compiled } from "../Compiled.ts"
import { compile } from "../compile.ts"
import { type Spec, spec } from "../spec.ts"
import type * as Tensor from "../Tensor.ts"
import type { CacheKind } from "./CacheKind.ts"
import type { LanguageModel } from "./LanguageModel.ts"
import type { Sampling } from "./sample.ts"
import { grown, type Step, step } from "./step.ts"

export type Program = Compiled<{ readonly [name: string]: Spec }, { readonly [name: string]: Tensor.Tensor }>

/** What a generation runs. */
export interface Programs {
  readonly own: Step
  /** The step. */
  readonly run: Program
  /** A longer cache from a full one. */
  readonly grow: Compiled<{ readonly x: Spec }, Tensor.Tensor>
}

/** Ways to generate with one model that are remembered: the one unused for longest is forgotten first. */
const most = 8

/** Weak on both sides: a program lives no longer than its device and its model. */
const known = new WeakMap<object, WeakMap<LanguageModel, Map<string, Programs>>>()

const remembered = (backend: object, model: LanguageModel): Map<string, Programs> => {
  const models = known.get(backend) ?? new WeakMap<LanguageModel, Map<string, Programs>>()
  known.set(backend, models)
  const ways = models.get(model) ?? new Map<string, Programs>()
  models.set(model, ways)
  return ways
}

/** The programs of a model on the backend in context, compiled where no generation before was like this one but for its lengths. */
export const programsOf = (
  model: LanguageModel,
  cache: CacheKind,
  { temperature, topK, topP, minP, repetitionPenalty }: Sampling,
  /** Words of a sequence that a call brings at most. */
  call: number
) =>
  Effect.gen(function* () {
    const ways = remembered(yield* Backend, model)
    const sampling = { temperature, topK, topP, minP, repetitionPenalty }
    const own = step(model, cache, sampling, call)
    const key = JSON.stringify([cache.kind, own.caches, sampling])
    const found = ways.get(key)
    if (found !== undefined) {
      ways.delete(key)
      ways.set(key, found)
      return found
    }
    const run = (yield* compile(own.fn as never, own.signature, {
      donate: [...Object.keys(own.caches), ...(own.penalises ? ["seen"] : [])]
    })) as unknown as Program
    const grow = yield* compile(({ x }) => grown(x as Tensor.Tensor), {
      x: spec(model.dtype, ["B", "H", "C", "D"])
    })
    const made: Programs = { own, run, grow }
    ways.set(key, made)
    const [oldest] = ways.keys()
    if (ways.size > most && oldest !== undefined) ways.delete(oldest)
    return made
  })
