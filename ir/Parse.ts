import { Result } from "effect"
import * as Attr from "./Attr.ts"
import { Cursor, type Mark } from "./Cursor.ts"
import * as Dim from "./Dim.ts"
import * as DType from "./DType.ts"
import { AttrError, DTypeError, type Location, type NodeError, ParseError, ShapeError } from "./errors.ts"
import * as Graph from "./Graph.ts"
import * as Node from "./Node.ts"
import { isOpName, type OpName, opNames } from "./ops.ts"
import type { Shape } from "./Shape.ts"
import { didYouMean } from "./suggest.ts"
import * as TensorType from "./TensorType.ts"

/**
 * Reads the text that `Print` writes. More freely than it is written: any white space, comments (`//` or `#` to the end of the
 * line), names such as `%scores` (kept as labels), attributes in any order, nodes that nothing uses, one expression twice.
 * What comes out is a graph like any other: hash-consed, without dead nodes, verified.
 */
export interface Options {
  /** Names the text in locations. Default: `text`. */
  readonly file?: string
}

interface Definition {
  readonly node: Node.Node
  readonly line: number
}

/** One graph or region being read. Regions see nothing of what surrounds them. */
interface Scope {
  readonly names: Map<string, Definition>
  readonly inputs: Array<Node.Node>
  readonly inputNames: Set<string>
  readonly build: Graph.Builder
  readonly outer: Scope | undefined
  readonly depth: number
}

interface Reader {
  readonly cursor: Cursor
  /** Types by their text: a large graph has few. */
  readonly types: Map<string, TensorType.TensorType>
}

const shortened = (text: string): string =>
  JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text)

const dim = ({ cursor }: Reader, end: RegExp): Dim.Dim => {
  cursor.skip()
  const start = cursor.mark()
  const text = (cursor.match(end) ?? "").trim()
  if (text === "") throw cursor.expected("a dimension")
  const parsed = Dim.parse(text)
  if (parsed !== undefined) return parsed
  const hint = "a dimension is a sum of products of symbols and exact integers: 64, T, P + T, 2*B*H"
  throw cursor.fail(`${shortened(text)} is not a dimension`, start, { hint })
}

const shape = (reader: Reader): Shape => reader.cursor.list(() => dim(reader, /[^,\]\n#/]*/y))

const typePattern = /[a-z0-9]+\[[^\]\n#/]*\]/y

const type = (reader: Reader): TensorType.TensorType => {
  const { cursor, types } = reader
  cursor.skip()
  const start = cursor.mark()
  const text = cursor.match(typePattern)
  if (text !== undefined) {
    const known = types.get(text)
    if (known !== undefined) return known
    cursor.offset = start.offset
  }
  const dtype = cursor.word("a type such as f32[T, 64]")
  if (!DType.isDType(dtype)) {
    throw cursor.fail(`${shortened(dtype)} is not a dtype`, start, {
      hint: didYouMean(dtype, DType.all) ?? `use one of ${DType.all.join(", ")}`
    })
  }
  const parsed = TensorType.make(dtype, shape(reader))
  if (text !== undefined) types.set(text, parsed)
  return parsed
}

const attribute = (reader: Reader, kind: Attr.KindName, scope: Scope): unknown => {
  const { cursor } = reader
  switch (kind) {
    case "int":
      return cursor.integer("an integer")
    case "ints":
      return cursor.list(() => cursor.integer("an integer"))
    case "number":
      return cursor.number("a number")
    case "numbers":
      return cursor.list(() => cursor.number("a number"))
    case "bool": {
      const word = cursor.match(/(?:true|false)\b/y)
      if (word === undefined) throw cursor.expected("true or false")
      return word === "true"
    }
    case "string":
      return cursor.string("a string in quotes")
    case "dim":
      return dim(reader, /[^,}\n#/]*/y)
    case "dims":
      return shape(reader)
    case "region":
      return block(reader, scope)
    case "resultType":
    case "resultShape":
    case "resultDType":
      throw new Error(`${kind} is read from the annotation`)
  }
}

const noAttributes: { readonly [name: string]: unknown } = Attr.none

const attributes = (
  reader: Reader,
  op: OpName,
  opAt: Mark,
  type: TensorType.TensorType,
  scope: Scope
): { readonly [name: string]: unknown } => {
  const { cursor } = reader
  const schema = Node.specOf(op).attrs
  const given = new Map<string, unknown>()
  if (cursor.take("{") && !cursor.take("}")) {
    const written = Object.keys(schema).filter(
      (name) => !Attr.inAnnotation((schema[name] as Attr.Schema[string]).kind)
    )
    do {
      cursor.skip()
      const at = cursor.mark()
      const name = cursor.word("an attribute")
      if (!written.includes(name)) {
        const takes = written.length === 0 ? `${op} takes no attributes` : `${op} takes ${written.join(", ")}`
        const hint = Object.hasOwn(schema, name)
          ? `${name} is read from the type annotation`
          : didYouMean(name, written)
        throw cursor.fail(`${op} has no attribute ${shortened(name)}`, at, { op, hint: hint ?? takes })
      }
      if (given.has(name))
        throw cursor.fail(`the attribute ${name} is given twice`, at, { op, hint: "keep one of them" })
      cursor.require("=")
      given.set(name, attribute(reader, (schema[name] as Attr.Schema[string]).kind, scope))
    } while (cursor.take(","))
    cursor.require("}", '"," or "}"')
  }
  if (schema === Attr.none) return noAttributes
  const attrs: { [name: string]: unknown } = {}
  for (const [name, { kind, optional }] of Object.entries(schema)) {
    const value = Attr.inAnnotation(kind) ? Attr.annotated(kind, type) : given.get(name)
    if (value === undefined && !optional) {
      const hint = `write {${name} = ...} after the operands, with ${Attr.describe[kind]}`
      throw cursor.fail(`${op} needs the attribute ${name}`, opAt, { op, hint })
    }
    attrs[name] = value
  }
  return attrs
}

/** Whether a name is defined further down in the block being read: the use is then early, not unknown. */
const definedLater = ({ text, offset }: Cursor, name: string): boolean => {
  const token = /"(?:[^"\\\n]|\\.)*"|(?:#|\/\/).*|[{}]|%(\w+)(\s*:)?/g
  token.lastIndex = offset
  let depth = 0
  for (let found = token.exec(text); found !== null; found = token.exec(text)) {
    if (found[0] === "{") depth++
    else if (found[0] === "}" && --depth < 0) return false
    else if (depth === 0 && found[1] === name && found[2] !== undefined) return true
  }
  return false
}

const operand = ({ cursor }: Reader, scope: Scope): Node.Node => {
  cursor.skip()
  const at = cursor.mark()
  const name = cursor.name("a value such as %0")
  const definition = scope.names.get(name)
  if (definition !== undefined) return definition.node
  for (let outer = scope.outer; outer !== undefined; outer = outer.outer) {
    if (!outer.names.has(name)) continue
    const hint = "a region reads only its own inputs: pass the value as an operand"
    throw cursor.fail(`%${name} is defined outside this region`, at, { hint })
  }
  if (definedLater(cursor, name)) {
    const hint = "write operands before their users; a graph has no cycles"
    throw cursor.fail(`%${name} is used before it is defined`, at, { hint })
  }
  const near = [...scope.names.keys()].slice(-1000)
  const known = near.slice(-8).map((other) => `%${other}`)
  const all = near.length > known.length ? `..., ${known.join(", ")}` : known.join(", ")
  const hint =
    known.length === 0 ? "define it on a line above: no value is defined yet" : `defined above: ${all}`
  throw cursor.fail(`%${name} is not defined`, at, { hint: didYouMean(name, near) ?? hint })
}

/** `@ "file.ts":12:3`, where a node was written first; without it the place in the text counts. */
const writtenAt = ({ cursor }: Reader): Location | undefined => {
  if (!cursor.take("@")) return undefined
  const file = cursor.string("a file name in quotes")
  cursor.require(":")
  const line = cursor.integer("a line number")
  cursor.require(":")
  return { file, line, column: cursor.integer("a column number") }
}

const isNodeError = (error: unknown): error is NodeError =>
  error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError

const made = (
  { cursor }: Reader,
  op: OpName,
  opAt: Mark,
  operands: ReadonlyArray<Node.Node>,
  attrs: object,
  origin: Node.Origin
): Node.Node => {
  try {
    return Node.make(op, operands, attrs as never, origin) as Node.Node
  } catch (error) {
    throw isNodeError(error) ? cursor.fail(error.what, opAt, { op, hint: error.hint }) : error
  }
}

const definition = (reader: Reader, scope: Scope): void => {
  const { cursor } = reader
  const start = cursor.mark()
  const name = cursor.name('a node such as "%0: f32[T] = ...", or return')
  const before = scope.names.get(name)
  if (before !== undefined) {
    const hint = "give each value a name of its own, here and where it is used"
    throw cursor.fail(`%${name} is already defined on line ${before.line}`, start, { hint })
  }
  cursor.require(":", '":" and a type')
  cursor.skip()
  const typeAt = cursor.mark()
  const says = type(reader)
  cursor.require("=")
  cursor.skip()
  const opAt = cursor.mark()
  const op = cursor.word("an op")
  if (!isOpName(op))
    throw cursor.fail(`there is no op ${shortened(op)}`, opAt, {
      hint: didYouMean(op, opNames) ?? "`effuse ops` lists them"
    })
  const operands: Array<Node.Node> = []
  if (Node.arity(op).most !== 0 && cursor.at("%")) {
    do operands.push(operand(reader, scope))
    while (cursor.take(","))
  }
  const attrs = attributes(reader, op, opAt, says, scope)
  const at = writtenAt(reader) ?? cursor.location(start)
  const label = /^\d+$/.test(name) ? undefined : name
  const node = made(reader, op, opAt, operands, attrs, { at, label })
  if (!TensorType.equals(node.type, says)) {
    const message = `the annotation says ${TensorType.print(says)}, but ${op} gives ${TensorType.print(node.type)}`
    const hint = `write ${TensorType.print(node.type)}, or change the operands or attributes of ${op}`
    throw cursor.fail(message, typeAt, { op, hint })
  }
  const own = scope.build.intern(node)
  scope.names.set(name, { node: own, line: start.line })
  if (own.op !== "input") return
  if (scope.inputNames.has(own.attrs.name)) {
    const hint = "give each input a name of its own; one input may be used many times"
    throw cursor.fail(`an input named ${JSON.stringify(own.attrs.name)} is already there`, opAt, { op, hint })
  }
  scope.inputNames.add(own.attrs.name)
  scope.inputs.push(own)
}

const results = (reader: Reader, scope: Scope): ReadonlyArray<Graph.Output> => {
  const { cursor } = reader
  if (cursor.at("%")) {
    const node = operand(reader, scope)
    if (cursor.at(","))
      throw cursor.fail("several results need names", undefined, { hint: 'write return "a": %0, "b": %1' })
    return [{ name: "out", node }]
  }
  const outputs: Array<Graph.Output> = []
  const known = new Set<string>()
  do {
    cursor.skip()
    const at = cursor.mark()
    const name = cursor.string('a value such as %0, or a name in quotes and ":"')
    if (known.has(name)) {
      const hint = "give each result a name of its own"
      throw cursor.fail(`a result named ${JSON.stringify(name)} is already there`, at, { hint })
    }
    known.add(name)
    cursor.require(":")
    outputs.push({ name, node: operand(reader, scope) })
  } while (cursor.take(","))
  return outputs
}

/** `{` nodes, `return`, `}`. Nesting is bounded, so the recursion is too. */
const block = (reader: Reader, outer: Scope | undefined): Graph.Graph => {
  const { cursor } = reader
  const depth = (outer?.depth ?? -1) + 1
  if (depth > Graph.MAX_NESTING) {
    const hint = "compute the inner part outside and pass it as an operand"
    throw cursor.fail(`regions nest deeper than ${Graph.MAX_NESTING}`, cursor.mark(), { hint })
  }
  const scope: Scope = {
    names: new Map(),
    inputs: [],
    inputNames: new Set(),
    build: Graph.builder(),
    outer,
    depth
  }
  cursor.require("{")
  while (cursor.at("%")) definition(reader, scope)
  if (cursor.match(/return\b/y) === undefined)
    throw cursor.expected('a node such as "%0: f32[T] = ...", or return')
  const outputs = results(reader, scope)
  cursor.require("}")
  return Graph.assemble(outputs, scope.inputs)
}

const reading = <A>(
  text: string,
  { file = "text" }: Options,
  read: (reader: Reader) => A
): Result.Result<A, ParseError> => {
  const cursor = new Cursor(text, file)
  try {
    const value = read({ cursor, types: new Map() })
    cursor.skip()
    if (cursor.offset < text.length) throw cursor.expected("the end of the text")
    return Result.succeed(value)
  } catch (error) {
    if (error instanceof ParseError) return Result.fail(error)
    throw error
  }
}

/** A graph from its text; the error has the line, the column and, in `source`, the line with a caret below. */
export const graph = (text: string, options: Options = {}): Result.Result<Graph.Graph, ParseError> =>
  reading(text, options, (reader) => {
    if (reader.cursor.match(/graph\b/y) === undefined) throw reader.cursor.expected('"graph {"')
    return block(reader, undefined)
  })

/** A type such as `f16[B, 32, T, 64]`. */
export const tensorType = (
  text: string,
  options: Options = {}
): Result.Result<TensorType.TensorType, ParseError> => reading(text, options, type)
