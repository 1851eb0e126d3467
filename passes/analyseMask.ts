import * as Graph from "../ir/Graph.ts"
import type { Limits } from "../ir/Limits.ts"
import * as Node from "../ir/Node.ts"
import { about, type Diagnostic } from "./Diagnostic.ts"
import { classifyMask } from "./mask/classify.ts"
import { dataOf, known, type Measurement, measure, readsAt } from "./mask/measure.ts"
import { type Measured, visibleKeys } from "./mask/visibleKeys.ts"
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
    /** `name` is that of an input that the kernel may be given; there is none where no kernel can stand before it. */
    const analyse = (node: Flash, name?: string): Analysed => {
      const { mask, range } = node.attrs
      const words = mask === undefined ? "no mask: every query sees every key" : classifyMask(mask)
      const data = mask && dataOf(mask)
      // What was measured once is not measured again.
      const measured =
        mask && data?.atKeys && name !== undefined && range === undefined ? measure(node, mask) : undefined
      const nearest = measured === undefined ? words : `${words}; ${told(measured)}`
      diagnostics.push({ pass: "analyse-mask", outcome: "note", ...about(node), nearest })
      if (mask === undefined || range !== undefined) return { node }
      count("range")
      if (measured !== undefined) count("measured")
      return measured === undefined || name === undefined
        ? { node: bounded(node, mask, data?.atQueries === true) }
        : boundedBy(node, mask, data?.atQueries === true, measured, name)
    }
    const result = Graph.transform(graph, (node) => {
      if (node.op === "flash_attention") return analyse(node).node
      if (node.op !== "fused") return node
      const flash = node.attrs.body.nodes.find((n): n is Flash => n.op === "flash_attention")
      if (flash === undefined) return node
      const name = hasRoom(node, limits) ? freshName(node.attrs.body) : undefined
      return inKernel(node, flash, analyse(flash, name))
    })
    return { graph: result, diagnostics }
  }
}

interface Analysed {
  readonly node: Flash
  /** The node's last operand, and the expression that it holds. */
  readonly measured?: { readonly input: Node.Node; readonly bounds: Node.Node }
}

/** Buffers that a kernel of attention binds besides its operands: the result, and parts of it. */
const ownBuffers = 2

const hasRoom = (node: Node.NodeOf<"fused">, limits: Limits): boolean =>
  node.operands.length + 1 + ownBuffers <= limits.maxStorageBuffersPerShaderStage

const told = ({ bounds }: Measurement): string =>
  isPerRow(bounds)
    ? "each row's keys are measured by a kernel before"
    : "the keys are measured by a kernel before"

const isPerRow = (bounds: Node.Node): boolean => bounds.type.shape[3]?.key !== "1"

/** The node with its ranges. */
const bounded = (node: Flash, mask: Graph.Graph, atQueries: boolean): Flash =>
  remade(node, {
    range: visibleKeys(node, mask),
    rowRange: atQueries ? ofRows(node, mask) : undefined
  })

/** What is known of one row, where data at the row says more than is known of a block. */
const ofRows = (node: Flash, mask: Graph.Graph, measured?: Measured): Graph.Graph | undefined => {
  const region = visibleKeys(node, mask, "one", measured)
  return readsAt(region, 2) ? region : undefined
}

/** The node with its ranges, and with what was measured as one more capture. */
const boundedBy = (
  node: Flash,
  mask: Graph.Graph,
  atQueries: boolean,
  measured: Measurement,
  name: string
): Analysed => {
  const { bounds } = measured
  const input = inputOf(name, bounds.type)
  const given = Object.fromEntries(
    Graph.regions(node).map(({ name, graph }) => [name, withCapture(graph, bounds.type)])
  )
  const wider = remade(node, given, [...node.operands, input])
  const reads = known(measured)
  const perRow = isPerRow(bounds)
  const ranges = {
    range: visibleKeys(wider, mask, "block", perRow ? undefined : reads),
    rowRange: perRow || atQueries ? ofRows(wider, mask, reads) : undefined
  }
  return { node: remade(wider, ranges), measured: { input, bounds } }
}

/** The kernel around attention, and the one that measures before it. Kernels of equal masks over equal data are one. */
const inKernel = (
  node: Node.NodeOf<"fused">,
  flash: Flash,
  { node: made, measured }: Analysed
): Node.Node => {
  const { body } = node.attrs
  const replaced = Graph.transform(body, (n, _, original) =>
    original === flash ? over(made, n.operands) : n
  )
  if (measured === undefined)
    return Graph.equals(replaced, body) ? node : kernel(node.operands, replaced, node)
  const before = Graph.make([{ name: "out", node: measured.bounds }])
  const positions = before.inputs.map((i) => body.inputs.findIndex((x) => x.attrs.name === i.attrs.name))
  const names = new Map(before.inputs.map((i, n) => [i.attrs.name, `a${n}`]))
  const renamed = Graph.transform(before, (n) =>
    n.op === "input" ? inputOf(names.get(n.attrs.name) as string, n.type) : n
  )
  const measures = kernel(
    positions.map((n) => node.operands[n] as Node.Node),
    renamed,
    flash
  )
  const whole = Graph.make(replaced.outputs, [...body.inputs, measured.input])
  return kernel([...node.operands, measures], whole, node)
}

const kernel = (
  operands: ReadonlyArray<Node.Node>,
  body: Graph.Graph,
  { at, label }: Node.Origin
): Node.Node => Node.make("fused", operands, { body }, { at, label }) as Node.Node

/** The node over rebuilt operands, of which a last one that is new stays. */
const over = (node: Flash, operands: ReadonlyArray<Node.Node>): Node.Node =>
  Node.withOperands(node as Node.Node, [...operands, ...node.operands.slice(operands.length)])

/** A region with one more capture, which it does not read. */
const withCapture = (region: Graph.Graph, type: Node.Node["type"]): Graph.Graph =>
  Graph.make(region.outputs, [...region.inputs, inputOf(freshName(region), type)])

const inputOf = (name: string, type: Node.Node["type"]): Node.Node =>
  Node.make("input", [], { name, type }) as Node.Node

/** The name of one more input. */
const freshName = ({ inputs }: Graph.Graph): string => {
  const taken = new Set(inputs.map((i) => i.attrs.name))
  let name = "bounds"
  while (taken.has(name)) name += "_"
  return name
}

const remade = (node: Flash, attrs: Partial<Flash["attrs"]>, operands = node.operands): Flash =>
  Node.make("flash_attention", operands, { ...node.attrs, ...attrs }, { at: node.at, label: node.label })
