import type * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Sum } from "./Attention.ts"
import * as IndexExpr from "./IndexExpr.ts"
import type { Position } from "./views.ts"

/** Contractions in terms of index variables: one for each axis of the result, one for each axis that is summed. */

const axesOf = (node: Node.Node): ReadonlyArray<number> => node.type.shape.map((_, axis) => axis)
export const sizeOf = (node: Node.Node, axis: number): Dim.Dim => node.type.shape[axis] as Dim.Dim
export const named = (node: Node.Node): string => `${node.op} of ${TensorType.print(node.type)}`

/** The variables of a contraction of weights (operand `side`) with values. */
export const variablesOf = (node: Node.NodeOf<"dot">, side: 0 | 1) => {
  const { lhsBatch, rhsBatch, lhsContract, rhsContract } = node.attrs
  const [weights, values] = [node.operands[side], node.operands[1 - side]] as [Node.Node, Node.Node]
  const own =
    side === 0 ? { batch: lhsBatch, contract: lhsContract } : { batch: rhsBatch, contract: rhsContract }
  const other =
    side === 0 ? { batch: rhsBatch, contract: rhsContract } : { batch: lhsBatch, contract: lhsContract }
  const all: Array<IndexExpr.Digit> = []
  const declare = (name: string, size: Dim.Dim): string => {
    all.push({ name, size })
    return name
  }
  const shared = own.batch.map((a, n) => declare(`s${n}`, sizeOf(weights, a)))
  const key = own.contract.map((a, n) => declare(`k${n}`, sizeOf(weights, a)))
  const free = axesOf(weights).filter((a) => !own.batch.includes(a) && !own.contract.includes(a))
  const query = free.map((a, n) => declare(`q${n}`, sizeOf(weights, a)))
  const freeValues = axesOf(values).filter((a) => !other.batch.includes(a) && !other.contract.includes(a))
  const width = freeValues.map((a, n) => declare(`e${n}`, sizeOf(values, a)))
  const sizes = new Map(all.map((v) => [v.name, v.size] as const))
  const index = (name: string): IndexExpr.IndexExpr => IndexExpr.variable(name, sizes.get(name) as Dim.Dim)
  const at = (
    node: Node.Node,
    groups: ReadonlyArray<readonly [ReadonlyArray<number>, ReadonlyArray<string>]>
  ) => {
    const result = axesOf(node).map(() => IndexExpr.zero)
    for (const [axes, names] of groups) {
      for (const [n, a] of axes.entries()) result[a] = index(names[n] as string)
    }
    return result
  }
  return {
    all,
    shared,
    key,
    query,
    width,
    weights,
    values,
    weightsAt: at(weights, [
      [own.batch, shared],
      [own.contract, key],
      [free, query]
    ]),
    valuesAt: at(values, [
      [other.batch, shared],
      [other.contract, key],
      [freeValues, width]
    ]),
    result: side === 0 ? [...shared, ...query, ...width] : [...shared, ...width, ...query]
  }
}

/** Positions of both operands of a contraction, for a position of its result; summed axes get variables of the prefix: d0, d1, … */
export const operandsAt = (
  node: Node.NodeOf<"dot">,
  at: ReadonlyArray<IndexExpr.IndexExpr>,
  prefix = "d"
) => {
  const { lhsBatch, rhsBatch, lhsContract, rhsContract } = node.attrs
  const [lhs, rhs] = node.operands as readonly [Node.Node, Node.Node]
  const depth = lhsContract.map((a, n) => ({ name: `${prefix}${n}`, size: sizeOf(lhs, a) }))
  let next = lhsBatch.length
  const positions = (x: Node.Node, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>) =>
    axesOf(x).map((a): IndexExpr.IndexExpr => {
      if (batch.includes(a)) return at[batch.indexOf(a)] as IndexExpr.IndexExpr
      const d = depth[contract.indexOf(a)]
      return d === undefined ? (at[next++] as IndexExpr.IndexExpr) : IndexExpr.variable(d.name, d.size)
    })
  return { depth, lhs: positions(lhs, lhsBatch, lhsContract), rhs: positions(rhs, rhsBatch, rhsContract) }
}

export const dependsOn = (at: ReadonlyArray<IndexExpr.IndexExpr>, names: ReadonlyArray<string>): boolean =>
  at.some((e) => {
    const own = IndexExpr.variables(e)
    return names.some((n) => own.has(n))
  })

/** The sum over keys that a contraction of weights (operand `side`) with values is, and where it reads the weights. */
export const sumOf = (
  node: Node.NodeOf<"dot">,
  side: 0 | 1
): { readonly sum: Sum; readonly weights: Position } => {
  const { weights, weightsAt, values, valuesAt, ...variables } = variablesOf(node, side)
  return {
    sum: { node, ...variables, values: { node: values, at: valuesAt } },
    weights: { node: weights, at: weightsAt }
  }
}
