import * as Attr from "./Attr.ts"
import { type Location, printLocation } from "./errors.ts"
import type { Graph, Output } from "./Graph.ts"
import * as Node from "./Node.ts"
import * as TensorType from "./TensorType.ts"

/**
 * The text form, which `Parse` reads back exactly:
 *
 *     graph {
 *       %0: f32[T, 4] = input {name = "x"}
 *       %1: f32[T, 4] = softmax %0 {axis = 1}
 *       return %1
 *     }
 *
 * Nodes are numbered in the order of the graph; numbers start again in a region. A single result called `out` is returned bare,
 * any other list of results with its names: `return "lse": %8, "out": %9`.
 */

/** What a piece of text is, for a printer that paints. `value` is a node's name, `attr` an attribute's. */
export type Role = "op" | "type" | "value" | "attr" | "keyword"

export interface Options {
  /** Ends each node with where it was written: ` @ "file.ts":12:3`. */
  readonly locations?: boolean
  /** Paints a piece of text, with ANSI colours or markup. Default: leaves it alone. */
  readonly color?: (role: Role, text: string) => string
}

/** Names of nodes: `%7` for 7. A node it lacks is printed `%?`. */
export type Numbering = ReadonlyMap<Node.Node, number>

/** The numbering that `graph` prints. */
export const numbering = (graph: Graph): Numbering =>
  new Map(graph.nodes.map((node, index) => [node, index] as const))

type Paint = (role: Role, text: string) => string

const plain: Paint = (_, text) => text

const name = (node: Node.Node, numbers: Numbering): string => {
  const number = numbers.get(node)
  return number === undefined ? "%?" : `%${number}`
}

const location = (at: Location): string => ` @ ${printLocation({ ...at, file: JSON.stringify(at.file) })}`

interface Item {
  readonly name: string
  readonly kind: Attr.KindName
  readonly value: unknown
}

/** Attributes in schema order, less those absent and those the type annotation repeats. */
const items = (node: Node.Node): ReadonlyArray<Item> => {
  const values = node.attrs as { readonly [name: string]: unknown }
  const result: Array<Item> = []
  for (const [name, { kind }] of Object.entries(Node.specOf(node.op).attrs)) {
    const value = values[name]
    if (value !== undefined && !Attr.inAnnotation(kind)) result.push({ name, kind, value })
  }
  return result
}

const inBraces = (list: ReadonlyArray<Item>, paint: Paint): string =>
  list.length === 0
    ? ""
    : ` {${list.map((i) => `${paint("attr", i.name)} = ${Attr.print(i.kind, i.value, () => "{...}")}`).join(", ")}}`

/** `%2: f32[T] = add %0, %1` */
const head = (node: Node.Node, numbers: Numbering, paint: Paint): string => {
  const operands = node.operands.map((o) => paint("value", name(o, numbers))).join(", ")
  const left = `${paint("value", name(node, numbers))}: ${paint("type", TensorType.print(node.type))}`
  return `${left} = ${paint("op", node.op)}${operands === "" ? "" : ` ${operands}`}`
}

const tail = (node: Node.Node, options: Options): string =>
  options.locations === true && node.at !== undefined && node.at.file !== "unknown" ? location(node.at) : ""

/** One node on one line, regions shortened to `{...}`: what messages quote. `graph` prints regions in full. */
export const node = (node: Node.Node, numbers: Numbering, options: Options = {}): string => {
  const paint = options.color ?? plain
  return `${head(node, numbers, paint)}${inBraces(items(node), paint)}${tail(node, options)}`
}

const results = (outputs: ReadonlyArray<Output>, numbers: Numbering, paint: Paint): string => {
  const [only, ...more] = outputs
  const bare = only !== undefined && more.length === 0 && only.name === "out"
  const list = outputs.map(
    (o) => `${bare ? "" : `${JSON.stringify(o.name)}: `}${paint("value", name(o.node, numbers))}`
  )
  return `${paint("keyword", "return")}${list.length === 0 ? "" : ` ${list.join(", ")}`}`
}

/** Yields lines, and the lines of regions as generators of their own, so that nesting needs no call stack. */
type Lines = Generator<string | Lines>

function* block(graph: Graph, indent: string, options: Options): Lines {
  const paint = options.color ?? plain
  const numbers = numbering(graph)
  for (const node of graph.nodes) {
    const list = items(node)
    const start = `${indent}${head(node, numbers, paint)}`
    if (list.some((i) => i.kind === "region")) {
      yield `${start} {`
      yield regions(list, `${indent}  `, options)
      yield `${indent}}${tail(node, options)}`
    } else {
      yield `${start}${inBraces(list, paint)}${tail(node, options)}`
    }
  }
  yield `${indent}${results(graph.outputs, numbers, paint)}`
}

/** Attributes one below the other, as a node with a region prints them. */
function* regions(list: ReadonlyArray<Item>, indent: string, options: Options): Lines {
  const paint = options.color ?? plain
  for (const [index, item] of list.entries()) {
    const comma = index === list.length - 1 ? "" : ","
    const start = `${indent}${paint("attr", item.name)} =`
    if (item.kind === "region") {
      yield `${start} {`
      yield block(item.value as Graph, `${indent}  `, options)
      yield `${indent}}${comma}`
    } else {
      yield `${start} ${Attr.print(item.kind, item.value, () => "{...}")}${comma}`
    }
  }
}

/** A graph as text, without a line break at the end. Equal graphs print equal texts. */
export const graph = (graph: Graph, options: Options = {}): string => {
  const lines = [`${(options.color ?? plain)("keyword", "graph")} {`]
  const stack = [block(graph, "  ", options)]
  while (stack.length > 0) {
    const { done, value } = (stack[stack.length - 1] as Lines).next()
    if (done === true) stack.pop()
    else if (typeof value === "string") lines.push(value)
    else stack.push(value)
  }
  lines.push("}")
  return lines.join("\n")
}
