import { Effect, Result } from "effect"
import { Backend, type Value } from "../backends/Backend.ts"
import * as DType from "../ir/DType.ts"
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
  /** Signatures kept now. */
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
      const seen = yield* Effect.fromResult(shapesOf(inputs))
      const structure = Object.entries(inputs)
        .map(([name, v]) => `${JSON.stringify(name)}:${v.dtype}:${v.shape.length}`)
        .join(",")
      for (const [key, entry] of cache) {
        if (!key.startsWith(`${structure};`) || !fits(entry.shapes, seen)) continue
        cache.delete(key)
        cache.set(key, entry)
        return yield* entry.run(inputs)
      }
      const relatives = [...cache]
        .filter(([key]) => key.startsWith(`${structure};`))
        .map(([, entry]) => entry.shapes)
      const general = relatives.reduceRight<Shapes | undefined>(
        (found, old) => found ?? generalise(old, seen),
        undefined
      )
      const specs = (shapes: Shapes): Signature =>
        Object.fromEntries(
          Object.entries(inputs).map(([name, v]): [string, Spec] => [
            name,
            spec(v.dtype, shapes[name] ?? v.shape)
          ])
        )
      const build = (shapes: Shapes) =>
        Effect.map(
          compile<Signature, R>(fn as never, specs(shapes), options),
          (run): Entry<R> => ({ shapes, run })
        )
      compilations++
      const entry = yield* general === undefined
        ? build(seen)
        : Effect.catchTags(build(general), {
            ShapeError: () => build(seen),
            AttrError: () => build(seen),
            TraceError: () => build(seen)
          })
      cache.set(`${structure};${JSON.stringify(entry.shapes)}`, entry)
      const [oldest] = cache.keys()
      if (cache.size > most && oldest !== undefined) cache.delete(oldest)
      kept = cache.size
      return yield* entry.run(inputs)
    })

  return Object.assign(call, { compilations: () => compilations, cached: () => kept })
}

const shapesOf = (inputs: {
  readonly [name: string]: Value
}): Result.Result<{ readonly [name: string]: ReadonlyArray<number> }, SignatureError> => {
  for (const [name, value] of Object.entries(inputs)) {
    const isTensor =
      typeof value === "object" && value !== null && DType.isDType(value.dtype) && Array.isArray(value.shape)
    if (!isTensor) {
      return Result.fail(
        new SignatureError({
          input: name,
          message: `input ${JSON.stringify(name)} is not a tensor`,
          hint: "pass { dtype, shape, data } or a device array"
        })
      )
    }
  }
  return Result.succeed(Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, v.shape])))
}

/** Whether sizes bind to compiled shapes: numbers agree, a symbol has one size everywhere. */
const fits = (shapes: Shapes, seen: { readonly [name: string]: ReadonlyArray<number> }): boolean => {
  const bound = new Map<string, number>()
  return Object.entries(seen).every(([name, sizes]) =>
    sizes.every((size, axis) => {
      const wants = shapes[name]?.[axis]
      if (typeof wants !== "string") return wants === size
      const known = bound.get(wants) ?? size
      bound.set(wants, known)
      return known === size
    })
  )
}

/** Symbols where two calls differ: axes that agreed in both calls share one. */
const generalise = (old: Shapes, seen: { readonly [name: string]: ReadonlyArray<number> }): Shapes => {
  const symbols = new Map<string, string>()
  return Object.fromEntries(
    Object.entries(seen).map(([name, sizes]) => [
      name,
      sizes.map((size, axis) => {
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
