import { Data } from "effect"
import type { BackendError } from "../backends/errors.ts"
import {
  type AttrError,
  type DTypeError,
  type Location,
  type ParseError,
  type ShapeError,
  told,
  type VerifyError,
  type What
} from "../ir/errors.ts"
import type { Explanation } from "../passes/explain.ts"
import type { PassError } from "../passes/Pipeline.ts"

export * from "../backends/errors.ts"
export { AttrError, DTypeError, ParseError, ShapeError, VerifyError } from "../ir/errors.ts"
export { PassError } from "../passes/Pipeline.ts"

interface Failure {
  /** What happened and where. */
  readonly message: string
  /** What to try. */
  readonly hint?: string
}

/** An argument that does not fit the signature: missing, unknown, of another dtype, rank or size. Nothing has run. */
export class SignatureError extends Data.TaggedError("SignatureError")<Misfit & What> {
  constructor(misfit: Misfit) {
    super(told(misfit))
  }
}

interface Misfit extends Failure {
  /** The input at fault. */
  readonly input?: string
  /** The line of the function that needs what the arguments do not have. */
  readonly at?: Location | undefined
}

/** The function did not build an expression: it threw, or returned something that is not a tensor. */
export class TraceError extends Data.TaggedError("TraceError")<Untraceable & What> {
  constructor(untraceable: Untraceable) {
    super(told(untraceable))
  }
}

interface Untraceable extends Failure {
  readonly at?: Location | undefined
  readonly cause?: unknown
}

/** `requireFused` was asked for and some attention stayed unfused; the message says which, and the condition that failed. */
export class FusionRequired extends Data.TaggedError("FusionRequired")<Unfused & What> {
  constructor(unfused: Unfused) {
    super(told(unfused))
  }
}

interface Unfused extends Failure {
  /** What `Compiled.explanation` would have given. */
  readonly explanation: Explanation
}

/** Values that are not the parameters of a layer: everything missing, in excess or misshapen, by name. */
export class ParamsError extends Data.TaggedError("ParamsError")<Misnamed & What> {
  constructor(misnamed: Misnamed) {
    super(told(misnamed))
  }
}

interface Misnamed extends Failure {
  /** One line for each tensor. */
  readonly problems: ReadonlyArray<string>
}

/** What building an expression can refuse, at the line that wrote it. */
export type BuildError = ShapeError | DTypeError | AttrError

/** What `compile` can refuse. */
export type CompileError =
  | BuildError
  | TraceError
  | SignatureError
  | FusionRequired
  | PassError
  | BackendError

/** What one call can refuse. */
export type RunError = SignatureError | BackendError

/** Every error of the library, each with a `_tag`, a message and mostly a hint. */
export type EffuseError = CompileError | RunError | ParseError | VerifyError
