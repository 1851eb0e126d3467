import * as Graph from "../../../ir/Graph.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Print from "../../../ir/Print.ts"
import * as TensorType from "../../../ir/TensorType.ts"

/** A graph as boxes and arrows: what dot, mermaid and svg draw. */
export interface Drawing {
  readonly boxes: ReadonlyArray<Box>
  readonly arrows: ReadonlyArray<{ readonly from: number; readonly to: number }>
}

export type Kind = "input" | "constant" | "op" | "attention" | "kernel" | "output"

export interface Box {
  readonly kind: Kind
  /** First line: the op. */
  readonly title: string
  /** Lines below: the type, what a kernel holds. */
  readonly lines: ReadonlyArray<string>
}

const kindOf = (node: Node.Node): Kind => {
  switch (node.op) {
    case "input":
    case "constant":
      return node.op
    case "flash_attention":
      return "attention"
    case "fused":
      return node.attrs.body.nodes.some((n) => n.op === "flash_attention") ? "attention" : "kernel"
    default:
      return "op"
  }
}

const shorten = (text: string): string => (text.length > 48 ? `${text.slice(0, 47)}…` : text)

const titleOf = (node: Node.Node): string => {
  const label = node.label === undefined ? "" : ` ${node.label}`
  return node.op === "input" ? `input ${JSON.stringify(node.attrs.name)}` : `${node.op}${label}`
}

const linesOf = (node: Node.Node): ReadonlyArray<string> => {
  const type = TensorType.print(node.type)
  if (node.op === "input") return [type]
  if (node.op === "fused") {
    const inside = node.attrs.body.nodes.filter((n) => n.op !== "input" && n.op !== "constant")
    return [type, inside.map((n) => n.op).join(" ")]
  }
  const attributes = /\{.*\}$/.exec(Print.node(node, new Map()))?.[0].slice(1, -1) ?? ""
  const regions = Graph.regions(node).map((r) => r.name)
  const detail = regions.length > 0 ? regions.join(", ") : attributes
  return detail === "" ? [type] : [type, detail]
}

export const make = (graph: Graph.Graph): Drawing => {
  const numbers = Print.numbering(graph)
  const boxes: Array<Box> = graph.nodes.map((node) => ({
    kind: kindOf(node),
    title: shorten(titleOf(node)),
    lines: linesOf(node).map(shorten)
  }))
  const arrows = graph.nodes.flatMap((node, to) =>
    node.operands.map((o) => ({ from: numbers.get(o) as number, to }))
  )
  for (const { name, node } of graph.outputs) {
    arrows.push({ from: numbers.get(node) as number, to: boxes.length })
    boxes.push({ kind: "output", title: shorten(`output ${JSON.stringify(name)}`), lines: [] })
  }
  return { boxes, arrows }
}

/** Fill and border of each kind. */
export const palette: { readonly [K in Kind]: { readonly fill: string; readonly line: string } } = {
  input: { fill: "#e8f1fb", line: "#3b74b3" },
  constant: { fill: "#f4f4f4", line: "#8a8a8a" },
  op: { fill: "#ffffff", line: "#555555" },
  attention: { fill: "#fde9cf", line: "#c46a00" },
  kernel: { fill: "#eef7ea", line: "#4f8a35" },
  output: { fill: "#f3eafa", line: "#7b4aa3" }
}
