import type { CompileOptions } from "./compile.ts"
import type { TensorsOf } from "./spec.ts"
import type { Returned, Signature } from "./trace.ts"

/** A function over tensors with its signature: what a module exports for the command line, and what `compile` takes apart. */
export interface Definition<S extends Signature = Signature, R extends Returned = Returned> {
  readonly fn: (inputs: TensorsOf<S>) => R
  readonly signature: S
  readonly options: CompileOptions
}

/**
 * Keeps a function and its signature together, so that a module can export it and `effuse run file.ts#attention` finds it:
 *
 *     export const attention = define(({ q, k, v }) => …, { q: spec("f32", ["B", 8, "T", 64]), … })
 *     const f = yield* compile(attention.fn, attention.signature, attention.options)
 *
 * Nothing is traced yet: mistakes of shape come when it is compiled.
 */
export const define = <const S extends Signature, const R extends Returned>(
  fn: (inputs: TensorsOf<S>) => R,
  signature: S,
  options: CompileOptions = {}
): Definition<S, R> => ({ fn, signature, options })
