import { Result } from "effect"
import type { Graph } from "../ir/Graph.ts"
import * as Shape from "../ir/Shape.ts"
import { suggest } from "../ir/suggest.ts"
import { argument, printArray } from "./argument.ts"
import { SignatureError } from "./errors.ts"
import { assumedSizes, type TuneOptions } from "./tune.ts"

const fields: { readonly [K in keyof Required<TuneOptions>]: string } = {
  sizes: "lengths by name",
  inputs: "arguments by name",
  milliseconds: "a number of 0 or more",
  progress: "a function",
  cache: "{ read, write }, both functions"
}

const isRecord = (x: unknown): x is { readonly [name: string]: unknown } =>
  typeof x === "object" && x !== null && !Array.isArray(x)

const isFunction = (x: unknown): boolean => typeof x === "function"

const fits: { readonly [K in keyof Required<TuneOptions>]: (value: unknown) => boolean } = {
  sizes: isRecord,
  inputs: isRecord,
  milliseconds: (x) => typeof x === "number" && x >= 0,
  progress: isFunction,
  cache: (x) => isRecord(x) && isFunction(x["read"]) && isFunction(x["write"])
}

/** What a caller asks of tuning, checked as the rest of a call is; undefined where nothing is to be measured. */
export const tuneOptions = (
  asked: unknown,
  graph: Graph
): Result.Result<TuneOptions | undefined, SignatureError> => {
  const refuse = (message: string, hint: string) => Result.fail(new SignatureError({ message, hint }))
  if (asked === undefined || asked === false) return Result.succeed(undefined)
  if (asked === true) return Result.succeed({})
  const names = Object.keys(fields) as ReadonlyArray<keyof TuneOptions>
  if (!isRecord(asked)) {
    return refuse(`tune is ${show(asked)}`, `pass true, false or { ${names.join(", ")} }`)
  }
  for (const [name, value] of Object.entries(asked)) {
    const known = names.find((n) => n === name)
    if (known === undefined) {
      const near = suggest(name, names)
      const hint = near === undefined ? `there are ${names.join(", ")}` : `did you mean ${near}?`
      return refuse(`tune has no option ${JSON.stringify(name)}`, hint)
    }
    if (value !== undefined && !fits[known](value)) {
      return refuse(`tune.${name} is ${show(value)}`, `pass ${fields[known]}`)
    }
  }
  const options = asked as TuneOptions
  const assumed = assumedSizes(graph)
  for (const [symbol, size] of Object.entries(options.sizes ?? {})) {
    if (Object.hasOwn(assumed, symbol) && Number.isSafeInteger(size) && size >= 0) continue
    return refuse(
      `cannot tune for ${symbol} = ${size}`,
      `give lengths of 0 or more for ${Object.keys(assumed).sort().join(", ")}`
    )
  }
  const sizes = { ...assumed, ...options.sizes }
  for (const [name, value] of Object.entries(options.inputs ?? {})) {
    const input = graph.inputs.find((i) => i.attrs.name === name)
    if (input === undefined) {
      const all = graph.inputs.map((i) => i.attrs.name).join(", ")
      return refuse(
        `cannot tune with ${JSON.stringify(name)}: there is no such input`,
        `the inputs are ${all}`
      )
    }
    const checked = argument(name, value)
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    const { dtype } = input.type
    const wanted = { dtype, shape: Shape.evaluate(input.type.shape, sizes) }
    const [has, needs] = [checked.success, wanted].map((x) => printArray(x as typeof checked.success))
    if (has !== needs) {
      return refuse(
        `cannot tune with input ${JSON.stringify(name)}: it is ${has}, and ${needs} at the lengths to tune for`,
        "pass `sizes` that are those of the inputs"
      )
    }
  }
  return Result.succeed(options)
}

const show = (x: unknown): string =>
  typeof x === "string"
    ? JSON.stringify(x)
    : Array.isArray(x)
      ? "a list"
      : isFunction(x)
        ? "a function"
        : String(x)
