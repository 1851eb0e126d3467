import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import * as NodeModule from "../../ir/Node.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as views from "./views.ts"

/** Values that belong to a row: seen at every element of a tensor, the same along one axis. */

type At = ReadonlyArray<IndexExpr.IndexExpr>

/** One variable for each axis of a tensor. */
export const everywhere = (node: Node.Node): At =>
  node.type.shape.map((size, axis) => IndexExpr.variable(`x${axis}`, size))

export const withoutAxis = (at: At, axis: number): At => at.filter((_, a) => a !== axis)

export const sameAt = (a: At, b: At): boolean =>
  a.length === b.length && a.every((e, i) => IndexExpr.equals(e, b[i] as IndexExpr.IndexExpr))

/** What a value is behind views and float conversions, and where it is read. */
export const resolve = (node: Node.Node, at: At): views.Position => {
  let current: views.Position = { node, at }
  for (;;) {
    const { node: n, at: p } = current
    const x = n.operands[0]
    const converts = n.op === "cast" && DType.isFloat(n.type.dtype) && x !== undefined
    const next = converts ? { node: x, at: p } : views.source(n, p)
    if (next === undefined) return current
    current = next
  }
}

/** Whether a tensor stretches to the shape of another. */
export const stretches = (value: Node.Node, like: Node.Node): boolean => {
  const [own, all] = [value.type.shape, like.type.shape]
  return (
    own.length <= all.length &&
    own.every((d, i) => Dim.isOne(d) || Dim.equals(d, all[all.length - own.length + i] as Dim.Dim))
  )
}

/** What `value`, broadcast against `like`, is behind views, as a value of each row along `axis`; undefined if it is not one. */
export const rowOf = (value: Node.Node, like: Node.Node, axis: number): Node.Node | undefined => {
  if (!stretches(value, like)) return undefined
  const at = everywhere(like)
  const found = resolve(value, views.broadcasted(at, value.type.shape))
  return sameAt(found.at, withoutAxis(at, axis)) ? found.node : undefined
}

/** Expressions of more steps than this are not looked through. */
const deepest = 8

/** Whether `value`, broadcast against `like`, is the same all along an axis, as far as shapes and views tell. */
export const isConstantAlong = (value: Node.Node, like: Node.Node, axis: number): boolean => {
  const at = everywhere(like)
  const own = at[axis] as IndexExpr.IndexExpr
  const name = [...IndexExpr.variables(own)][0]
  if (!stretches(value, like)) return false
  if (name === undefined) return true
  const pending: Array<views.Position & { readonly depth: number }> = [
    { node: value, at: views.broadcasted(at, value.type.shape), depth: 0 }
  ]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, at: p } = resolve(next.node, next.at)
    if (!p.some((e) => IndexExpr.variables(e).has(name))) continue
    const { family } = NodeModule.specOf(node.op)
    if ((family !== "elementwise" && family !== "compare") || next.depth >= deepest) return false
    for (const o of node.operands)
      pending.push({ node: o, at: views.broadcasted(p, o.type.shape), depth: next.depth + 1 })
  }
  return true
}
