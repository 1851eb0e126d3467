import { Result, Schema } from "effect"
import * as Attr from "./Attr.ts"
import { Cursor } from "./Cursor.ts"
import * as Dim from "./Dim.ts"
import * as DType from "./DType.ts"
import { AttrError, DTypeError, ParseError, ShapeError } from "./errors.ts"
import * as Graph from "./Graph.ts"
import * as JsonText from "./JsonText.ts"
import * as Node from "./Node.ts"
import { isOpName, opNames } from "./ops.ts"
import type { Shape } from "./Shape.ts"
import { didYouMean } from "./suggest.ts"
import * as TensorType from "./TensorType.ts"

/**
 * Graphs as JSON, for tools. Operands are indices of earlier nodes, dims are texts such as `P + T`, and numbers that JSON lacks
 * are the texts `inf`, `-inf`, `nan` and `-0`. `decode` reads exactly what `encode` writes and trusts nothing.
 */

/** A number, or the text of one that JSON lacks. */
export type NumberJson = number | "inf" | "-inf" | "nan" | "-0"

export interface TypeJson {
  readonly dtype: DType.DType
  readonly shape: ReadonlyArray<string>
}

export type AttrJson = boolean | string | number | ReadonlyArray<string | number> | GraphJson

export interface NodeJson {
  readonly op: string
  readonly operands: ReadonlyArray<number>
  /** Without the attributes that the type repeats. */
  readonly attrs: { readonly [name: string]: AttrJson }
  readonly type: TypeJson
  readonly at?: { readonly file: string; readonly line: number; readonly column: number }
  readonly label?: string
}

export interface GraphJson {
  readonly nodes: ReadonlyArray<NodeJson>
  readonly outputs: ReadonlyArray<{ readonly name: string; readonly node: number }>
}

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const TypeSchema = Schema.Struct({
  dtype: Schema.Literals(DType.all),
  shape: Schema.Array(Schema.String)
})

const AttrSchema = Schema.Union([
  Schema.Boolean,
  Schema.String,
  Schema.Finite,
  Schema.Array(Schema.Union([Schema.String, Schema.Finite])),
  Schema.suspend((): Schema.Codec<GraphJson> => GraphSchema)
])

const NodeSchema = Schema.Struct({
  op: Schema.String,
  operands: Schema.Array(Count),
  attrs: Schema.Record(Schema.String, AttrSchema),
  type: TypeSchema,
  at: Schema.optionalKey(Schema.Struct({ file: Schema.String, line: Count, column: Count })),
  label: Schema.optionalKey(Schema.String)
})

/** The structure of the JSON form; what it cannot say (order, shapes, attributes of each op) `decode` checks. */
export const GraphSchema: Schema.Codec<GraphJson> = Schema.Struct({
  nodes: Schema.Array(NodeSchema),
  outputs: Schema.Array(Schema.Struct({ name: Schema.String, node: Count }))
})

const numberJson = (x: number): NumberJson =>
  Number.isFinite(x) && !Object.is(x, -0) ? x : (Attr.printNumber(x) as NumberJson)

const typeJson = ({ dtype, shape }: TensorType.TensorType): TypeJson => ({
  dtype,
  shape: shape.map(Dim.print)
})

const attrJson = (kind: Attr.KindName, value: unknown): AttrJson => {
  switch (kind) {
    case "int":
    case "number":
      return numberJson(value as number)
    case "ints":
    case "numbers":
      return (value as ReadonlyArray<number>).map(numberJson)
    case "dim":
      return Dim.print(value as Dim.Dim)
    case "dims":
      return (value as Shape).map(Dim.print)
    case "region":
      return encode(value as Graph.Graph)
    case "bool":
    case "string":
    case "resultType":
    case "resultShape":
    case "resultDType":
      return value as boolean | string
  }
}

const attrsJson = (node: Node.Node): NodeJson["attrs"] => {
  const values = node.attrs as { readonly [name: string]: unknown }
  return Object.fromEntries(
    Object.entries(Node.specOf(node.op).attrs).flatMap(([name, { kind }]) =>
      values[name] === undefined || Attr.inAnnotation(kind) ? [] : [[name, attrJson(kind, values[name])]]
    )
  )
}

/** The JSON form of a graph whose regions nest no deeper than `Graph.MAX_NESTING`. */
export const encode = (graph: Graph.Graph): GraphJson => {
  const numbers = new Map(graph.nodes.map((node, index) => [node, index] as const))
  return {
    nodes: graph.nodes.map((node) => ({
      op: node.op,
      operands: node.operands.map((o) => numbers.get(o) as number),
      attrs: attrsJson(node),
      type: typeJson(node.type),
      ...(node.at === undefined ? {} : { at: { ...node.at } }),
      ...(node.label === undefined ? {} : { label: node.label })
    })),
    outputs: graph.outputs.map((o) => ({ name: o.name, node: numbers.get(o.node) as number }))
  }
}

const refuse = (path: string, what: string, hint?: string): ParseError =>
  new ParseError({ message: `${path}: ${what}`, ...(hint === undefined ? {} : { hint }) })

const tooNested = (path: string): ParseError =>
  refuse(
    path,
    `regions nest deeper than ${Graph.MAX_NESTING}`,
    "compute the inner part outside and pass it as an operand"
  )

const earlierNodes = (count: number): string =>
  count === 0 ? "no node comes before it" : `use a number from 0 to ${count - 1}`

const special: { readonly [text: string]: number } = {
  inf: Infinity,
  "-inf": -Infinity,
  nan: Number.NaN,
  "-0": -0
}

const number = (json: unknown, path: string): number => {
  if (typeof json === "number") return json
  const known = typeof json === "string" && Object.hasOwn(special, json) ? special[json] : undefined
  if (known === undefined) throw refuse(path, 'expected a number, "inf", "-inf", "nan" or "-0"')
  return known
}

const dim = (json: unknown, path: string): Dim.Dim => {
  const parsed = typeof json === "string" ? Dim.parse(json) : undefined
  if (parsed === undefined) throw refuse(path, 'expected a dimension as text, such as "64" or "P + T"')
  return parsed
}

const list = <A>(json: unknown, path: string, item: (json: unknown, path: string) => A): ReadonlyArray<A> => {
  if (!Array.isArray(json)) throw refuse(path, "expected a list")
  return json.map((x, i) => item(x, `${path}[${i}]`))
}

const attr = (kind: Attr.KindName, json: AttrJson, path: string, depth: number): unknown => {
  switch (kind) {
    case "number":
      return number(json, path)
    case "numbers":
      return list(json, path, number)
    case "dim":
      return dim(json, path)
    case "dims":
      return list(json, path, dim)
    case "region":
      if (typeof json !== "object" || !("nodes" in json)) throw refuse(path, "expected a graph")
      return graph(json, path, depth + 1)
    default:
      if (!Attr.accepts(kind, json)) throw refuse(path, `expected ${Attr.describe[kind]}`)
      return json
  }
}

const attrs = (
  json: NodeJson,
  op: Node.Node["op"],
  type: TensorType.TensorType,
  path: string,
  depth: number
): { readonly [name: string]: unknown } => {
  const schema = Node.specOf(op).attrs
  for (const name of Object.keys(json.attrs)) {
    if (Object.hasOwn(schema, name) && !Attr.inAnnotation((schema[name] as Attr.Schema[string]).kind))
      continue
    throw refuse(
      path,
      `${op} has no attribute ${JSON.stringify(name)}`,
      didYouMean(name, Object.keys(schema))
    )
  }
  return Object.fromEntries(
    Object.entries(schema).map(([name, { kind, optional }]) => {
      if (Attr.inAnnotation(kind)) return [name, Attr.annotated(kind, type)]
      const value = Object.hasOwn(json.attrs, name) ? json.attrs[name] : undefined
      if (value === undefined && !optional) throw refuse(path, `${op} needs the attribute ${name}`)
      return [name, value === undefined ? undefined : attr(kind, value, `${path}.attrs.${name}`, depth)]
    })
  )
}

const node = (json: NodeJson, earlier: ReadonlyArray<Node.Node>, path: string, depth: number): Node.Node => {
  const { op } = json
  if (!isOpName(op)) {
    const hint = didYouMean(op, opNames) ?? "`effuse ops` lists them"
    throw refuse(path, `there is no op ${JSON.stringify(op)}`, hint)
  }
  const says = TensorType.make(json.type.dtype, list(json.type.shape, `${path}.type.shape`, dim))
  const operands = json.operands.map((number) => {
    const operand = earlier[number]
    if (operand === undefined)
      throw refuse(path, `operand ${number} is not an earlier node`, earlierNodes(earlier.length))
    return operand
  })
  try {
    const origin = { at: json.at, label: json.label }
    const made = Node.make(op, operands, attrs(json, op, says, path, depth) as never, origin) as Node.Node
    if (TensorType.equals(made.type, says)) return made
    throw refuse(
      path,
      `the type says ${TensorType.print(says)}, but ${op} gives ${TensorType.print(made.type)}`,
      `write ${TensorType.print(made.type)}, or change the operands or attributes of ${op}`
    )
  } catch (error) {
    const refused = error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError
    throw refused ? refuse(path, error.what, error.hint) : error
  }
}

const graph = (json: GraphJson, path: string, depth: number): Graph.Graph => {
  if (depth > Graph.MAX_NESTING) throw tooNested(path)
  const build = Graph.builder()
  const nodes: Array<Node.Node> = []
  const inputs = new Map<string, Node.Node>()
  for (const [index, item] of json.nodes.entries()) {
    const here = `${path}.nodes[${index}]`
    const own = build.intern(node(item, nodes, here, depth))
    nodes.push(own)
    if (own.op !== "input") continue
    if (inputs.has(own.attrs.name)) {
      const hint = "give each input a name of its own; one input may be used many times"
      throw refuse(here, `an input named ${JSON.stringify(own.attrs.name)} is already there`, hint)
    }
    inputs.set(own.attrs.name, own)
  }
  if (json.outputs.length === 0) throw refuse(`${path}.outputs`, "a graph returns at least one value")
  const names = new Set<string>()
  const outputs = json.outputs.map(({ name, node: number }, index) => {
    const here = `${path}.outputs[${index}]`
    const own = nodes[number]
    if (own === undefined) throw refuse(here, `there is no node ${number}`, earlierNodes(nodes.length))
    if (names.has(name)) {
      const hint = "give each result a name of its own"
      throw refuse(here, `a result named ${JSON.stringify(name)} is already there`, hint)
    }
    names.add(name)
    return { name, node: own }
  })
  return Graph.assemble(outputs, [...inputs.values()])
}

/** Levels of JSON that one region takes: its object, `nodes`, the node, `attrs`. */
const LEVELS = 4

/** Whether values nest deeper than any graph does: a cyclic object, or a text made to exhaust the stack. */
const tooDeep = (json: unknown): boolean => {
  const waiting: Array<{ readonly value: unknown; readonly depth: number }> = [{ value: json, depth: 0 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, depth } = next
    if (typeof value !== "object" || value === null) continue
    if (depth > LEVELS * (Graph.MAX_NESTING + 2)) return true
    for (const inner of Object.values(value))
      if (typeof inner === "object") waiting.push({ value: inner, depth: depth + 1 })
  }
  return false
}

const decodeStructure = Schema.decodeUnknownResult(GraphSchema)

/** A graph from its JSON form, from anyone's hands. The message names the place: `graph.nodes[3].attrs.axis: …`. */
export const decode = (json: unknown): Result.Result<Graph.Graph, ParseError> => {
  if (tooDeep(json)) return Result.fail(tooNested("graph"))
  const structure = decodeStructure(json)
  if (Result.isFailure(structure)) return Result.fail(refuse("graph", structure.failure.message))
  try {
    return Result.succeed(graph(structure.success, "graph", 0))
  } catch (error) {
    if (error instanceof ParseError) return Result.fail(error)
    throw error
  }
}

/** The path that a message of `decode` begins or ends with. */
const pathOf = (message: string): JsonText.Path => {
  const own = /^graph((?:\.[\w$]+|\[\d+\])*): /.exec(message)?.[1] ?? ""
  const schema = /\n\s+at ((?:\[(?:"[^"]*"|\d+)\])+)/.exec(message)?.[1] ?? ""
  return [...`${own}${schema}`.matchAll(/\.([\w$]+)|\[(\d+)\]|\["([^"]*)"\]/g)].map(
    ([, name, index, key]) => name ?? key ?? Number(index)
  )
}

/**
 * `decode` of a text; one that is not JSON is a `ParseError` as well. The error has the line, the column and, in
 * `source`, the line with a caret below.
 */
export const parse = (
  text: string,
  { file = "text" }: { readonly file?: string } = {}
): Result.Result<Graph.Graph, ParseError> => {
  const cursor = new Cursor(text, file)
  const json = Result.try(() => JSON.parse(text) as unknown)
  if (Result.isFailure(json)) {
    cursor.offset = JsonText.mistakeAt(text) ?? 0
    const ended = cursor.offset >= text.trimEnd().length
    const what = ended ? "the text ends too early" : `${cursor.found()} cannot stand here`
    return Result.fail(cursor.failAt(cursor.offset, `not JSON: ${what}`))
  }
  const decoded = decode(json.success)
  if (Result.isSuccess(decoded)) return decoded
  const { what, hint } = decoded.failure
  const at = JsonText.offsetOf(text, pathOf(what))
  return Result.fail(cursor.failAt(at, what, hint === undefined ? {} : { hint }))
}
