import type { Node } from "../../ir/Node.ts"
import * as A from "./arithmetic.ts"
import * as Linear from "./Linear.ts"

/** What an analysis may write its bounds in. */
export interface Scope {
  /** First and last query of a block. */
  readonly first: Node
  readonly last: Node
  /** The number of keys. */
  readonly keys: Node
  /** A value of the mask region that does not depend on i and j, in the range region. */
  readonly unit: (node: Node) => Node
}

/** Least and largest value over the queries of a block and all keys: both, or nothing is known. */
export interface Bounds {
  readonly least: Node
  readonly most: Node
}

/** A summand of a bound: `coefficient * node`. Values that come from data may be any i32. */
interface Part {
  readonly node: Node
  readonly coefficient: number
  readonly data: boolean
}

/** Bounds of a sum of atoms; undefined where an atom has none. */
export const boundsOf = (x: Linear.Linear, scope: Scope): Bounds | undefined => {
  const [least, most]: [Array<Part>, Array<Part>] = [[], []]
  for (const { atom, coefficient } of x.terms.values()) {
    const bounds = atomBounds(atom, scope)
    if (bounds === undefined) return undefined
    const data = atom.tag === "unit"
    const low = { node: bounds.least, coefficient, data }
    const high = { node: bounds.most, coefficient, data }
    least.push(coefficient > 0 ? low : high)
    most.push(coefficient > 0 ? high : low)
  }
  return { least: sum(least, x.constant), most: sum(most, x.constant) }
}

/**
 * The sum, in an order in which nothing overflows: data is brought near zero first, which changes no comparison with an index, since
 * indices are smaller still.
 */
const sum = (parts: ReadonlyArray<Part>, constant: number): Node => {
  const [only] = parts
  if (only === undefined) return A.int(constant)
  const alone = parts.length === 1 && constant === 0 && only.coefficient === 1
  const terms = parts.map((p) => {
    const limit = Math.floor(Linear.largest / Math.abs(p.coefficient))
    const near = p.data && !alone ? nearZero(p.node, limit) : p.node
    return A.times(near, p.coefficient)
  })
  return A.add(terms.reduce(A.add), A.int(constant))
}

const nearZero = (node: Node, limit: number): Node =>
  node.op === "dim" ? node : A.clamp(node, A.int(-limit), A.int(limit))

const atomBounds = (atom: Linear.Atom, scope: Scope): Bounds | undefined => {
  switch (atom.tag) {
    case "i":
      return { least: scope.first, most: scope.last }
    case "j":
      return { least: A.int(0), most: A.sub(scope.keys, A.int(1)) }
    case "unit": {
      const node = scope.unit(atom.node)
      return { least: node, most: node }
    }
    case "quotient": {
      const of = boundsOf(atom.of, scope)
      return of && { least: A.floorDiv(of.least, atom.by), most: A.floorDiv(of.most, atom.by) }
    }
    case "remainder":
      return remainderBounds(atom.of, atom.by, scope)
    case "wrapped":
      return wrappedBounds(atom.op, boundsOf(atom.of, scope), scope.unit(atom.by))
    case "max": {
      const [left, right] = [boundsOf(atom.left, scope), boundsOf(atom.right, scope)]
      if (left === undefined || right === undefined) return undefined
      return { least: A.max(left.least, right.least), most: A.max(left.most, right.most) }
    }
    case "choice": {
      const [then, otherwise] = [boundsOf(atom.then, scope), boundsOf(atom.otherwise, scope)]
      if (then === undefined || otherwise === undefined) return undefined
      return { least: A.min(then.least, otherwise.least), most: A.max(then.most, otherwise.most) }
    }
    case "unknown":
      return undefined
  }
}

/** 0..by - 1, or closer where all values lie between two neighbouring multiples. */
const remainderBounds = (x: Linear.Linear, by: number, scope: Scope): Bounds => {
  const wide = { least: A.int(0), most: A.int(by - 1) }
  const of = boundsOf(x, scope)
  if (of === undefined) return wide
  const multiple = A.floorDiv(of.least, by)
  const same = A.eq(multiple, A.floorDiv(of.most, by))
  const start = A.times(multiple, by)
  return {
    least: A.select(same, A.sub(of.least, start), wide.least),
    most: A.select(same, A.sub(of.most, start), wide.most)
  }
}

/** The same by a size. Where a block of queries passes a multiple of it, remainders start again. */
const wrappedBounds = (op: "floor_div" | "mod", of: Bounds | undefined, by: Node): Bounds | undefined => {
  // By a size of 0 the remainder is 0.
  const largest = A.max(A.sub(by, A.int(1)), A.int(0))
  if (of === undefined) return op === "mod" ? { least: A.int(0), most: largest } : undefined
  const [low, high] = [A.floorDivBy(of.least, by), A.floorDivBy(of.most, by)]
  if (op === "floor_div") return { least: low, most: high }
  const same = A.both(A.eq(low, high), A.lt(A.int(0), by))
  const start = A.product(low, by)
  return {
    least: A.select(same, A.sub(of.least, start), A.int(0)),
    most: A.select(same, A.sub(of.most, start), largest)
  }
}
