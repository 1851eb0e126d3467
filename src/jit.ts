import { Effect, Result } from "effect"
import { Backend, type Value } from "../backends/Backend.ts"
import type * as Graph from "../ir/Graph.ts"
import { argument } from "./argument.ts"
import type { Compiled, HostResult } from "./Compiled.ts"
import { type CompileOptions, compile } from "./compile.ts"
import { type CompileError, type RunError, SignatureError } from "./errors.ts"
import { type Spec, spec } from "./spec.ts"
import type { Tensor } from "./tensor/Tensor.ts"
import type { Returned, Signature } from "./trace.ts"

export interface JitOptions extends CompileOptions {
  /** Compiled signatures kept; beyond it the one unused for longest is forgotten. 32 unless given. */
  readonly cacheSize?: number
}

/** What `jit` keeps. */
export interface Jitted<R extends Returned> {
  (inputs: { readonly [name: string]: Value }): Effect.Effect<HostResult<R>, CompileError | RunError, Backend>
  /** Signatures compiled so far, forgotten ones included. */
  readonly compilations: () => number
  /** Signatures kept for the backend that compiled last. */
  readonly cached: () => number
}

interface Entry<R extends Returned> {
  readonly shapes: Shapes
  readonly run: Compiled<Signature, R>
}

type Sizes = ReadonlyArray<number | string>

/** One input's sizes as compiled: a number, or the symbol that stands for an axis that has varied. */
type Shapes = { readonly [name: string]: Sizes }

/**
 * Compiles on the first call, for the dtypes and sizes it brings. An axis whose size differs in a later call becomes a symbol, one for
 * all axes that agreed in both calls, so that varying lengths compile twice and then never again. A function that needs the
 * number (it reshapes by it, say) is compiled for each size instead.
 */
export const jit = <const R extends Returned>(
  fn: (inputs: { readonly [name: string]: Tensor }) => R,
  options: JitOptions = {}
): Jitted<R> => {
  // Keyed by backend, since a program belongs to the device it was compiled for.
  const perBackend = new WeakMap<object, Map<string, Entry<R>>>()
  const most = options.cacheSize ?? 32
  let compilations = 0
  let kept = 0

  const call = (inputs: { readonly [name: string]: Value }) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const cache = perBackend.get(backend) ?? new Map<string, Entry<R>>()
      perBackend.set(backend, cache)
      const seen = yield* Effect.fromResult(typesOf(inputs))
      const structure = seen
        .map(([name, v]) => `${JSON.stringify(name)}:${v.dtype}:${v.shape.length}`)
        .join(",")
      const relatives = [...cache].filter(([key]) => key.startsWith(`${structure};`))
      const shapes: Shapes = Object.fromEntries(seen.map(([name, v]) => [name, v.shape]))
      const hit = relatives.find(([, entry]) => fits(entry.shapes, seen))
      if (hit !== undefined) {
        cache.delete(hit[0])
        cache.set(...hit)
        return yield* hit[1].run(inputs)
      }
      const build = (sizes: Shapes) => {
        const signature = Object.fromEntries(
          seen.map(([name, v]): [string, Spec] => [name, spec(v.dtype, sizes[name] as Sizes)])
        )
        return Effect.map(
          compile<Signature, R>(fn as never, signature, options),
          (run): Entry<R> => ({ shapes: sizes, run })
        )
      }
      compilations++
      const [, last] = relatives.at(-1) ?? []
      const entry = yield* last === undefined
        ? build(shapes)
        : build(generalise(last.shapes, seen)).pipe(
            Effect.filterOrFail(({ run }) => !hasNaN(run.graph("traced"))),
            // What a length as a name does not allow, its number may; if not, that error is the one to report.
            Effect.catch(() => build(shapes))
          )
      cache.set(`${structure};${JSON.stringify(entry.shapes)}`, entry)
      const [oldest] = cache.keys()
      if (cache.size > most && oldest !== undefined) cache.delete(oldest)
      kept = cache.size
      return yield* entry.run(inputs)
    })

  return Object.assign(call, { compilations: () => compilations, cached: () => kept })
}

/** The arguments in the order of their names, so that the caller's order makes no difference. */
type Seen = ReadonlyArray<readonly [name: string, value: Value]>

const typesOf = (inputs: { readonly [name: string]: unknown }): Result.Result<Seen, SignatureError> => {
  if (typeof inputs !== "object" || inputs === null) {
    return Result.fail(
      new SignatureError({ message: "the inputs are not a record", hint: "pass { name: array, … }" })
    )
  }
  const seen: Array<readonly [string, Value]> = []
  for (const name of Object.keys(inputs).sort()) {
    const checked = argument(name, inputs[name])
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    seen.push([name, checked.success])
  }
  return Result.succeed(seen)
}

/**
 * Whether a number of the program is NaN: what arithmetic in JavaScript makes of a length that is a name, as in
 * `1 / Math.sqrt(x.shape[1])`.
 */
const hasNaN = (graph: Graph.Graph): boolean =>
  graph.nodes.some((n) => n.op === "constant" && n.attrs.values.some(Number.isNaN))

/** Whether sizes bind to compiled shapes: numbers agree, a symbol has one size everywhere. */
const fits = (shapes: Shapes, seen: Seen): boolean => {
  const bound = new Map<string, number>()
  return seen.every(([name, { shape }]) =>
    shape.every((size, axis) => {
      const wants = shapes[name]?.[axis]
      if (typeof wants !== "string") return wants === size
      const known = bound.get(wants) ?? size
      bound.set(wants, known)
      return known === size
    })
  )
}

/** Symbols where two calls differ: axes that agreed in both calls share one. */
const generalise = (old: Shapes, seen: Seen): Shapes => {
  const symbols = new Map<string, string>()
  return Object.fromEntries(
    seen.map(([name, { shape }]) => [
      name,
      shape.map((size, axis) => {
        const before = old[name]?.[axis]
        if (before === size) return size
        const pair = `${before}/${size}`
        const symbol = symbols.get(pair) ?? `N${symbols.size}`
        symbols.set(pair, symbol)
        return symbol
      })
    ])
  )
}
