import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { Effect, Result } from "effect"
import type * as Graph from "../../ir/Graph.ts"
import * as Json from "../../ir/Json.ts"
import * as Parse from "../../ir/Parse.ts"
import { didYouMean } from "../../ir/suggest.ts"
import type { CompileOptions } from "../compile.ts"
import type { Definition } from "../define.ts"
import { type Signature, trace } from "../trace.ts"
import { badInput, type CliFailure, quoted, usage } from "./CliFailure.ts"
import { fromError, isKnownError, orFail } from "./fromError.ts"
import { Io } from "./Io.ts"
import { importFailure } from "./importFailure.ts"
import { runsTypeScript } from "./Machine.ts"

/** What a command works on: the graph of one definition. */
export interface Target {
  /** The definition's name, or the file's. */
  readonly name: string
  readonly graph: Graph.Graph
  readonly options: CompileOptions
}

type Loading = Effect.Effect<Target, CliFailure, Io>

const code = /\.([cm]?)(ts|js)$/i

/** `file.ts#name` into its parts. */
const split = (target: string): { readonly file: string; readonly name: string | undefined } => {
  const at = target.lastIndexOf("#")
  return at < 0
    ? { file: target, name: undefined }
    : { file: target.slice(0, at), name: target.slice(at + 1) }
}

/** Loads `file.ts#name`, `file.eir`, `graph.json`, or text IR from standard input (`-`). */
export const load = (target: string): Loading => {
  const { file, name } = split(target)
  if (file === "")
    return Effect.fail(usage(`${quoted(target)} names no file`, "write file.ts#name or file.eir"))
  if (code.test(file)) return fromModule(file, name)
  if (name !== undefined) {
    return Effect.fail(
      usage(`${quoted(file)} is one graph, it has no definition ${quoted(name)}`, `write ${file}`)
    )
  }
  if (/\.json$/i.test(file)) return fromText(file, (text) => Json.parse(text, { file }))
  if (file === "-" || /\.eir$/i.test(file)) {
    return fromText(file, (text) => Parse.graph(text, { file: file === "-" ? "stdin" : file }))
  }
  return Effect.fail(
    usage(
      `${quoted(file)} is neither a module nor text IR`,
      "give a .ts or .js module that exports definitions, an .eir file, a graph as .json, or - for text IR from standard input"
    )
  )
}

const fromText = (file: string, parse: (text: string) => ReturnType<typeof Parse.graph>): Loading =>
  Effect.gen(function* () {
    const io = yield* Io
    const text = new TextDecoder().decode(yield* io.read(file))
    const graph = yield* orFail(Effect.fromResult(parse(text)))
    const name = file === "-" ? "stdin" : (file.split(/[/\\]/).at(-1) ?? file).replace(/\.\w+$/, "")
    return { name, graph, options: {} }
  })

const isDefinition = (x: unknown): x is Definition<Signature> =>
  typeof x === "object" &&
  x !== null &&
  typeof (x as Definition).fn === "function" &&
  typeof (x as Definition).signature === "object" &&
  (x as Definition).signature !== null

const fromModule = (file: string, name: string | undefined): Loading =>
  Effect.gen(function* () {
    const io = yield* Io
    yield* io.read(file)
    if (/\.[cm]?ts$/i.test(file) && !runsTypeScript()) {
      return yield* badInput(
        `Node ${process.versions.node} does not run TypeScript, and ${quoted(file)} is TypeScript`,
        "use Node 22.18 or newer, or compile it first (npx tsc) and give the .js file"
      )
    }
    const exports = yield* Effect.tryPromise({
      try: () => import(pathToFileURL(resolve(file)).href) as Promise<{ readonly [name: string]: unknown }>,
      catch: (cause) => cause
    }).pipe(
      Effect.catch((cause) =>
        Effect.flatMap(isKnownError(cause) ? fromError(cause) : importFailure(file, cause), (e) =>
          Effect.fail(e)
        )
      )
    )
    const [found, definition] = yield* Effect.fromResult(pick(file, exports, name))
    const { graph } = yield* orFail(
      Effect.fromResult(trace(definition.fn as Parameters<typeof trace>[0], definition.signature))
    )
    return { name: found, graph, options: definition.options ?? {} }
  })

/** The definition that is asked for, or the only one. */
const pick = (
  file: string,
  exports: { readonly [name: string]: unknown },
  name: string | undefined
): Result.Result<readonly [string, Definition<Signature>], CliFailure> => {
  // A module without names may export `fn` and `signature` themselves.
  const entries = Object.entries(exports)
  const found = entries.filter((e): e is [string, Definition<Signature>] => isDefinition(e[1]))
  if (found.length === 0 && name === undefined && isDefinition(exports)) {
    return Result.succeed(["fn", exports as Definition<Signature>])
  }
  const names = found.map(([n]) => n)
  const list =
    names.length > 3
      ? `write ${file}#name, where the names are ${names.join(", ")}`
      : `write ${names.map((n) => `${file}#${n}`).join(" or ")}`
  if (name !== undefined) {
    const wanted = found.find(([n]) => n === name)
    if (wanted !== undefined) return Result.succeed(wanted)
    const other = entries.find(([n]) => n === name)
    if (other !== undefined) {
      return Result.fail(
        usage(
          `the export ${quoted(name)} of ${quoted(file)} is not a definition`,
          howToDefine(name, other[1])
        )
      )
    }
    return Result.fail(
      usage(
        `${quoted(file)} exports no definition ${quoted(name)}`,
        didYouMean(name, names) ?? (names.length === 0 ? howToDefine(name, undefined) : list)
      )
    )
  }
  const [only, second] = found
  if (only === undefined) {
    const [first] = entries.filter(([, value]) => typeof value === "function")
    return Result.fail(
      usage(`${quoted(file)} exports no definition`, howToDefine(first?.[0] ?? "attention", first?.[1]))
    )
  }
  return second === undefined
    ? Result.succeed(only)
    : Result.fail(usage(`${quoted(file)} exports ${found.length} definitions: say which`, list))
}

const howToDefine = (name: string, value: unknown): string =>
  `export const ${/^[\w$]+$/.test(name) ? name : "attention"} = define(${typeof value === "function" ? "the function" : "fn"}, { q: spec("f32", ["T", 64]), ... })`
