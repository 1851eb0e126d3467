import { Data } from "effect"

/** Where a person wrote something: a source position, or a position in text IR. Line and column from 1. */
export interface Location {
  readonly file: string
  readonly line: number
  readonly column: number
}

export const printLocation = (at: Location): string => `${at.file}:${at.line}:${at.column}`

/** What an error is made from. */
export interface Fact {
  /** What happened, with the names, shapes or types involved. */
  readonly message: string
  /** What to try. */
  readonly hint?: string
  readonly at?: Location | undefined
}

/** What a message holds on its first line or lines, for those who show the place and the hint in their own way. */
export interface What {
  readonly what: string
}

/** A message for people who see nothing but the message: what happened, where it was written, what to try. */
export const told = <F extends Fact>(fact: F): F & What => {
  const where =
    fact.at === undefined || fact.at.file === "unknown" ? "" : `\n  written at ${printLocation(fact.at)}`
  const next = fact.hint === undefined ? "" : `\n  try: ${fact.hint}`
  return { ...fact, what: fact.message, message: `${fact.message}${where}${next}` }
}

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
export class ShapeError extends Data.TaggedError("ShapeError")<Mistake & What> {
  constructor(mistake: Mistake) {
    super(told(mistake))
  }
}

/** Element types that an op cannot take. */
export class DTypeError extends Data.TaggedError("DTypeError")<Mistake & What> {
  constructor(mistake: Mistake) {
    super(told(mistake))
  }
}

/** An attribute outside its domain: an axis past the rank, a permutation that repeats, a NaN epsilon. */
export class AttrError extends Data.TaggedError("AttrError")<Mistake & What> {
  constructor(mistake: Mistake) {
    super(told(mistake))
  }
}

interface Unreadable extends Mistake {
  /** The line of the text with a caret below the place. */
  readonly source?: string
}

/** Text IR or JSON that is not a graph: with the line, the column and the text of the line, in the message as well. */
export class ParseError extends Data.TaggedError("ParseError")<Unreadable & What> {
  constructor(unreadable: Unreadable) {
    const { message, at, source, hint } = unreadable
    const where = at === undefined ? "" : `\n  at ${printLocation(at)}`
    const line = source === undefined ? "" : `\n${source}`.replaceAll("\n", "\n    ")
    const next = hint === undefined ? "" : `\n  try: ${hint}`
    super({ ...unreadable, what: message, message: `${message}${where}${line}${next}` })
  }
}

/** A graph that breaks the rules of the IR. `violations` holds all of them, not only the first. */
export class VerifyError extends Data.TaggedError("VerifyError")<
  Mistake & { readonly violations: ReadonlyArray<string> }
> {}

/** What building a node can refuse. */
export type NodeError = ShapeError | DTypeError | AttrError
