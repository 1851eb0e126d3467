import type * as Dim from "../../ir/Dim.ts"
import { AttrError, DTypeError, type Location, type NodeError, ShapeError } from "../../ir/errors.ts"
import * as IRNode from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as IRShape from "../../ir/Shape.ts"

/**
 * Where in the user's code an expression is written. Each call from outside records its line once; what it calls inside
 * shares it. A function made for `pipe` keeps the line that made it, so each step of a pipeline has its own.
 */

const suffix = /\/src\/tensor\/Site\.[jt]s$/

/** Where our own files lie; undefined in a bundle, where they cannot be told from the user's. */
const home = suffix.test(import.meta.url) ? import.meta.url.replace(suffix, "/") : undefined

const own = home === undefined ? [] : ["src/", "ir/", "passes/", "backends/"].map((folder) => home + folder)

/** `at f (file:///a.ts:1:2)`, `at async file:///a.ts:1:2`: V8. */
const v8Frame = /^\s*at (?:.*? \((.+):(\d+):(\d+)\)|(?:async )?(\S.*):(\d+):(\d+))\s*$/

/** `f@http://host/a.ts:1:2`, `http://host/a.ts:1:2`: Firefox, Safari. */
const otherFrame = /^(?:.*?@(?=[a-z][\w+.-]*:|\/))?(\S.*):(\d+):(\d+)\s*$/

const frame = (line: string): Location | undefined => {
  const [, inside, row, column, bare, bareRow, bareColumn] = v8Frame.exec(line) ?? otherFrame.exec(line) ?? []
  const file = inside ?? bare
  if (file === undefined || file.includes("<anonymous>")) return undefined
  return {
    file: file.replace(/^file:\/\//, ""),
    line: Number(row ?? bareRow),
    column: Number(column ?? bareColumn)
  }
}

const asUrl = (file: string): string => (file.startsWith("/") ? `file://${file}` : file)

const isForeign = (file: string): boolean => {
  const url = asUrl(file)
  return (
    !url.startsWith("node:") &&
    !url.includes("/node_modules/") &&
    !own.some((folder) => url.startsWith(folder))
  )
}

const unknown: Location = { file: "unknown", line: 1, column: 1 }

/** The first line of a stack trace that is neither ours nor a package's. */
export const fromStack = (
  stack: string | undefined,
  foreign: (file: string) => boolean = isForeign
): Location => {
  for (const line of (typeof stack === "string" ? stack : "").split("\n")) {
    const found = frame(line)
    if (found !== undefined && foreign(found.file)) return found
  }
  return unknown
}

/** Frames worth keeping: ours between a call and its caller are few. */
const depth = 24

/** A trace is recorded now and read when somebody asks: reading one costs ten times as much as recording it. */
const capture = (): Location => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = depth
  const trace = new Error()
  Error.stackTraceLimit = limit
  let known: Location | undefined
  const read = (): Location => {
    known ??= fromStack(trace.stack)
    return known
  }
  return {
    get file() {
      return read().file
    },
    get line() {
      return read().line
    },
    get column() {
      return read().column
    }
  }
}

/** The location as plain data, for errors. */
const read = ({ file, line, column }: Location): Location => ({ file, line, column })

let current: Location | undefined

/** The line being run for the user. */
export const here = (): Location => current ?? capture()

/** Runs `f` for the line `at`. */
export const within = <A>(at: Location, f: () => A): A => {
  const outer = current
  current = at
  try {
    return f()
  } finally {
    current = outer
  }
}

/** A function that users call, of fixed arity: what it builds and throws belongs to the line that calls it. */
export const located =
  <Args extends ReadonlyArray<never>, A>(f: (...args: Args) => A): ((...args: Args) => A) =>
  (...args) =>
    current === undefined ? within(capture(), () => f(...args)) : f(...args)

/**
 * A function in data-first and data-last form. `isDataFirst` looks at the arguments; called otherwise, it waits for the
 * first one. The type is the caller's to state.
 */
export const dual = <F>(
  isDataFirst: (args: ReadonlyArray<unknown>) => boolean,
  body: (...args: Array<never>) => unknown
): F => {
  const both = (...args: Array<never>): unknown => {
    const at = here()
    if (isDataFirst(args)) return within(at, () => body(...args))
    return (self: never) => within(at, () => body(self, ...args))
  }
  return both as F
}

const hints: { readonly [E in NodeError["_tag"]]: string } = {
  ShapeError: "print the shapes of the operands; reshape, transpose or broadcastTo brings them together",
  DTypeError: "Tensor.cast changes the element type",
  AttrError: "axes count from 0, or from -1 at the end"
}

const withHint = (error: NodeError, at: Location): NodeError => {
  const { what: message, op, hint } = error
  const fields = {
    message,
    at: read(error.at ?? at),
    hint: hint ?? hints[error._tag],
    ...(op === undefined ? {} : { op })
  }
  if (error._tag === "ShapeError") return new ShapeError(fields)
  return error._tag === "DTypeError" ? new DTypeError(fields) : new AttrError(fields)
}

const isNodeError = (error: unknown): error is NodeError =>
  error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError

/** Builds a node that belongs to the user's line. Errors carry the line and something to try. */
export const emit = <K extends OpName>(
  op: K,
  operands: ReadonlyArray<IRNode.Node>,
  attrs: IRNode.AttrsOf<K>
): IRNode.Node => {
  const at = here()
  try {
    return IRNode.make(op, operands, attrs, { at }) as unknown as IRNode.Node
  } catch (error) {
    throw isNodeError(error) ? withHint(error, at) : error
  }
}

/** A list of types as an error names them: `f32[2, 3] and f32[4]`. */
export const list = (nodes: ReadonlyArray<IRNode.Node>): string =>
  nodes.map((n) => `${n.type.dtype}${IRShape.print(n.type.shape)}`).join(" and ")

export const shapeError = (op: string, why: string, hint: string): ShapeError =>
  new ShapeError({ op, message: `${op}: ${why}`, hint, at: read(here()) })

export const dtypeError = (op: string, why: string, hint: string): DTypeError =>
  new DTypeError({ op, message: `${op}: ${why}`, hint, at: read(here()) })

export const attrError = (op: string, why: string, hint: string): AttrError =>
  new AttrError({ op, message: `${op}: ${why}`, hint, at: read(here()) })

/** An axis that may count from the end, as one that counts from 0. */
export const axisOf = (op: string, axis: number, shape: IRShape.Shape, what = "axis"): number => {
  const rank = shape.length
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis
  const range = rank === 0 ? "a scalar has no axes" : `use ${-rank} to ${rank - 1}`
  throw attrError(op, `${what} ${axis} is outside ${IRShape.print(shape)}, which has rank ${rank}`, range)
}

/** Distinct axes, counted from 0 and sorted; undefined means all of them. */
export const axesOf = (
  op: string,
  axes: number | ReadonlyArray<number> | undefined,
  shape: IRShape.Shape
): ReadonlyArray<number> => {
  if (axes === undefined) return shape.map((_, i) => i)
  const found = (typeof axes === "number" ? [axes] : axes).map((a) => axisOf(op, a, shape))
  if (new Set(found).size !== found.length) {
    throw attrError(
      op,
      `axes [${[axes].flat().join(", ")}] name an axis of ${IRShape.print(shape)} twice`,
      "name each axis once"
    )
  }
  return [...found].sort((a, b) => a - b)
}

/** The size at an axis that was normalised before. */
export const sizeAt = (shape: IRShape.Shape, axis: number): Dim.Dim => shape[axis] as Dim.Dim
