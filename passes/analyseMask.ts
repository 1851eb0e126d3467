import * as Graph from "../ir/Graph.ts"
import * as Node from "../ir/Node.ts"
import { about, type Diagnostic } from "./Diagnostic.ts"
import { classifyMask } from "./mask/classify.ts"
import { visibleKeys } from "./mask/visibleKeys.ts"
import type { Pass } from "./Pass.ts"

/** Gives attention with a mask its `range` region: what a kernel bounds its loop over keys by. See `visibleKeys`. */
export const analyseMask: Pass = {
  name: "analyse-mask",
  summary: "interval analysis of the mask: which key blocks a query block can see, as arithmetic on lengths",
  from: "any",
  to: "same",
  run: (graph, { count }) => {
    const diagnostics: Array<Diagnostic> = []
    const analyse = (node: Node.Node): Node.Node => {
      if (node.op === "fused" && node.attrs.body.nodes.some((n) => n.op === "flash_attention")) {
        const body = Graph.transform(node.attrs.body, analyse)
        return Graph.equals(body, node.attrs.body) ? node : remade(node, { ...node.attrs, body })
      }
      if (node.op !== "flash_attention") return node
      const { mask } = node.attrs
      const words = mask === undefined ? "no mask: every query sees every key" : classifyMask(mask)
      diagnostics.push({ pass: "analyse-mask", outcome: "note", ...about(node), nearest: words })
      if (mask === undefined) return node
      count("range")
      return remade(node, { ...node.attrs, range: visibleKeys(node, mask) })
    }
    return { graph: Graph.transform(graph, analyse), diagnostics }
  }
}

const remade = <N extends Node.Node>(node: N, attrs: N["attrs"]): Node.Node =>
  Node.make(node.op, node.operands, attrs as never, { at: node.at, label: node.label }) as Node.Node
