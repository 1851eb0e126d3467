import * as Graph from "../ir/Graph.ts"
import type { Limits } from "../ir/Limits.ts"
import * as Node from "../ir/Node.ts"
import { isOneLoop, productsOf } from "../ir/products.ts"
import { about, type Diagnostic } from "./Diagnostic.ts"
import { group, type Kernel } from "./Grouping.ts"
import type { Pass } from "./Pass.ts"
import { type Product, partProducts } from "./partProducts.ts"

/**
 * Groups every computation into `fused` nodes. A kernel has one anchor or none; around it stand what is folded into it:
 *
 * - before the anchor, views, casts, indices and repeated constants, and, unless the anchor is `dot` or `flash_attention`, any work that
 *   only this kernel needs; before keys and values of attention also a `gather` of whole rows;
 * - after the anchor, elementwise work on its elements one by one, possibly through reshape and transpose;
 * - where the device allows, two contractions of one operand stand side by side, as the halves of a gated layer, and contractions that are parts of
 *   one give parts of the result, as what turns of heads and what passes;
 * - a contraction may be followed by a sum of such elements over other axes than its last row and column axis.
 *
 * Work is repeated only where repeating is cheaper than a round trip through memory: views, widening casts, index arithmetic, scalars.
 */
export const fuseElementwise: Pass = {
  name: "fuse-elementwise",
  summary: "what is left becomes few kernels: producers and epilogues join their reduction or contraction",
  from: "attention",
  to: "kernels",
  run: (original, { limits, count }) => {
    const { graph, kernels } = grouped(
      splitConcats(original, limits.maxStorageBuffersPerShaderStage - 1),
      limits
    )
    const made = new Map<Node.Node, Node.Node>()
    const diagnostics: Array<Diagnostic> = []
    for (const kernel of kernels) {
      made.set(kernel.root, fuse(kernel, made))
      count(kernel.anchor?.op ?? "map")
      diagnostics.push(describe(kernel))
    }
    const outputs = graph.outputs.map((o) => ({ name: o.name, node: made.get(o.node) ?? o.node }))
    return { graph: Graph.make(outputs, graph.inputs), diagnostics }
  }
}

/** Contractions that were parted stay so where one kernel computes all parts that an end is made of. */
const grouped = (
  original: Graph.Graph,
  limits: Limits
): { readonly graph: Graph.Graph; readonly kernels: ReadonlyArray<Kernel> } => {
  if (limits.twinProducts !== true) return { graph: original, kernels: group(original, limits) }
  const refused = new Set<Node.Node>()
  // Software devices compile a shader in time that grows faster than its text: seven loops take longer than any call saves.
  const most = limits.kind === "cpu" ? 2 : Infinity
  for (;;) {
    const { graph, products, joins } = partProducts(original, refused)
    const kernels = group(graph, limits, { joins, sets: products.flatMap(({ parts = [] }) => parts) })
    const stays = ({ parts = [] }: Product): boolean =>
      parts.every((dots) => dots.size <= most && kernels.some((kernel) => follows(kernel, dots, joins))) &&
      parts.length > 0
    const apart = products.filter((product) => !stays(product))
    if (apart.length === 0) return { graph, kernels }
    for (const { dot } of apart) refused.add(dot)
  }
}

/** Whether the kernel computes these contractions, and their elements are found in its result by their positions. */
const follows = (kernel: Kernel, dots: ReadonlySet<Node.Node>, joins: ReadonlySet<Node.Node>): boolean =>
  [...dots].every((dot) => kernel.members.has(dot)) &&
  [...kernel.members].every((n) => !joins.has(n) || n.operands.every((o) => kernel.members.has(o))) &&
  productsOf(bodyOf(kernel).body)?.every(isOneLoop) === true

/** The kernel as a `fused` node over the values it reads, which `made` maps to where they come from. */
const fuse = (kernel: Kernel, made: ReadonlyMap<Node.Node, Node.Node>): Node.Node => {
  const { body, read } = bodyOf(kernel)
  const operands = read.map((node) => made.get(node) ?? node)
  const { at, label } = kernel.anchor ?? kernel.root
  return Node.make("fused", operands, { body }, { at, label }) as Node.Node
}

/** What the kernel computes, and the values it reads. */
const bodyOf = (kernel: Kernel): { readonly body: Graph.Graph; readonly read: ReadonlyArray<Node.Node> } => {
  const read: Array<Node.Node> = []
  const inside = new Map<Node.Node, Node.Node>()
  for (const node of membersInOrder(kernel)) {
    if (kernel.members.has(node)) {
      inside.set(
        node,
        Node.withOperands(
          node,
          node.operands.map((o) => inside.get(o) as Node.Node)
        )
      )
    } else {
      inside.set(node, Node.make("input", [], { name: `a${read.length}`, type: node.type }) as Node.Node)
      read.push(node)
    }
  }
  const parameters = [...inside.values()].filter((n) => n.op === "input")
  const root = inside.get(kernel.root) as Node.Node
  return { body: Graph.make([{ name: "out", node: root }], parameters), read }
}

/** Members and the values they read, operands first. A kernel is small, so recursion is. */
const membersInOrder = (kernel: Kernel): ReadonlySet<Node.Node> => {
  const order = new Set<Node.Node>()
  const visit = (node: Node.Node): void => {
    if (order.has(node)) return
    if (kernel.members.has(node)) node.operands.forEach(visit)
    order.add(node)
  }
  visit(kernel.root)
  return order
}

/** A concat of more parts than a kernel has bindings becomes a concat of concats. */
const splitConcats = (graph: Graph.Graph, most: number): Graph.Graph => {
  const wide = (n: Node.Node): boolean => n.op === "concat" && n.operands.length > most
  if (!graph.nodes.some(wide)) return graph
  return Graph.transform(graph, (node, build) => {
    if (node.op !== "concat") return node
    let parts = node.operands
    while (parts.length > most) {
      const groups: Array<Node.Node> = []
      for (let i = 0; i < parts.length; i += most) {
        groups.push(build.add("concat", parts.slice(i, i + most), node.attrs) as Node.Node)
      }
      parts = groups
    }
    return parts === node.operands
      ? node
      : (build.add("concat", parts, node.attrs, { at: node.at, label: node.label }) as Node.Node)
  })
}

const describe = (kernel: Kernel): Diagnostic => {
  const inner = [...kernel.members].filter((n) => n !== kernel.anchor && n !== kernel.root).length
  const { anchor, root } = kernel
  const around = inner === 0 ? "" : `, ${inner} more folded in`
  const made =
    anchor === undefined
      ? `${root.op} elementwise`
      : anchor === root
        ? anchor.op
        : `${anchor.op} up to ${root.op}`
  return {
    pass: "fuse-elementwise",
    outcome: "note",
    ...about(anchor ?? root),
    nearest: `one kernel: ${made}${around}`
  }
}
