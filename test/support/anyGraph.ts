import { Result } from "effect"
import type * as Attr from "../../ir/Attr.ts"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Node from "../../ir/Node.ts"
import { type OpName, opNames } from "../../ir/ops.ts"
import type { TensorType } from "../../ir/TensorType.ts"
import * as arrays from "./arrays.ts"
import { exampleGraph } from "./examples.ts"

/**
 * A random legal graph over every op, for what must hold of all graphs: it need not mean anything and is not meant to
 * run. Attributes are drawn from each op's schema and what the op's rule refuses is left out; regions are those of the examples.
 */
export const anyGraph = (seed: number, steps = 60): Graph.Graph => {
  const from = arrays.random(seed)
  const values: Array<Node.Node> = []
  const names = new Set<string>()
  const add = (node: Node.Node): void => {
    if (node.op === "input") {
      if (names.has(node.attrs.name)) return
      names.add(node.attrs.name)
    }
    values.push(node)
  }
  for (let step = 0; step < steps; step++) {
    // A whole example now and then: ops with narrow rules are rarely met by chance.
    if (from.next() < 0.15) renamed(exampleGraph(from.pick(opNames)), `${step}`).forEach(add)
    else {
      const node = anyNode(from, from.pick(opNames), values)
      if (node !== undefined) add(node)
    }
  }
  const results = values.filter(() => from.next() < 0.2)
  const outputs = (results.length > 0 ? results : values.slice(-1)).map((node, i) => ({
    name: i === 0 && from.next() < 0.5 ? "out" : `${anyName(from)}${i}`,
    node
  }))
  const declared = values.filter((v) => v.op === "input")
  return Graph.make(outputs, from.next() < 0.5 ? declared : [])
}

/** The nodes of a graph with other input names. */
const renamed = (graph: Graph.Graph, suffix: string): ReadonlyArray<Node.Node> =>
  Graph.transform(graph, (node) =>
    node.op === "input"
      ? Node.make("input", [], { ...node.attrs, name: `${node.attrs.name}${suffix}` })
      : node
  ).nodes

const pieces = ["T", "S", "B", "P_1", "__proto__", "constructor"] as const

/** A size: a number, a symbol, or a polynomial of them. */
export const anyDim = (from: arrays.Random): Dim.Dim => {
  const leaf = (): Dim.Dim =>
    from.next() < 0.5 ? Dim.constant(from.integer(0, 5)) : Dim.symbol(from.pick(pieces))
  let dim = leaf()
  while (from.next() < 0.3) dim = from.pick([Dim.add, Dim.mul, Dim.sub])(dim, leaf())
  return dim
}

const texts = [
  "x",
  "",
  "a b",
  'quote"',
  "line\nbreak",
  "\u0000",
  "\ud800",
  "é\u2028",
  "//",
  "}",
  "%0",
  "__proto__"
] as const

const anyName = (from: arrays.Random): string => from.pick(texts) + from.pick(texts)

const numbers = [
  0,
  -0,
  1,
  0.1,
  -1.5,
  1e21,
  1e-7,
  5e-324,
  Number.MAX_VALUE,
  Infinity,
  -Infinity,
  Number.NaN
] as const

const anyNumber = (from: arrays.Random): number => (from.next() < 0.5 ? from.pick(numbers) : from.normal())

const several = <A>(from: arrays.Random, item: () => A, most = 4): ReadonlyArray<A> =>
  Array.from({ length: from.integer(0, most) }, item)

const anyType = (from: arrays.Random): TensorType => ({
  dtype: from.pick(DType.all),
  shape: several(from, () => anyDim(from), 3)
})

const anyAttr = (from: arrays.Random, kind: Attr.KindName, like: TensorType): unknown => {
  switch (kind) {
    case "int":
      return from.integer(0, 3)
    case "ints":
      return from.next() < 0.5
        ? like.shape.map((_, i) => like.shape.length - 1 - i)
        : several(from, () => from.integer(0, 3))
    case "number":
      return anyNumber(from)
    case "numbers":
      return [anyNumber(from)]
    case "bool":
      return from.next() < 0.5
    case "string":
      return anyName(from)
    case "dim":
      return anyDim(from)
    case "dims":
      return from.next() < 0.5 ? like.shape : like.shape.map(() => Dim.zero)
    case "resultShape":
      return from.next() < 0.5 ? [Dim.one, ...like.shape] : anyType(from).shape
    case "resultType":
      return from.next() < 0.5 ? { ...anyType(from), shape: [] } : anyType(from)
    case "resultDType":
      return anyType(from).dtype
    case "region":
      return undefined
  }
}

/** A node of an op over values that are there, or undefined where its rule refuses them. */
const anyNode = (
  from: arrays.Random,
  op: OpName,
  values: ReadonlyArray<Node.Node>
): Node.Node | undefined => {
  const { least, most } = Node.arity(op)
  const count = most ?? from.integer(least, least + 3)
  if (count > 0 && values.length === 0) return undefined
  const first = count > 0 ? from.pick(values) : undefined
  const alike = values.filter((v) => v.type.dtype === first?.type.dtype)
  const operands = Array.from({ length: count }, (_, i) => (i === 0 ? first : from.pick(alike)) as Node.Node)
  const like = first?.type ?? anyType(from)
  const attrs = Object.fromEntries(
    Object.entries(Node.specOf(op).attrs).map(([name, { kind }]) => [name, anyAttr(from, kind, like)])
  )
  if (
    Object.entries(Node.specOf(op).attrs).some(
      ([name, a]) => a.kind === "region" && !a.optional && attrs[name] === undefined
    )
  ) {
    return undefined
  }
  const made = Node.tryMake(op, operands, attrs as never)
  return Result.isSuccess(made) ? (made.success as Node.Node) : undefined
}
