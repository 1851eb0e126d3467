import { Effect, type Scope, type Stream } from "effect"
import type { Backend } from "../../../backends/Backend.ts"
import type { FloatDType } from "../../../ir/DType.ts"
import type { AttrError, ParamsError, RunError } from "../../errors.ts"
import { FileError } from "../../files/FileError.ts"
import { nodeFiles } from "../../nodeModule.ts"
import { folderSources } from "../fileSource.ts"
import * as Params from "../Params.ts"
import { type Loaded, load, open, type Weights } from "../weights.ts"
import { bert } from "./bert.ts"
import { type Json, refuse } from "./configFile.ts"
import { bertConfig, gpt2Config, vitConfig, whisperConfig } from "./configs.ts"
import { decoder } from "./decoder.ts"
import { decoderConfig } from "./decoderConfig.ts"
import { gpt2 } from "./gpt2.ts"
import { vit } from "./vit.ts"
import { whisper } from "./whisper.ts"

/** A model of a `config.json`, by its kind. */
export type Model =
  | { readonly kind: "decoder"; readonly model: ReturnType<typeof decoder> }
  | { readonly kind: "gpt2"; readonly model: ReturnType<typeof gpt2> }
  | { readonly kind: "bert"; readonly model: ReturnType<typeof bert> }
  | { readonly kind: "vit"; readonly model: ReturnType<typeof vit> }
  | { readonly kind: "whisper"; readonly model: ReturnType<typeof whisper> }

const kinds: { readonly [modelType: string]: (json: Json, dtype?: FloatDType) => Model } = {
  gpt2: (json, dtype) => ({ kind: "gpt2", model: gpt2({ ...gpt2Config(json), dtype }) }),
  bert: (json, dtype) => ({ kind: "bert", model: bert({ ...bertConfig(json), dtype }) }),
  vit: (json, dtype) => ({ kind: "vit", model: vit({ ...vitConfig(json), dtype }) }),
  whisper: (json, dtype) => ({ kind: "whisper", model: whisper({ ...whisperConfig(json), dtype }) }),
  ...Object.fromEntries(
    ["llama", "mistral", "qwen2", "qwen3", "gemma2"].map((family) => [
      family,
      (json: Json, dtype?: FloatDType): Model => ({
        kind: "decoder",
        model: decoder({ ...decoderConfig(json), dtype })
      })
    ])
  )
}

export interface ModelOptions {
  /** Of the parameters, which those of files are rounded to; f32 unless told otherwise. */
  readonly dtype?: FloatDType | undefined
}

/** The model that a `config.json` of Hugging Face describes. Throws `AttrError` for what it does not know, by name. */
export const modelOf = (json: Json, { dtype }: ModelOptions = {}): Model => {
  const type = json.model_type
  const make = typeof type === "string" && Object.hasOwn(kinds, type) ? kinds[type] : undefined
  if (make !== undefined) return make(json, dtype)
  throw refuse("modelOf", `model_type is ${JSON.stringify(type)}`, `one of ${Object.keys(kinds).join(", ")}`)
}

/** What stands before the names of a model that is part of another one. */
const prefixes = ["", "transformer.", "bert.", "model."]

/** What files of these models hold besides: masks and positions that are computed, heads of the training, tables that are tied. */
const besides =
  /(^|\.)(attn\.(masked_)?bias|position_ids|inv_freq)$|^cls\.|^vit\.pooler\.|^(proj_out|lm_head)\.weight$/

/** A model's folder: what it is, and its weights, of which nothing but the headers is in memory. */
export type Pretrained = Model & {
  readonly weights: Weights
  /** The parameters to the device, as `load` brings them, under the names of the model. */
  readonly load: () => Stream.Stream<Loaded, FileError | ParamsError | RunError, Backend | Scope.Scope>
}

/** The name of a parameter in the files: with a prefix, norms also as the oldest files call them. */
const renamed = (weights: Weights, tree: Params.Tree): ((name: string) => string) => {
  const names = new Set(weights.names)
  const [first = ""] = Object.keys(Params.flatten(tree))
  const prefix = prefixes.find((p) => names.has(p + first)) ?? ""
  return (name) => {
    const own = prefix + name
    if (names.has(own)) return own
    const old = own
      .replace(/LayerNorm\.weight$/, "LayerNorm.gamma")
      .replace(/LayerNorm\.bias$/, "LayerNorm.beta")
    return names.has(old) ? old : own
  }
}

const failed = (file: string, cause: unknown): FileError =>
  new FileError({ file, message: `${file}: ${cause instanceof Error ? cause.message : String(cause)}` })

/**
 * Opens a model's folder as Hugging Face lays it out: `config.json` beside `model.safetensors`, or beside an index and its shards. Fails with
 * `AttrError` for a model that is not known here. Node, Deno and Bun.
 */
export const openFolder = (
  folder: string,
  options: ModelOptions = {}
): Effect.Effect<Pretrained, FileError | AttrError> =>
  Effect.gen(function* () {
    const file = `${folder}/config.json`
    const json = yield* Effect.tryPromise({
      try: async () => {
        const { readFile } = await nodeFiles()
        return JSON.parse(await readFile(file, "utf8")) as Json
      },
      catch: (cause) => failed(file, cause)
    })
    const found = yield* Effect.try({ try: () => modelOf(json ?? {}, options), catch: (e) => e as AttrError })
    const weights = yield* open(yield* folderSources(folder))
    const { params } = found.model
    const own = { rename: renamed(weights, params), allowOthers: (name: string) => besides.test(name) }
    return { ...found, weights, load: () => load(weights, params, own) }
  })
