import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as rearrange from "./rearrange.ts"
import type { Walk } from "./Walk.ts"

/**
 * The index variables of one attention: those of the contraction of weights with values, and those summed inside. A variable
 * may turn out to be two digits: query head h = (h div G) · G + (h mod G), where only the first selects keys.
 */
export interface Basis {
  /** What became of a variable: itself, or its digits, outermost first. */
  readonly digits: (name: string) => ReadonlyArray<IndexExpr.Digit>
  readonly apply: (at: At) => At
  readonly substitution: ReadonlyMap<string, IndexExpr.IndexExpr>
  /** The basis in which a variable is split into an outer and an inner digit, the inner one of the size given. */
  readonly split: (name: string, size: Dim.Dim, inner: Dim.Dim) => Basis | undefined
}

type At = ReadonlyArray<IndexExpr.IndexExpr>

const of = (digits: ReadonlyMap<string, ReadonlyArray<IndexExpr.Digit>>): Basis => {
  const substitution = new Map([...digits].map(([name, list]) => [name, IndexExpr.count(list)] as const))
  return {
    substitution,
    digits: (name) => digits.get(name) ?? [],
    apply: (at) => at.map((e) => IndexExpr.substitute(e, substitution)),
    split: (name, size, inner) => {
      const outer = Dim.divideExact(size, inner)
      if (outer === undefined) return undefined
      const pair = [
        { name: `${name}o`, size: outer },
        { name: `${name}i`, size: inner }
      ].filter((d) => !Dim.isOne(d.size))
      return of(
        new Map(
          [...digits].map(
            ([own, list]) => [own, list.flatMap((d) => (d.name === name ? pair : [d]))] as const
          )
        )
      )
    }
  }
}

export const make = (variables: ReadonlyArray<IndexExpr.Digit>): Basis =>
  of(new Map(variables.map((v) => [v.name, Dim.isOne(v.size) ? [] : [v]] as const)))

/** A tensor whose every axis is counted by digits of the basis, each digit once: an operand that views can rearrange. */
export interface Arranged {
  readonly node: Node.Node
  readonly axes: ReadonlyArray<ReadonlyArray<IndexExpr.Digit>>
}

/** The digits that each axis counts, no digit twice; of a slice, where an axis is counted in one piece of it or in steps. */
const arranged = (node: Node.Node, at: At): Arranged | undefined => {
  const { shape } = node.type
  const axes: Array<ReadonlyArray<IndexExpr.Digit>> = []
  const used = new Set<string>()
  const [starts, stops, steps] = [shape.map(() => Dim.zero), [...shape], shape.map(() => 1)]
  for (const [axis, e] of at.entries()) {
    const size = shape[axis] as Dim.Dim
    const whole = IndexExpr.digits(e, size)
    const part = whole === undefined ? IndexExpr.piece(e, size) : undefined
    const found = whole ?? part?.digits
    if (found === undefined || found.some((d) => used.has(d.name))) return undefined
    for (const d of found) used.add(d.name)
    const length = Dim.product(found.map((d) => d.size))
    if (!Dim.equals(length, size)) {
      starts[axis] = e.constant
      steps[axis] = part?.step ?? 1
      stops[axis] = IndexExpr.pieceEnd(e.constant, length, part?.step ?? 1)
    }
    axes.push(found)
  }
  return { node: rearrange.slice(node, starts, stops, steps), axes }
}

/** A variable whose quotient or remainder is read: the split that would make both plain. */
const splittable = (at: At, frozen: ReadonlySet<string>) => {
  for (const e of at) {
    for (const atom of IndexExpr.atoms(e)) {
      if (atom._tag !== "div" && atom._tag !== "mod") continue
      const inner = IndexExpr.atomOf(atom.of)
      if (inner?._tag === "variable" && !frozen.has(inner.key))
        return { name: inner.key, size: inner.size, inner: atom.by }
    }
  }
  return undefined
}

/** The tensor seen through as many views as leave it arranged, with the basis that this needs. */
export const arrange = (
  basis: Basis,
  chain: ReadonlyArray<{ readonly node: Node.Node; readonly at: At }>,
  frozen: ReadonlySet<string>,
  mayUse: (arranged: Arranged) => boolean = () => true
): { readonly basis: Basis; readonly index: number; readonly arranged: Arranged } | undefined => {
  for (let index = chain.length - 1; index >= 0; index--) {
    const { node, at } = chain[index] as { readonly node: Node.Node; readonly at: At }
    let current: Basis | undefined = basis
    while (current !== undefined) {
      const own = current.apply(at)
      const found = arranged(node, own)
      if (found !== undefined && mayUse(found)) return { basis: current, index, arranged: found }
      const next = splittable(own, frozen)
      current = next === undefined ? undefined : current.split(next.name, next.size, next.inner)
    }
  }
  return undefined
}

/** A tensor and what it was multiplied by on the way to where it is used. */
export interface Link {
  readonly node: Node.Node
  readonly at: At
  /** Factors that no index decides, with their exponent of 1 or -1. */
  readonly factors: ReadonlyArray<Factor>
}

export interface Factor {
  readonly node: Node.Node
  readonly exponent: 1 | -1
}

/** Casts that attention makes by itself. One to f64 asks for sums in f64, and stays. */
const widening = new Set(["f16>f32", "bf16>f32"])

/** An operand and everything behind it, as far as views, exact casts and scalar factors reach. */
export const chain = (walk: Walk, node: Node.Node, at: At): ReadonlyArray<Link> => {
  const links: Array<Link> = [{ node, at, factors: [] }]
  for (let last = links[0]; last !== undefined; ) {
    const next: Link | undefined = behind(walk, last)
    if (next !== undefined) links.push(next)
    last = next
  }
  return links
}

const behind = (walk: Walk, { node, at, factors }: Link): Link | undefined => {
  const [a, b] = node.operands
  if (a === undefined) return undefined
  const same = (x: Node.Node) =>
    x.type.shape.length === node.type.shape.length &&
    x.type.shape.every((d, i) => Dim.equals(d, node.type.shape[i] as Dim.Dim))
  if (node.op === "cast" && widening.has(`${a.type.dtype}>${node.type.dtype}`))
    return { node: a, at, factors }
  if (node.op === "mul" || node.op === "div") {
    if (b === undefined) return undefined
    if (isScalar(b) && same(a))
      return { node: a, at, factors: [...factors, { node: b, exponent: node.op === "mul" ? 1 : -1 }] }
    return node.op === "mul" && isScalar(a) && same(b)
      ? { node: b, at, factors: [...factors, { node: a, exponent: 1 }] }
      : undefined
  }
  const position = walk.source(node, at)
  return position && { ...position, factors }
}

const isScalar = (node: Node.Node): boolean => node.type.shape.every(Dim.isOne)
