import { Data } from "effect"

/** Where a person wrote something: a source position, or a position in text IR. Line and column from 1. */
export interface Location {
  readonly file: string
  readonly line: number
  readonly column: number
}

export const printLocation = (at: Location): string => `${at.file}:${at.line}:${at.column}`

interface Mistake {
  /** What happened, with the shapes or types involved. */
  readonly message: string
  /** The op whose rule refused, where one did. */
  readonly op?: string
  /** What to try. */
  readonly hint?: string
  readonly at?: Location | undefined
}

/** Shapes that an op cannot take: names the op and both shapes. */
export class ShapeError extends Data.TaggedError("ShapeError")<Mistake> {}

/** Element types that an op cannot take. */
export class DTypeError extends Data.TaggedError("DTypeError")<Mistake> {}

/** An attribute outside its domain: an axis past the rank, a permutation that repeats, a NaN epsilon. */
export class AttrError extends Data.TaggedError("AttrError")<Mistake> {}

/** Text IR or JSON that is not a graph: with the line, the column and the text of the line. */
export class ParseError extends Data.TaggedError("ParseError")<Mistake & { readonly source?: string }> {}

/** A graph that breaks the rules of the IR. `violations` holds all of them, not only the first. */
export class VerifyError extends Data.TaggedError("VerifyError")<
  Mistake & { readonly violations: ReadonlyArray<string> }
> {}

/** What building a node can refuse. */
export type NodeError = ShapeError | DTypeError | AttrError
