import { Result } from "effect"
import * as Graph from "../ir/Graph.ts"
import { AttrError, type BuildError, DTypeError, ShapeError, SignatureError, TraceError } from "./errors.ts"
import type { Spec } from "./spec.ts"
import * as Site from "./tensor/Site.ts"
import * as Tensor from "./tensor/Tensor.ts"

/** The arguments of a function by name: what each is. */
export interface Signature {
  readonly [name: string]: Spec
}

/** What a function may return: one tensor, a tuple, or a record of them. */
export type Returned =
  | Tensor.Tensor
  | ReadonlyArray<Tensor.Tensor>
  | { readonly [name: string]: Tensor.Tensor }

/** How outputs are put together again for the caller. */
export type Arrangement = "one" | "list" | "record"

export interface Traced {
  readonly graph: Graph.Graph
  readonly arrangement: Arrangement
}

const isBuildError = (e: unknown): e is BuildError =>
  e instanceof ShapeError || e instanceof DTypeError || e instanceof AttrError

const isPromise = (x: unknown): boolean =>
  typeof (x as { readonly then?: unknown } | null)?.then === "function"

/** Names the outputs: `out`, or the positions of a tuple, or the keys of a record. */
const outputsOf = (
  returned: unknown
): Result.Result<{ outputs: ReadonlyArray<Graph.Output>; arrangement: Arrangement }, TraceError> => {
  const refuse = (what: string) =>
    Result.fail(
      new TraceError({
        message: `the function returned ${what}`,
        hint: "return a tensor, a tuple of tensors or a record of tensors"
      })
    )
  const kind = (x: unknown): string =>
    x === null
      ? "null"
      : isPromise(x)
        ? "a promise"
        : Array.isArray(x)
          ? "an array"
          : typeof x === "function"
            ? "a function: an operation that still waits for its tensor"
            : `a value of type ${typeof x}`
  if (Tensor.isTensor(returned)) {
    return Result.succeed({ outputs: [{ name: "out", node: Tensor.nodeOf(returned) }], arrangement: "one" })
  }
  if (typeof returned !== "object" || returned === null || isPromise(returned)) {
    return refuse(kind(returned))
  }
  const entries = Object.entries(returned)
  if (entries.length === 0) return refuse("nothing to compute")
  const outputs: Array<Graph.Output> = []
  for (const [name, value] of entries) {
    if (!Tensor.isTensor(value)) return refuse(`${kind(value)} as ${JSON.stringify(name)}`)
    outputs.push({ name, node: Tensor.nodeOf(value) })
  }
  return Result.succeed({ outputs, arrangement: Array.isArray(returned) ? "list" : "record" })
}

/** Runs the function on symbolic tensors and collects what it built. Nothing is computed. */
export const trace = (
  fn: (inputs: never) => Returned,
  signature: Signature
): Result.Result<Traced, BuildError | TraceError | SignatureError> => {
  if (typeof signature !== "object" || signature === null) {
    return Result.fail(
      new SignatureError({
        message: "the function comes without a signature",
        hint: 'describe its inputs: { x: spec("f32", ["T", 64]) }'
      })
    )
  }
  for (const [name, argument] of Object.entries(signature)) {
    if ((argument as { _tag?: unknown } | undefined)?._tag !== "Spec") {
      return Result.fail(
        new SignatureError({
          input: name,
          message: `the signature says nothing about ${JSON.stringify(name)}`,
          hint: 'describe it with spec("f32", ["T", 64])'
        })
      )
    }
  }
  const inputs = Object.fromEntries(
    Object.entries(signature).map(([name, argument]) => [name, Tensor.input(name, argument)])
  )
  const nodes = Object.values(inputs).map(Tensor.nodeOf)
  let returned: unknown
  try {
    returned = fn(inputs as never)
  } catch (cause) {
    if (isBuildError(cause)) return Result.fail(cause)
    const message = cause instanceof Error ? cause.message : String(cause)
    return Result.fail(
      new TraceError({
        message: `the function threw while it was traced: ${message}`,
        hint: "it is called once, with symbolic tensors that hold no numbers",
        ...(cause instanceof Error ? { at: Site.fromStack(cause.stack) } : {}),
        cause
      })
    )
  }
  return Result.flatMap(outputsOf(returned), ({ outputs, arrangement }) => {
    const graph = Graph.make(outputs, nodes)
    // Inputs that are not in the list are appended to it.
    const foreign = graph.inputs[nodes.length]
    if (foreign !== undefined) {
      return Result.fail(
        new TraceError({
          message: `the result depends on the tensor ${JSON.stringify(foreign.attrs.name)}, which is not an argument of the function`,
          hint: "pass it as an argument of the signature",
          at: foreign.at
        })
      )
    }
    return Result.succeed({ graph, arrangement })
  })
}

/** Puts results together the way the function returned them. */
export const arrange = <A>(
  traced: Traced,
  values: ReadonlyArray<A>
): A | ReadonlyArray<A> | { readonly [name: string]: A } => {
  switch (traced.arrangement) {
    case "one":
      return values[0] as A
    case "list":
      return values
    case "record":
      return Object.fromEntries(traced.graph.outputs.map((o, i) => [o.name, values[i] as A]))
  }
}
