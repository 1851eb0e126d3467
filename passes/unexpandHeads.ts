import * as Graph from "../ir/Graph.ts"
import type * as Node from "../ir/Node.ts"
import * as NodeModule from "../ir/Node.ts"
import * as Basis from "./fusion/Basis.ts"
import { variablesOf } from "./fusion/contraction.ts"
import type * as IndexExpr from "./fusion/IndexExpr.ts"
import * as rearrange from "./fusion/rearrange.ts"
import type * as views from "./fusion/views.ts"
import * as Walk from "./fusion/Walk.ts"
import { type Pass, quiet } from "./Pass.ts"
import { attempt } from "./Statistics.ts"

/** An operand and the views it is seen through, outermost first. */
const viewsOf = (
  walk: Walk.Walk,
  node: Node.Node,
  at: views.Position["at"]
): ReadonlyArray<views.Position> => {
  const chain: Array<views.Position> = [{ node, at }]
  for (let last = chain[0]; last !== undefined; ) {
    const next: views.Position | undefined = walk.source(last.node, last.at)
    if (next !== undefined) chain.push(next)
    last = next
  }
  return chain
}

const namesOf = (x: Basis.Arranged): ReadonlySet<string> =>
  new Set(x.axes.flatMap((axis) => axis.map((d) => d.name)))

/**
 * A contraction whose operand repeats itself along a batch axis, as one that does not: digits of a batch axis that only the other
 * operand depends on become free axes of it. Σ_d q[h,i,d] k[h div G,j,d] is one contraction for each key head, with G · T rows.
 */
const unexpanded = (node: Node.NodeOf<"dot">): Node.Node | undefined => {
  const v = variablesOf(node, 0)
  if (v.shared.length === 0) return undefined
  const walk = Walk.make()
  const chains = [viewsOf(walk, v.weights, v.weightsAt), viewsOf(walk, v.values, v.valuesAt)] as const
  if (chains[0].length === 1 && chains[1].length === 1) return undefined
  const frozen = new Set([...v.key, ...v.query, ...v.width])
  let basis = Basis.make(v.all)
  const take = (chain: ReadonlyArray<views.Position>): Basis.Arranged | undefined => {
    const found = Basis.arrange(basis, chain, frozen)
    if (found !== undefined) basis = found.basis
    return found?.arranged
  }
  let [known, left, right] = [basis, take(chains[0]), take(chains[1])]
  while (known !== basis) [known, left, right] = [basis, take(chains[0]), take(chains[1])]
  if (left === undefined || right === undefined) return undefined

  const [l, r] = [namesOf(left), namesOf(right)]
  const batch = v.shared.flatMap((name) => basis.digits(name))
  const own = { left: batch.filter((d) => !r.has(d.name)), right: batch.filter((d) => !l.has(d.name)) }
  const lonely = [...own.left, ...own.right]
  // A digit that neither depends on repeats the result; that is not a matter of heads.
  if (lonely.length === 0 || own.left.some((d) => !l.has(d.name)) || own.right.some((d) => !r.has(d.name)))
    return undefined

  const shared = batch.filter((d) => !lonely.includes(d))
  const digits = (names: ReadonlyArray<string>) => names.flatMap((name) => basis.digits(name))
  const single = (list: ReadonlyArray<IndexExpr.Digit>) => list.map((d) => [d])
  // Heads of a group stay an axis of their own beside the queries: whoever reads the contraction sees which is which.
  const free = {
    left: [own.left, digits(v.query)].filter((list) => list.length > 0),
    right: [own.right, digits(v.width)].filter((list) => list.length > 0)
  }
  const contracted = digits(v.key)
  const groups = (list: typeof free.left) => [...single(shared), ...list, contracted]
  const operands = [rearrange.regroup(left, groups(free.left)), rearrange.regroup(right, groups(free.right))]
  const axes = shared.map((_, n) => n)
  const contract = (list: typeof free.left) => [axes.length + list.length]
  const product = NodeModule.make(
    "dot",
    operands,
    { lhsBatch: axes, rhsBatch: axes, lhsContract: contract(free.left), rhsContract: contract(free.right) },
    { at: node.at, label: node.label }
  ) as Node.Node
  const arranged = { node: product, axes: [...single(shared), ...free.left, ...free.right] }
  return rearrange.reshape(
    rearrange.regroup(
      arranged,
      v.result.map((name) => basis.digits(name))
    ),
    node.type.shape
  )
}

/** Contractions over expanded heads become contractions over the heads there are, where the order of heads is proven. */
export const unexpandHeads: Pass = {
  name: "unexpand-heads",
  summary: "repeat, expand+reshape, tile, 5-D grouped, gather: back to the unexpanded K and V, order proven",
  from: "traced",
  to: "traced",
  run: (graph, { count }) =>
    quiet(
      Graph.transform(
        graph,
        (node) => {
          if (node.op !== "dot") return node
          const result = attempt(count, "unexpand-heads", () => unexpanded(node))
          if (result === undefined) return node
          count("unexpand-heads")
          count.trail?.applied("unexpand-heads", node, result)
          return result
        },
        count.trail?.follow
      )
    )
}
