import type * as Node from "../ir/Node.ts"

/** A rule that was applied on the way to a node. */
export interface Step {
  readonly pass: string
  readonly rule: string
}

/**
 * Which rules made the nodes that there are, over all passes of one compilation. Nodes are told apart by identity, so whoever rebuilds one
 * says what stands for it now.
 */
export interface Trail {
  /** A rule of the pass made `to` of `from`. */
  readonly applied: (rule: string, from: Node.Node, to: Node.Node) => void
  /** `to` stands where `from` stood. */
  readonly follow: (from: Node.Node, to: Node.Node) => void
  /** The steps that led to some nodes, in the order in which they were taken. */
  readonly of: (nodes: Iterable<Node.Node>) => ReadonlyArray<Step>
}

/** Steps kept for one node: more than people read, few enough to copy from node to node. */
const most = 32

interface Taken extends Step {
  readonly order: number
}

/** An empty trail; `within` is the trail as a pass writes it. */
export const make = (): { readonly within: (pass: string) => Trail } => {
  const known = new Map<Node.Node, Set<Taken>>()
  let taken = 0
  const add = (to: Node.Node, steps: Iterable<Taken>): void => {
    const own = known.get(to) ?? new Set<Taken>()
    known.set(to, own)
    for (const step of steps) if (own.size < most) own.add(step)
  }
  const follow: Trail["follow"] = (from, to) => {
    const steps = from === to ? undefined : known.get(from)
    if (steps !== undefined) add(to, steps)
  }
  const of: Trail["of"] = (nodes) => {
    const all = new Set([...nodes].flatMap((node) => [...(known.get(node) ?? [])]))
    return [...all].sort((a, b) => a.order - b.order).map(({ pass, rule }) => ({ pass, rule }))
  }
  return {
    within: (pass) => ({
      follow,
      of,
      applied: (rule, from, to) => {
        follow(from, to)
        add(to, [{ pass, rule, order: taken++ }])
      }
    })
  }
}
