import * as Attr from "./Attr.ts"
import * as Node from "./Node.ts"
import { type OpName, opNames, ops } from "./ops.ts"
import type * as Shape from "./Shape.ts"

/** A named result. */
export interface Output {
  readonly name: string
  readonly node: Node.Node
}

/**
 * A program: immutable, hash-consed (equal nodes are one node, so equality is `===`), in topological order, without dead
 * nodes. Common subexpressions and dead code therefore need no pass.
 */
export interface Graph {
  /** In the order the caller passes them; an input that nothing reads is kept, it is part of the signature. */
  readonly inputs: ReadonlyArray<Node.NodeOf<"input">>
  /** All nodes, operands first; inputs lead. */
  readonly nodes: ReadonlyArray<Node.Node>
  readonly outputs: ReadonlyArray<Output>
}

/** Regions inside regions. More is a hostile text: no pass nests deeper than two. */
export const MAX_NESTING = 64

const regionKeys = new WeakMap<object, string>()

/** A canonical text of a graph: two graphs mean the same nodes in the same order exactly when their keys are equal. */
export const key = (graph: Graph): string => {
  const known = regionKeys.get(graph)
  if (known !== undefined) return known
  const numbers = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const lines = graph.nodes.map((n) => nodeKey(head(n), n, (o) => numbers.get(o) as number))
  const outputs = graph.outputs.map((o) => `${JSON.stringify(o.name)}:${numbers.get(o.node)}`)
  const text = `{${graph.inputs.length};${lines.join(";")};${outputs.join(",")}}`
  regionKeys.set(graph, text)
  return text
}

/** What makes a node but its operands, as text. */
interface Head {
  readonly op: OpName
  readonly text: string
}

/** By attributes: nodes that were rebuilt over other operands share them. */
const heads = new WeakMap<object, Head>()

/** Ops that attributes say nothing about. */
const bare: ReadonlySet<OpName> = new Set(opNames.filter((op) => Object.keys(ops[op].attrs).length === 0))

const head = (node: Node.Node): string => {
  if (bare.has(node.op)) return node.op
  const schema: Attr.Schema = ops[node.op].attrs
  const known = heads.get(node.attrs)
  if (known?.op === node.op) return known.text
  const attrs = node.attrs as { readonly [name: string]: unknown }
  const printed = Object.entries(schema).map(([name, { kind }]) =>
    attrs[name] === undefined ? "-" : Attr.print(kind, attrs[name], (region) => key(region as Graph))
  )
  const text = `${node.op}<${printed.join("|")}>`
  heads.set(node.attrs, { op: node.op, text })
  return text
}

/** A node's own text given the numbers of its operands: equal exactly for nodes that mean the same. */
const nodeKey = (
  head: string | number,
  node: Node.Node,
  numberOf: (operand: Node.Node) => number
): string => {
  let text = String(head)
  for (const operand of node.operands) text += `,${numberOf(operand)}`
  return text
}

/** `nodeKey` for the nodes of one graph: what they hold is a number in it, so that texts stay short. */
export const nodeKeys = (numberOf: (operand: Node.Node) => number): ((node: Node.Node) => string) => {
  const numbers = new Map<string, number>()
  return (node) => {
    const text = head(node)
    let number = numbers.get(text)
    if (number === undefined) {
      number = numbers.size
      numbers.set(text, number)
    }
    return nodeKey(number, node, numberOf)
  }
}

/** Builds hash-consed nodes: asking twice for one expression gives one node. */
export interface Builder {
  readonly add: <K extends OpName>(
    op: K,
    operands: ReadonlyArray<Node.Node>,
    attrs: Node.AttrsOf<K>,
    origin?: Node.Origin
  ) => Node.NodeOf<K>
  /** The builder's own node equal to this one; its operands must be the builder's already. */
  readonly intern: (node: Node.Node) => Node.Node
}

export const builder = (): Builder => {
  const numbers = new Map<Node.Node, number>()
  const known = new Map<string, Node.Node>()
  const numberOf = (operand: Node.Node): number => {
    const number = numbers.get(operand)
    if (number === undefined)
      throw new Error(`${operand.op} comes from another builder: intern its operands first`)
    return number
  }
  const keyOf = nodeKeys(numberOf)
  const intern = (node: Node.Node): Node.Node => {
    if (numbers.has(node)) return node
    const text = keyOf(node)
    const same = known.get(text)
    if (same !== undefined) return same
    known.set(text, node)
    numbers.set(node, numbers.size)
    return node
  }
  return {
    intern,
    add: (op, operands, attrs, origin) =>
      intern(Node.make(op, operands, attrs, origin) as unknown as Node.Node) as unknown as ReturnType<
        typeof Node.make<typeof op>
      >
  }
}

/**
 * The graph of some outputs: interned, ordered, dead nodes dropped. `inputs` fixes the signature; inputs that the outputs reach
 * and the list lacks are appended in order of appearance.
 */
export const make = (outputs: ReadonlyArray<Output>, inputs: ReadonlyArray<Node.Node> = []): Graph =>
  transform({ inputs, outputs }, (node) => node)

/** What `transform` needs of a graph; expressions that were never made into a graph have it too. */
export interface Roots {
  readonly inputs: ReadonlyArray<Node.Node>
  readonly outputs: ReadonlyArray<Output>
}

/**
 * Rebuilds a graph bottom-up. `step` sees each node with its operands already rebuilt, and returns the node that takes
 * its place: itself, or any expression over rebuilt nodes, made with the builder or with `Node.make`. `follow` is told what stands for
 * each node in the end.
 */
export const transform = (
  graph: Roots,
  step: (node: Node.Node, build: Builder, original: Node.Node) => Node.Node,
  follow?: (original: Node.Node, result: Node.Node) => void
): Graph => {
  const build = builder()
  const rebuilt = new Map<Node.Node, Node.Node>()
  /** Interns an expression that `step` returned, down to nodes the builder knows. */
  const adopted = new Map<Node.Node, Node.Node>()
  const over = (node: Node.Node, operands: ReadonlyMap<Node.Node, Node.Node>): Node.Node => {
    const own = build.intern(
      Node.withOperands(
        node,
        node.operands.map((o) => operands.get(o) as Node.Node)
      )
    )
    adopted.set(own, own)
    return own
  }
  const adopt = (root: Node.Node): Node.Node => {
    const known = adopted.get(root)
    if (known !== undefined) return known
    for (const node of Node.postOrder([root], adopted)) adopted.set(node, over(node, adopted))
    return adopted.get(root) as Node.Node
  }
  for (const node of Node.postOrder([...graph.inputs, ...graph.outputs.map((o) => o.node)])) {
    const result = adopt(step(over(node, rebuilt), build, node))
    rebuilt.set(node, result)
    follow?.(node, result)
  }
  const outputs = graph.outputs.map((o) => ({ name: o.name, node: rebuilt.get(o.node) as Node.Node }))
  const inputs = graph.inputs.map((i) => rebuilt.get(i) as Node.Node)
  return assemble(outputs, inputs)
}

/**
 * The graph of nodes that one builder made: ordered, dead nodes dropped, nothing interned again. `declared` comes first in
 * the signature, as in `make`.
 */
export const assemble = (outputs: ReadonlyArray<Output>, declared: ReadonlyArray<Node.Node>): Graph => {
  const order = Node.postOrder([...declared, ...outputs.map((o) => o.node)])
  const inputs = [...new Set([...declared, ...order.filter((n) => n.op === "input")])]
  const rest = order.filter((n) => n.op !== "input")
  return { inputs: inputs as ReadonlyArray<Node.NodeOf<"input">>, nodes: [...inputs, ...rest], outputs }
}

/** The users of each node, in order; a node that uses another twice is listed once. Outputs are not users. */
export const users = (graph: Graph): ReadonlyMap<Node.Node, ReadonlyArray<Node.Node>> => {
  const result = new Map<Node.Node, Array<Node.Node>>(graph.nodes.map((n) => [n, []] as const))
  for (const node of graph.nodes)
    for (const operand of new Set(node.operands)) result.get(operand)?.push(node)
  return result
}

/** The regions of a node with their attribute names, in schema order. */
export const regions = (node: Node.Node): ReadonlyArray<{ readonly name: string; readonly graph: Graph }> => {
  const attrs = node.attrs as { readonly [name: string]: unknown }
  return Object.entries(Node.specOf(node.op).attrs).flatMap(([name, { kind }]) =>
    kind === "region" && attrs[name] !== undefined ? [{ name, graph: attrs[name] as Graph }] : []
  )
}

/** The nodes of the graph and of all regions in it, however deep. */
export function* everyNode(graph: Graph): Generator<Node.Node> {
  const waiting = [graph]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const node of next.nodes) {
      yield node
      for (const region of regions(node)) waiting.push(region.graph)
    }
  }
}

/** All symbols that occur in types and attributes, regions included; sorted. */
export const symbols = (graph: Graph): ReadonlyArray<string> => {
  const found = new Set<string>()
  const collect = (shape: Shape.Shape): void => {
    for (const d of shape) for (const t of d.terms) for (const s of t.symbols) found.add(s)
  }
  for (const node of everyNode(graph)) {
    collect(node.type.shape)
    if (node.op === "dim") collect([node.attrs.value])
    else if (node.op === "slice") collect([...node.attrs.starts, ...node.attrs.stops])
    else if (node.op === "pad") collect([...node.attrs.low, ...node.attrs.high])
  }
  return [...found].sort()
}

/** What shape rules assumed anywhere in the graph and its regions, each once: to be checked when symbols are bound. */
export const constraints = (graph: Graph): ReadonlyArray<Shape.Constraint> => {
  const found = new Map<string, Shape.Constraint>()
  for (const node of everyNode(graph)) {
    const inferred = Node.infer(
      node.op,
      node.operands.map((o) => o.type),
      node.attrs
    )
    for (const c of inferred.constraints ?? []) {
      const text = `${c.left.key}${c.relation}${c.right.key}`
      if (!found.has(text)) found.set(text, node.at === undefined ? c : { ...c, at: node.at })
    }
  }
  return [...found.values()]
}

/** Equal as programs: same nodes in the same order, same signature, same outputs. */
export const equals = (a: Graph, b: Graph): boolean => {
  if (a.nodes.length !== b.nodes.length || a.nodes.some((n, i) => n.op !== b.nodes[i]?.op)) return false
  return same(a, b) || key(a) === key(b)
}

/** The very same nodes, which need no comparison. */
const same = (a: Graph, b: Graph): boolean =>
  a.nodes.every((n, i) => n === b.nodes[i]) &&
  a.inputs.length === b.inputs.length &&
  a.outputs.length === b.outputs.length &&
  a.outputs.every((o, i) => o.node === b.outputs[i]?.node && o.name === b.outputs[i]?.name)
