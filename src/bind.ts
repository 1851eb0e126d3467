import { Result } from "effect"
import type { Value } from "../backends/Backend.ts"
import * as Dim from "../ir/Dim.ts"
import type { Location } from "../ir/errors.ts"
import type { Constraint } from "../ir/Shape.ts"
import * as TensorType from "../ir/TensorType.ts"
import { argument, printArray } from "./argument.ts"
import { SignatureError } from "./errors.ts"

/** A named argument and what it must be. */
export interface Parameter {
  readonly name: string
  readonly type: TensorType.TensorType
}

export interface Bound {
  /** Arguments in the order of the parameters. */
  readonly values: ReadonlyArray<Value>
  /** What each symbol is in this call. */
  readonly sizes: Dim.Bindings
}

/** Where a symbol got its size, for the message when another input disagrees. */
interface Binding {
  readonly size: number
  readonly source: string
}

/** The one symbol of a dim that is not bound yet, when it occurs alone and linearly; then the dim determines it. */
const solve = (
  dim: Dim.Dim,
  size: number,
  known: ReadonlyMap<string, Binding>
): readonly [string, number] | undefined => {
  const open = Dim.symbols(dim).filter((s) => !known.has(s))
  const [symbol] = open
  if (open.length !== 1 || symbol === undefined) return undefined
  const at = (value: number): number =>
    Dim.evaluate(dim, { ...Object.fromEntries([...known].map(([s, b]) => [s, b.size])), [symbol]: value })
  const slope = at(1) - at(0)
  const value = (size - at(0)) / slope
  const linear = at(2) - at(1) === slope
  return linear && Number.isSafeInteger(value) && value >= 0 ? [symbol, value] : undefined
}

/**
 * Checks the arguments of a call against the signature and binds its symbols. Every mistake of the call is reported, not only
 * the first; nothing has been uploaded or run when it fails.
 */
export const bind = (
  parameters: ReadonlyArray<Parameter>,
  constraints: ReadonlyArray<Constraint>,
  given: { readonly [name: string]: unknown }
): Result.Result<Bound, SignatureError> => {
  const mistakes: Array<SignatureError> = []
  const mistake = (input: string | undefined, message: string, hint: string, at?: Location): void => {
    mistakes.push(new SignatureError({ message, hint, at, ...(input === undefined ? {} : { input }) }))
  }
  const expected = parameters.map((p) => p.name)
  if (typeof given !== "object" || given === null) {
    const names = expected.map((name) => `${JSON.stringify(name)}: …`).join(", ")
    return Result.fail(
      new SignatureError({
        message: `the inputs are ${given === null ? "null" : `a value of type ${typeof given}`}, not a record`,
        hint: `pass { ${names} }`
      })
    )
  }
  for (const name of Object.keys(given)) {
    if (!expected.includes(name)) {
      mistake(
        name,
        `there is no input ${JSON.stringify(name)}`,
        `the signature has ${expected.join(", ") || "no inputs"}`
      )
    }
  }
  const known = new Map<string, Binding>()
  const later: Array<{
    readonly dim: Dim.Dim
    readonly size: number
    readonly where: string
    readonly name: string
  }> = []
  const values: Array<Value> = []
  for (const { name, type } of parameters) {
    if (!Object.hasOwn(given, name)) {
      mistake(name, `input ${JSON.stringify(name)} is missing`, `it is ${TensorType.print(type)}`)
      continue
    }
    const checked = argument(name, given[name])
    if (Result.isFailure(checked)) {
      mistakes.push(checked.failure)
      continue
    }
    const value = checked.success
    const wants = `input ${JSON.stringify(name)} is ${TensorType.print(type)}, given ${printArray(value)}`
    if (value.dtype !== type.dtype)
      mistake(name, `${wants}: another dtype`, "convert it, or cast inside the function")
    else if (value.shape.length !== type.shape.length)
      mistake(name, `${wants}: another rank`, "reshape it, or change the signature")
    else {
      values.push(value)
      type.shape.forEach((dim, axis) => {
        later.push({
          dim,
          size: value.shape[axis] as number,
          where: `axis ${axis} of ${JSON.stringify(name)}`,
          name
        })
      })
    }
  }
  // Plain symbols first, then dims that follow from them, until nothing new is learned.
  let open = later
  for (let progress = true; progress; ) {
    progress = false
    const rest: typeof later = []
    for (const entry of open) {
      if (Dim.symbols(entry.dim).every((s) => known.has(s))) {
        const sizes = Object.fromEntries(Dim.symbols(entry.dim).map((s) => [s, known.get(s)?.size ?? 0]))
        const needs = Dim.evaluate(entry.dim, sizes)
        if (needs !== entry.size) {
          const sources = Dim.symbols(entry.dim).map(
            (s) => `${s} = ${known.get(s)?.size} from ${known.get(s)?.source}`
          )
          const says =
            sources.length > 0
              ? `${Dim.print(entry.dim)} is ${needs}: ${sources.join(", ")}`
              : `the signature says ${needs}`
          const hint =
            sources.length > 0
              ? "pass sizes that agree, or give this axis a name of its own"
              : "pass that size, or give the axis a name in the signature"
          mistake(entry.name, `${entry.where} is ${entry.size}, but ${says}`, hint)
        }
        continue
      }
      const solved = solve(entry.dim, entry.size, known)
      if (solved === undefined) rest.push(entry)
      else {
        known.set(solved[0], { size: solved[1], source: entry.where })
        progress = true
      }
    }
    open = rest
  }
  for (const entry of open) {
    mistake(
      entry.name,
      `${entry.where} is ${entry.size}, which does not determine ${Dim.print(entry.dim)}`,
      "give each of its names an axis of its own in some input, and sizes of 0 or more"
    )
  }
  const sizes: Dim.Bindings = Object.fromEntries([...known].map(([s, b]) => [s, b.size]))
  if (mistakes.length === 0) {
    for (const { left, relation, right, reason, at } of constraints) {
      const unbound = [...Dim.symbols(left), ...Dim.symbols(right)].filter((s) => !known.has(s))
      if (unbound.length > 0) {
        mistake(
          undefined,
          `${reason}: no input determines ${unbound.join(", ")}`,
          "use names that occur in the shape of an input",
          at
        )
        continue
      }
      const [l, r] = [Dim.evaluate(left, sizes), Dim.evaluate(right, sizes)]
      if (relation === "=" ? l !== r : l > r) {
        const symbols = [...new Set([...Dim.symbols(left), ...Dim.symbols(right)])]
        const bound = symbols
          .map((s) => `${s} = ${known.get(s)?.size} from ${known.get(s)?.source}`)
          .join(", ")
        const failed = relation === "=" ? "is not" : "exceeds"
        mistake(
          undefined,
          `${reason}: ${Dim.print(left)} (${l}) ${failed} ${Dim.print(right)} (${r}); ${bound}`,
          "pass inputs whose sizes fit, or say it in the signature with one name",
          at
        )
      }
    }
  }
  const [first, ...more] = mistakes
  if (first === undefined) return Result.succeed({ values, sizes })
  if (more.length === 0) return Result.fail(first)
  return Result.fail(
    new SignatureError({
      ...(first.input === undefined ? {} : { input: first.input }),
      message: mistakes.map((m) => `${m.what}${m.hint === undefined ? "" : ` (${m.hint})`}`).join("\n")
    })
  )
}

/** `bind` for a function that is called again and again: sizes that the call before had, too, are not worked out anew. */
export const binder = (
  parameters: ReadonlyArray<Parameter>,
  constraints: ReadonlyArray<Constraint>
): ((given: { readonly [name: string]: unknown }) => Result.Result<Bound, SignatureError>) => {
  let last:
    | { readonly shapes: ReadonlyArray<ReadonlyArray<number>>; readonly sizes: Dim.Bindings }
    | undefined

  /** The arguments, where they have the names, dtypes and shapes of those before. */
  const again = (given: { readonly [name: string]: unknown }): ReadonlyArray<Value> | undefined => {
    if (last === undefined || typeof given !== "object" || given === null) return undefined
    if (Object.keys(given).length !== parameters.length) return undefined
    const values: Array<Value> = []
    for (let i = 0; i < parameters.length; i++) {
      const { name, type } = parameters[i] as Parameter
      if (!Object.hasOwn(given, name)) return undefined
      const checked = argument(name, given[name])
      if (Result.isFailure(checked)) return undefined
      const value = checked.success
      const shape = last.shapes[i] as ReadonlyArray<number>
      if (value.dtype !== type.dtype || value.shape.length !== shape.length) return undefined
      for (let axis = 0; axis < shape.length; axis++) if (value.shape[axis] !== shape[axis]) return undefined
      values.push(value)
    }
    return values
  }

  return (given) => {
    const values = again(given)
    if (values !== undefined && last !== undefined) return Result.succeed({ values, sizes: last.sizes })
    const bound = bind(parameters, constraints, given)
    // Copies of the shapes: an array of the caller may change, and should not be kept.
    if (Result.isSuccess(bound))
      last = { shapes: bound.success.values.map(({ shape }) => [...shape]), sizes: bound.success.sizes }
    return bound
  }
}
