import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import type { Shape } from "../../ir/Shape.ts"
import * as IndexExpr from "./IndexExpr.ts"

/** An element of a tensor: one index for each axis. */
export interface Position {
  readonly node: Node.Node
  readonly at: ReadonlyArray<IndexExpr.IndexExpr>
}

/** Positions of the operand that NumPy broadcasting reads for a position of the result. */
export const broadcasted = (
  at: ReadonlyArray<IndexExpr.IndexExpr>,
  operand: Shape
): ReadonlyArray<IndexExpr.IndexExpr> =>
  operand.map((size, axis) =>
    Dim.isOne(size) ? IndexExpr.zero : (at[at.length - operand.length + axis] as IndexExpr.IndexExpr)
  )

/** Runs of axes that hold the same elements on both sides of a reshape, so that each is reindexed by itself. */
const runs = (
  from: Shape,
  to: Shape
): ReadonlyArray<{ readonly from: readonly [number, number]; readonly to: readonly [number, number] }> => {
  const prefixes = (shape: Shape): ReadonlyArray<string> => {
    const products = [Dim.one]
    for (const d of shape) products.push(Dim.mul(products.at(-1) as Dim.Dim, d))
    return products.map((d) => d.key)
  }
  const [left, right] = [prefixes(from), prefixes(to)]
  const result: Array<{ from: readonly [number, number]; to: readonly [number, number] }> = []
  let [i, j] = [0, 0]
  while (i < from.length || j < to.length) {
    let [nextI, nextJ] = [from.length, to.length]
    for (let k = i + 1; k <= from.length; k++) {
      const same = right.indexOf(left[k] as string, j + 1)
      if (same >= 0) {
        nextI = k
        nextJ = same
        break
      }
    }
    // Trailing axes of size 1 belong to the run that they follow.
    if (nextI === from.length || nextJ === to.length) [nextI, nextJ] = [from.length, to.length]
    result.push({ from: [i, nextI], to: [j, nextJ] })
    ;[i, j] = [nextI, nextJ]
  }
  return result
}

/** Where a reshape reads, in terms of the position of its result: within each run, count and split again. */
export const reshaped = (
  at: ReadonlyArray<IndexExpr.IndexExpr>,
  from: Shape,
  to: Shape
): ReadonlyArray<IndexExpr.IndexExpr> => {
  const result: Array<IndexExpr.IndexExpr> = []
  for (const run of runs(from, to)) {
    const linear = to
      .slice(...run.to)
      .reduce(
        (sum, size, k) => IndexExpr.add(IndexExpr.scale(sum, size), at[run.to[0] + k] as IndexExpr.IndexExpr),
        IndexExpr.zero
      )
    const sizes = from.slice(...run.from)
    const wide = sizes.map((_, k) => k).filter((k) => !Dim.isOne(sizes[k] as Dim.Dim))
    const own = sizes.map((): IndexExpr.IndexExpr => IndexExpr.zero)
    let stride = Dim.one
    for (let n = wide.length - 1; n >= 0; n--) {
      const k = wide[n] as number
      const size = sizes[k] as Dim.Dim
      const outer = IndexExpr.div(linear, stride)
      own[k] = n === 0 ? outer : IndexExpr.mod(outer, size)
      stride = Dim.mul(stride, size)
    }
    result.push(...own)
  }
  return result
}

const replaced = <A>(list: ReadonlyArray<A>, index: number, by: A): ReadonlyArray<A> =>
  list.map((x, i) => (i === index ? by : x))

/** The part of a concat that a position lies in for certain, and the position in it. */
const part = (node: Node.NodeOf<"concat">, at: ReadonlyArray<IndexExpr.IndexExpr>): Position | undefined => {
  const { axis } = node.attrs
  const x = at[axis] as IndexExpr.IndexExpr
  let start = Dim.zero
  for (const operand of node.operands) {
    const end = Dim.add(start, operand.type.shape[axis] as Dim.Dim)
    if (IndexExpr.isAtLeast(x, start) && IndexExpr.isBelow(x, end)) {
      return { node: operand, at: replaced(at, axis, IndexExpr.sub(x, IndexExpr.dim(start))) }
    }
    start = end
  }
  return repeated(node, at)
}

/** A list of numbers as a function of the position p in it: first + a · (p div g), or first + a · (p mod g), for some g. */
export const fitted = (
  starts: ReadonlyArray<number>,
  p: IndexExpr.IndexExpr
): IndexExpr.IndexExpr | undefined => {
  const n = starts.length
  for (let g = 1; g <= n; g++) {
    if (n % g !== 0) continue
    const step = (starts[g] ?? starts[0] ?? 0) - (starts[0] as number)
    if (starts.every((s, i) => s === (starts[0] as number) + step * Math.floor(i / g))) {
      const quotient = IndexExpr.scale(IndexExpr.div(p, Dim.constant(g)), Dim.constant(step))
      return IndexExpr.add(quotient, IndexExpr.constant(starts[0] as number))
    }
    const inner = (starts[1] ?? 0) - (starts[0] as number)
    if (g > 1 && starts.every((s, i) => s === (starts[0] as number) + inner * (i % g))) {
      const remainder = IndexExpr.scale(IndexExpr.mod(p, Dim.constant(g)), Dim.constant(inner))
      return IndexExpr.add(remainder, IndexExpr.constant(starts[0] as number))
    }
  }
  return undefined
}

/** A concat of equally long pieces of one tensor: the tensor itself again and again, or slices of it in a regular order. */
const repeated = (
  node: Node.NodeOf<"concat">,
  at: ReadonlyArray<IndexExpr.IndexExpr>
): Position | undefined => {
  const { axis } = node.attrs
  const first = node.operands[0] as Node.Node
  const length = first.type.shape[axis] as Dim.Dim
  if (node.operands.some((o) => !Dim.equals(o.type.shape[axis] as Dim.Dim, length))) return undefined
  const x = at[axis] as IndexExpr.IndexExpr
  const within = IndexExpr.mod(x, length)
  if (node.operands.every((o) => o === first)) return { node: first, at: replaced(at, axis, within) }
  const starts: Array<number> = []
  const base = first.operands[0]
  for (const o of node.operands) {
    if (o.op !== "slice" || o.operands[0] !== base || o.attrs.steps.some((s) => s !== 1)) return undefined
    const others = o.attrs.starts.every((s, i) => i === axis || s.terms.length === 0)
    const start = Dim.value(o.attrs.starts[axis] as Dim.Dim)
    if (!others || start === undefined) return undefined
    starts.push(start)
  }
  const from = fitted(starts, IndexExpr.div(x, length))
  return from && base && { node: base, at: replaced(at, axis, IndexExpr.add(from, within)) }
}

/** The element that a movement op copies, for an op that copies exactly one known element; undefined for all else. */
export const source = (node: Node.Node, at: ReadonlyArray<IndexExpr.IndexExpr>): Position | undefined => {
  const x = node.operands[0]
  if (x === undefined) return undefined
  switch (node.op) {
    case "transpose": {
      const own = [...at]
      node.attrs.perm.forEach((axis, i) => {
        own[axis] = at[i] as IndexExpr.IndexExpr
      })
      return { node: x, at: own }
    }
    case "reshape":
      return { node: x, at: reshaped(at, x.type.shape, node.type.shape) }
    case "broadcast":
      return { node: x, at: broadcasted(at, x.type.shape) }
    case "slice":
      return {
        node: x,
        at: at.map((e, i) =>
          IndexExpr.add(
            IndexExpr.scale(e, Dim.constant(node.attrs.steps[i] as number)),
            IndexExpr.dim(node.attrs.starts[i] as Dim.Dim)
          )
        )
      }
    case "concat":
      return part(node, at)
    case "pad": {
      const own = at.map((e, i) => IndexExpr.sub(e, IndexExpr.dim(node.attrs.low[i] as Dim.Dim)))
      return own.every((e, i) => IndexExpr.isWithin(e, x.type.shape[i] as Dim.Dim))
        ? { node: x, at: own }
        : undefined
    }
    default:
      return undefined
  }
}
