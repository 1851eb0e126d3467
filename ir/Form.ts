import type { Result } from "effect"
import { anchors } from "./anchors.ts"
import * as ContractionSum from "./ContractionSum.ts"
import type { VerifyError } from "./errors.ts"
import * as Graph from "./Graph.ts"
import type * as Node from "./Node.ts"
import { type OpName, opNames, ops } from "./ops.ts"
import * as Print from "./Print.ts"
import { isOneLoop, productsOf } from "./products.ts"
import * as Verify from "./Verify.ts"

/**
 * Forms: what a graph may hold at a point of the pipeline. A pass says which form it accepts and which it leaves; `check`
 * holds it to that.
 */
export type FormName = "traced" | "attention" | "kernels"

export interface Form {
  readonly name: FormName
  /** One line, for people. */
  readonly summary: string
  /** Ops that may stand in the graph itself; regions have rules of their own. */
  readonly legal: ReadonlySet<OpName>
}

const family = (...families: ReadonlyArray<Node.AnyOp["family"]>): ReadonlyArray<OpName> =>
  opNames.filter((name) => families.includes(ops[name].family))

const except = (...names: ReadonlyArray<OpName>): ReadonlySet<OpName> =>
  new Set(opNames.filter((name) => !names.includes(name)))

/** Every form by name. */
export const forms: { readonly [F in FormName]: Form } = {
  traced: {
    name: "traced",
    summary: "what a person wrote: no attention node, no kernels",
    legal: except("flash_attention", "fused")
  },
  attention: {
    name: "attention",
    summary: "attention is recognised: flash_attention is legal, kernels are not yet cut",
    legal: except("fused")
  },
  kernels: {
    name: "kernels",
    summary: "each node is an input, a constant, or a kernel: a fused body around at most one anchor",
    legal: new Set<OpName>(["input", "constant", "fused"])
  }
}

/** What may stand in the body of `fused` besides an anchor. */
const foldable: ReadonlySet<OpName> = new Set(family("source", "elementwise", "compare", "movement", "index"))

/** What computes scalars in the regions of `flash_attention`. */
const scalar: ReadonlySet<OpName> = new Set([...family("elementwise", "compare"), "dim", "load"] as const)

/** What regions of `flash_attention` may hold at any rank, to be read with `load`. */
const whole: ReadonlySet<OpName> = new Set(["input", "constant", "random_bits"] as const)

type Report = (what: string, node: Node.Node) => void

/** One kernel computes it: one anchor, or a contraction and a sum of it, or contractions that each give a part of the result; and nothing that is a kernel of its own. */
const body = (graph: Graph.Graph, report: Report): void => {
  const [, second, ...others] = graph.nodes.filter((node) => anchors.has(node.op))
  const areProducts = [second, ...others].every((node) => node?.op === "dot")
  const isOneKernel = areProducts
    ? productsOf(graph)?.every(isOneLoop)
    : others.length === 0 && ContractionSum.find(graph) !== undefined
  if (second !== undefined && isOneKernel !== true) report("a kernel holds at most one anchor", second)
  for (const node of graph.nodes) {
    if (!anchors.has(node.op) && !foldable.has(node.op))
      report(`${node.op} is not legal in the body of a kernel`, node)
  }
}

/** One element of the score matrix at a time: everything computed is a scalar. */
const region = (graph: Graph.Graph, report: Report): void => {
  for (const node of graph.nodes) {
    if (whole.has(node.op)) continue
    if (!scalar.has(node.op)) report(`${node.op} is not legal in a region of flash_attention`, node)
    else if (node.type.shape.length > 0) report("a region of flash_attention computes scalars", node)
  }
}

const inside = (node: Node.Node, path: string, found: Array<Verify.Violation>): void => {
  for (const { name, graph } of Graph.regions(node)) {
    const here = `${path}in the ${name} of ${node.op}: `
    const report: Report = (what, culprit) => {
      const text = Verify.describe(`${here}${what}`, culprit, Print.numbering(graph))
      found.push({ text, node: culprit })
    }
    if (node.op === "fused") body(graph, report)
    else region(graph, report)
    // A kernel's body may hold attention, whose regions hold nothing with regions.
    for (const inner of graph.nodes)
      if (inner.op === "flash_attention" && node.op === "fused") inside(inner, here, found)
  }
}

/** Whether a graph that verifies has a form; the error lists every node that it may not hold. */
export const check = (graph: Graph.Graph, form: FormName): Result.Result<void, VerifyError> => {
  const { legal } = forms[form]
  const found: Array<Verify.Violation> = []
  for (const node of graph.nodes) if (legal.has(node.op)) inside(node, "", found)
  const illegal = graph.nodes.filter((node) => !legal.has(node.op))
  if (illegal.length > 0) {
    const numbers = Print.numbering(graph)
    for (const node of illegal) {
      const text = Verify.describe(`${node.op} is not legal in the form ${form}`, node, numbers)
      found.push({ text, node })
    }
  }
  return Verify.conclude(found)
}
