import { Result } from "effect"
import * as Attr from "./Attr.ts"
import { AttrError, DTypeError, printLocation, ShapeError, VerifyError } from "./errors.ts"
import * as Graph from "./Graph.ts"
import * as Node from "./Node.ts"
import { isOpName } from "./ops.ts"
import * as Print from "./Print.ts"
import * as TensorType from "./TensorType.ts"

/**
 * The rules every graph keeps, whoever made it: a node's type is what its op's rule gives, operands come before users, equal
 * nodes are one node, nothing is dead, the signature is complete and its names are distinct. What ops a graph may hold
 * is the business of `Form`.
 */

/** A broken rule, as text, and the node that breaks it. */
export interface Violation {
  readonly text: string
  readonly node?: Node.Node | undefined
}

/** One graph or region being checked. */
interface Check {
  readonly graph: Graph.Graph
  readonly numbers: Print.Numbering
  /** `in the body of %3: `, or nothing for the graph itself. */
  readonly path: string
  readonly depth: number
  readonly report: (what: string, node?: Node.Node) => void
  readonly found: Array<Violation>
}

/** A violation with the node it is about, the nodes it reads, and the line that wrote it. */
export const describe = (what: string, node: Node.Node, numbers: Print.Numbering): string => {
  const lines = [what, `  ${Print.node(node, numbers)}`]
  for (const operand of new Set(node.operands)) lines.push(`    reads ${Print.node(operand, numbers)}`)
  if (node.at !== undefined) lines.push(`  written at ${printLocation(node.at)}`)
  return lines.join("\n")
}

/** The result of a check; the error's place is that of the first node that has one. */
export const conclude = (found: ReadonlyArray<Violation>): Result.Result<void, VerifyError> => {
  if (found.length === 0) return Result.succeed(undefined)
  const violations = found.map((v) => v.text)
  const node = found.find((v) => v.node?.at !== undefined)?.node
  const count = violations.length === 1 ? "1 violation" : `${violations.length} violations`
  const message = `the graph breaks the rules, ${count}:\n${violations.join("\n")}`
  return Result.fail(new VerifyError({ message, violations, at: node?.at }))
}

const attributes = (node: Node.Node, report: Check["report"]): boolean => {
  const schema = Node.specOf(node.op).attrs
  const values = node.attrs as { readonly [name: string]: unknown }
  let sound = true
  const wrong = (what: string): void => {
    report(what, node)
    sound = false
  }
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(schema, name)) wrong(`${node.op} has no attribute ${JSON.stringify(name)}`)
  }
  for (const [name, { kind, optional }] of Object.entries(schema)) {
    const value = values[name]
    if (value === undefined) {
      if (!optional) wrong(`${node.op} needs the attribute ${name}`)
    } else if (!Attr.accepts(kind, value))
      wrong(`the attribute ${name} of ${node.op} is not ${Attr.describe[kind]}`)
  }
  return sound
}

/** The type is what the op's rule gives on the types of the operands. */
const typed = (node: Node.Node, report: Check["report"]): void => {
  const miscount = Node.wrongCount(node.op, node.operands.length)
  if (miscount !== undefined) {
    report(miscount, node)
    return
  }
  try {
    const types = node.operands.map((o) => o.type)
    const { type } = Node.infer(node.op, types, node.attrs)
    if (!TensorType.equals(type, node.type))
      report(
        `the type is ${TensorType.print(node.type)}, but ${node.op} gives ${TensorType.print(type)}`,
        node
      )
  } catch (error) {
    const refused = error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError
    if (!refused) throw error
    report(error.what, node)
  }
}

/**
 * Nodes that by themselves are sound, in attributes, regions and type, and how deep in regions they were found to be. Nodes are immutable
 * and passes keep most of them, so each is checked once.
 */
const sound = new WeakMap<Node.Node, number>()

const alone = (node: Node.Node, index: number, { path, depth, report, found }: Check): boolean => {
  if ((sound.get(node) ?? -1) >= depth) return true
  const before = found.length
  if (!attributes(node, report)) return false
  typed(node, report)
  for (const region of Graph.regions(node)) {
    inside(region.graph, `${path}in the ${region.name} of %${index} (${node.op}): `, depth + 1, found)
  }
  if (found.length === before) sound.set(node, depth)
  return true
}

const nodes = (check: Check): void => {
  const { graph, numbers, report } = check
  const known = new Map<string, Node.Node>()
  const keyOf = Graph.nodeKeys((operand) => numbers.get(operand) ?? -1)
  for (const [index, node] of graph.nodes.entries()) {
    if (!isOpName(node.op)) {
      report(`there is no op ${JSON.stringify((node as { readonly op: unknown }).op)}`)
      continue
    }
    if (numbers.get(node) !== index) {
      report("a node is listed twice", node)
      continue
    }
    const sound = alone(node, index, check)
    for (const [at, operand] of node.operands.entries()) {
      const number = numbers.get(operand)
      if (node.operands.indexOf(operand) < at) continue
      if (number === undefined) report("an operand is not in the graph", node)
      else if (number >= index) report(`the operand %${number} does not come before its user`, node)
    }
    if (!sound) continue
    const key = keyOf(node)
    const same = known.get(key)
    if (same !== undefined && node.operands.every((o) => numbers.has(o))) {
      report(`the node equals %${numbers.get(same)}: equal nodes are one node`, node)
    }
    known.set(key, node)
  }
}

/** Everything but inputs is there for an output. */
const liveness = ({ graph, numbers, report }: Check): void => {
  const live = new Set<Node.Node>()
  const waiting = graph.outputs.map((o) => o.node)
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (live.has(node)) continue
    live.add(node)
    waiting.push(...node.operands)
  }
  for (const node of numbers.keys()) {
    if (node.op !== "input" && !live.has(node)) report("the node is dead: no output needs it", node)
  }
}

const signature = ({ graph, numbers, report }: Check): void => {
  const names = new Set<string>()
  for (const input of graph.inputs) {
    if ((input as Node.Node).op !== "input") report("an input of the graph is another op", input)
    else if (names.has(input.attrs.name))
      report(`two inputs are named ${JSON.stringify(input.attrs.name)}`, input)
    else names.add(input.attrs.name)
    if (!numbers.has(input)) report("an input of the graph is not among its nodes", input)
  }
  const declared = new Set<Node.Node>(graph.inputs)
  for (const node of numbers.keys()) {
    if (node.op === "input" && !declared.has(node)) report("the input is not in the signature", node)
  }
  if (graph.inputs.some((input, index) => numbers.has(input) && numbers.get(input) !== index)) {
    report("the inputs do not lead the nodes in the order of the signature")
  }
  if (graph.outputs.length === 0) report("the graph returns nothing")
  const results = new Set<string>()
  for (const { name, node } of graph.outputs) {
    if (results.has(name)) report(`two results are named ${JSON.stringify(name)}`, node)
    results.add(name)
    if (!numbers.has(node)) report(`the result ${JSON.stringify(name)} is not in the graph`, node)
  }
}

/** The first place of each node: a list that holds one twice is a violation of its own. */
const firstPlaces = (graph: Graph.Graph): Print.Numbering => {
  const places = new Map<Node.Node, number>()
  for (const [index, node] of graph.nodes.entries()) if (!places.has(node)) places.set(node, index)
  return places
}

/** Checks a graph or a region; nesting is bounded, so the recursion is too. */
const inside = (graph: Graph.Graph, path: string, depth: number, found: Array<Violation>): void => {
  if (depth > Graph.MAX_NESTING) {
    found.push({ text: `${path}regions nest deeper than ${Graph.MAX_NESTING}` })
    return
  }
  const numbers = firstPlaces(graph)
  const report: Check["report"] = (what, node) => {
    const text = `${path}${what}`
    found.push({ text: node === undefined ? text : describe(text, node, numbers), node })
  }
  const check: Check = { graph, numbers, path, depth, report, found }
  nodes(check)
  liveness(check)
  signature(check)
}

/** Graphs that keep the rules: an analysis hands on the graph it was given. */
const verified = new WeakSet<Graph.Graph>()

/** Whether a graph keeps the rules; the error lists every violation. */
export const graph = (graph: Graph.Graph): Result.Result<void, VerifyError> => {
  const found: Array<Violation> = []
  if (!verified.has(graph)) inside(graph, "", 0, found)
  if (found.length === 0) verified.add(graph)
  return conclude(found)
}
