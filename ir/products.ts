import { pathsOf } from "./anchorPaths.ts"
import type { Graph } from "./Graph.ts"
import { updateOf } from "./KernelBody.ts"
import type { Node } from "./Node.ts"
import { areTwins } from "./twinProducts.ts"

/** Contractions of one body whose elements meet. */
export type Product = readonly [Node, ...Node[]]

/**
 * The contractions that end in a value, by whose elements meet: such are computed side by side. Each product gives a part of the value of its own, as
 * what RoPE turns and what passes. undefined where elements are not found in the value by their positions.
 */
export const productsIn = (
  nodes: ReadonlyArray<Node>,
  dots: ReadonlyArray<Node>,
  end: Node
): ReadonlyArray<Product> | undefined => {
  const paths = pathsOf({ nodes }, dots)?.get(end)
  if (paths === undefined) return undefined
  const products: Array<Product> = []
  for (const { anchors } of paths) {
    const met = products.filter((product) => product.some((dot) => anchors.has(dot)))
    for (const product of met) products.splice(products.indexOf(product), 1)
    const own = new Set([...met.flat(), ...anchors])
    products.push(dots.filter((dot) => own.has(dot)) as unknown as Product)
  }
  return products
}

/** Those of a body. */
export const productsOf = (body: Graph): ReadonlyArray<Product> | undefined => {
  const dots = body.nodes.filter((n) => n.op === "dot")
  const [first, ...others] = dots
  if (first === undefined || others.length === 0) return first === undefined ? [] : [[first]]
  const update = updateOf(body)
  const end = update?.operands[1] ?? body.outputs[0]?.node
  const nodes = body.nodes.filter((n) => n !== update)
  return end && productsIn(nodes, dots, end)
}

/** Whether a kernel computes the product: one contraction, or two that are alike. */
export const isOneLoop = ([one, other, ...more]: Product): boolean =>
  more.length === 0 && (other === undefined || areTwins(one, other))
