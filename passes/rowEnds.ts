import * as Graph from "../ir/Graph.ts"
import type { Node } from "../ir/Node.ts"
import * as RowAxes from "../ir/rowAxes.ts"

/** Values between a normalisation and the end of its kernel. */
const mostBetween = 64

/** For each normalisation the values that its kernel may end with: all that depends on it meets there, computed row by row. */
export const rowEnds = (graph: Graph.Graph): ReadonlyMap<Node, ReadonlySet<Node>> => {
  const found = new Map<Node, ReadonlySet<Node>>()
  const anchors = graph.nodes.filter(RowAxes.isNormalisation)
  if (anchors.length === 0) return found
  const ids = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const users = Graph.users(graph)
  const outputs = new Set(graph.outputs.map((o) => o.node))
  for (const anchor of anchors) {
    const ends = new Set<Node>()
    const known = new Map<Node, RowAxes.RowAxes>([[anchor, RowAxes.ofAnchor(anchor)]])
    let last: Node = anchor
    const waiting = new Set<Node>()
    while (known.size < mostBetween && !outputs.has(last)) {
      for (const user of users.get(last) as ReadonlyArray<Node>) waiting.add(user)
      if (waiting.size === 0) break
      last = [...waiting].reduce((a, b) => ((ids.get(a) as number) < (ids.get(b) as number) ? a : b))
      waiting.delete(last)
      const axes = RowAxes.after(last, (o) => known.get(o))
      if (axes === undefined) break
      known.set(last, axes)
      if (waiting.size === 0 && RowAxes.holdsRows(anchor, last, axes)) ends.add(last)
    }
    found.set(anchor, ends)
  }
  return found
}
