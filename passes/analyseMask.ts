import * as Graph from "../ir/Graph.ts"
import * as Node from "../ir/Node.ts"
import { about, type Diagnostic } from "./Diagnostic.ts"
import type { Add } from "./inline.ts"
import { classifyMask } from "./mask/classify.ts"
import { dataOf, known, type Measurement, measure } from "./mask/measure.ts"
import { visibleKeys } from "./mask/visibleKeys.ts"
import type { Pass } from "./Pass.ts"

type Flash = Node.NodeOf<"flash_attention">

/**
 * Gives attention with a mask its `range` region, what a kernel bounds its loop over keys by, and where the mask reads data at queries or
 * keys its `rowRange` region, the same of one row. See `visibleKeys` and `measure`.
 */
export const analyseMask: Pass = {
  name: "analyse-mask",
  summary: "interval analysis of the mask: which key blocks a query block can see, as arithmetic on lengths",
  from: "any",
  to: "same",
  run: (graph, { count, limits }) => {
    const diagnostics: Array<Diagnostic> = []
    const analyse = (node: Node.Node, add?: Add): Node.Node => {
      if (node.op === "fused" && node.attrs.body.nodes.some((n) => n.op === "flash_attention")) {
        const body = Graph.transform(node.attrs.body, (inner) => analyse(inner))
        return Graph.equals(body, node.attrs.body) ? node : remade(node, { ...node.attrs, body })
      }
      if (node.op !== "flash_attention") return node
      const { mask, range } = node.attrs
      const words = mask === undefined ? "no mask: every query sees every key" : classifyMask(mask)
      // What was measured once is not measured again.
      if (mask === undefined || range !== undefined) {
        diagnostics.push({ pass: "analyse-mask", outcome: "note", ...about(node), nearest: words })
        return node
      }
      count("range")
      const data = dataOf(mask)
      const measured = data.atKeys && add !== undefined ? measure(node, mask, add, limits) : undefined
      if (measured !== undefined) count("measured")
      const nearest = measured === undefined ? words : `${words}; ${told(measured)}`
      diagnostics.push({ pass: "analyse-mask", outcome: "note", ...about(node), nearest })
      return bounded(node, mask, data.atQueries, measured)
    }
    const result = Graph.transform(graph, (node, build) =>
      analyse(node, (op, operands, attrs) => build.add(op, operands, attrs) as unknown as Node.Node)
    )
    return { graph: result, diagnostics }
  }
}

const told = ({ bounds }: Measurement): string =>
  isPerRow(bounds)
    ? "each row's keys are measured by a kernel before"
    : "the keys are measured by a kernel before"

const isPerRow = (bounds: Node.Node): boolean => bounds.type.shape[3]?.key !== "1"

/** The node with its ranges, and with what was measured as one more capture. */
const bounded = (
  node: Flash,
  mask: Graph.Graph,
  atQueries: boolean,
  measured: Measurement | undefined
): Node.Node => {
  if (measured === undefined) {
    const rowRange = atQueries ? visibleKeys(node, mask, "one") : undefined
    return remade(node, { ...node.attrs, range: visibleKeys(node, mask), rowRange })
  }
  const { bounds } = measured
  const given = Object.fromEntries(
    Graph.regions(node).map(({ name, graph }) => [name, withCapture(graph, bounds.type)])
  )
  const { at, label } = node
  const wider = Node.make(
    "flash_attention",
    [...node.operands, bounds],
    { ...node.attrs, ...given },
    { at, label }
  )
  const reads = known(measured)
  const perRow = isPerRow(bounds)
  return remade(wider as Node.Node, {
    ...wider.attrs,
    range: visibleKeys(wider, mask, "block", perRow ? undefined : reads),
    rowRange: perRow || atQueries ? visibleKeys(wider, mask, "one", reads) : undefined
  })
}

/** A region with one more capture, which it does not read. */
const withCapture = (region: Graph.Graph, type: Node.Node["type"]): Graph.Graph => {
  const taken = new Set(region.inputs.map((i) => i.attrs.name))
  let name = "bounds"
  while (taken.has(name)) name += "_"
  return Graph.make(region.outputs, [...region.inputs, Node.make("input", [], { name, type }) as Node.Node])
}

const remade = <N extends Node.Node>(node: N, attrs: N["attrs"]): Node.Node =>
  Node.make(node.op, node.operands, attrs as never, { at: node.at, label: node.label }) as Node.Node
