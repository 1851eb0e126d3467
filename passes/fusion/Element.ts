import type * as Dim from "../../ir/Dim.ts"
import type * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import type { OpName } from "../../ir/ops.ts"
import * as Scalar from "../../ir/Scalar.ts"
import * as IndexExpr from "./IndexExpr.ts"

/**
 * One element of a tensor, as a scalar expression over index variables: what remains of a graph when shapes,
 * views and broadcasts are seen through. Hash-consed by its table, so equality is `===`; operands have smaller ids.
 */
export type Element = { readonly id: number; readonly dtype: DType.DType } & (
  | { readonly _tag: "constant"; readonly value: number }
  | { readonly _tag: "index"; readonly expr: IndexExpr.IndexExpr }
  | { readonly _tag: "load"; readonly of: Node.Node; readonly at: ReadonlyArray<IndexExpr.IndexExpr> }
  | { readonly _tag: "apply"; readonly op: OpName; readonly args: ReadonlyArray<Element> }
)

export type Load = Extract<Element, { readonly _tag: "load" }>

/** Makes elements; every expression that must be comparable comes from one table. */
export interface Table {
  readonly constant: (value: number, dtype: DType.DType) => Element
  readonly index: (expr: IndexExpr.IndexExpr) => Element
  readonly load: (of: Node.Node, at: ReadonlyArray<IndexExpr.IndexExpr>) => Element
  /** An elementwise op; folds constants, index arithmetic and the laws of booleans. `dtype` is the result's. */
  readonly apply: (op: OpName, args: ReadonlyArray<Element>, dtype: DType.DType) => Element
  /** An i32 element as an index: its expression, or an atom that stands for it. */
  readonly asIndex: (e: Element, below?: Dim.Dim) => IndexExpr.IndexExpr
  /** The element that an index atom of `asIndex` stands for. */
  readonly behind: (key: string) => Element
  readonly size: () => number
}

const keyOf = (e: IndexExpr.IndexExpr): string => e.key

export const table = (): Table => {
  const known = new Map<string, Element>()
  const values = new Map<string, Element>()
  const nodes = new Map<Node.Node, number>()
  const intern = (key: string, make: (id: number) => Element): Element => {
    const same = known.get(key)
    if (same !== undefined) return same
    const made = make(known.size)
    known.set(key, made)
    return made
  }
  const constant = (value: number, dtype: DType.DType): Element => {
    const stored = Scalar.saturate[dtype](value)
    return dtype === "i32"
      ? index(IndexExpr.constant(stored))
      : intern(`c:${dtype}:${Object.is(stored, -0) ? "-0" : stored}`, (id) => ({
          _tag: "constant",
          id,
          dtype,
          value: stored
        }))
  }
  const index = (expr: IndexExpr.IndexExpr): Element => {
    const atom = IndexExpr.atomOf(expr)
    const behind = atom?._tag === "value" ? values.get(atom.key) : undefined
    return behind ?? intern(`i:${expr.key}`, (id) => ({ _tag: "index", id, dtype: "i32", expr }))
  }
  const load = (of: Node.Node, at: ReadonlyArray<IndexExpr.IndexExpr>): Element => {
    if (!nodes.has(of)) nodes.set(of, nodes.size)
    const key = `l:${nodes.get(of)}:${at.map(keyOf).join(",")}`
    return intern(key, (id) => ({ _tag: "load", id, dtype: of.type.dtype, of, at }))
  }
  const asIndex = (e: Element, below?: Dim.Dim): IndexExpr.IndexExpr => {
    if (e._tag === "index") return e.expr
    const key = `e${e.id}`
    values.set(key, e)
    return IndexExpr.value(key, below)
  }
  const raw = (op: OpName, args: ReadonlyArray<Element>, dtype: DType.DType): Element =>
    intern(`a:${op}:${dtype}:${args.map((a) => a.id).join(",")}`, (id) => ({
      _tag: "apply",
      id,
      dtype,
      op,
      args
    }))
  const self: Table = {
    constant,
    index,
    load,
    asIndex,
    behind: (key) => values.get(key) as Element,
    size: () => known.size,
    apply: (op, args, dtype) => simplify(self, op, args, dtype) ?? raw(op, args, dtype)
  }
  return self
}

export const isConstant = (e: Element, value: number): boolean => constantOf(e) === value

/** The number of a constant element, bools as 0 and 1. */
export const constantOf = (e: Element): number | undefined =>
  e._tag === "constant" ? e.value : e._tag === "index" ? IndexExpr.constantOf(e.expr) : undefined

/** Index arithmetic stays index arithmetic. */
const onIndices = (t: Table, op: OpName, args: ReadonlyArray<Element>): Element | undefined => {
  const [a, b] = args
  if (a?._tag !== "index") return undefined
  if (op === "neg") return unwrapped(t, IndexExpr.sub(IndexExpr.zero, a.expr))
  if (b?._tag !== "index") return undefined
  switch (op) {
    case "add":
      return unwrapped(t, IndexExpr.add(a.expr, b.expr))
    case "sub":
      return unwrapped(t, IndexExpr.sub(a.expr, b.expr))
    case "mul":
      if (a.expr.terms.length === 0) return unwrapped(t, IndexExpr.scale(b.expr, a.expr.constant))
      return b.expr.terms.length === 0 ? unwrapped(t, IndexExpr.scale(a.expr, b.expr.constant)) : undefined
    case "floor_div":
    case "mod": {
      const by = b.expr.terms.length === 0 && IndexExpr.isAtLeast(b.expr, one) ? b.expr.constant : undefined
      return by && t.index(op === "mod" ? IndexExpr.mod(a.expr, by) : IndexExpr.div(a.expr, by))
    }
    case "min":
      return IndexExpr.isAtLeast(IndexExpr.sub(b.expr, a.expr), IndexExpr.zero.constant) ? a : undefined
    case "max":
      return IndexExpr.isAtLeast(IndexExpr.sub(a.expr, b.expr), IndexExpr.zero.constant) ? a : undefined
    case "lt":
      return decided(t, IndexExpr.sub(b.expr, a.expr), 1)
    case "gt":
      return decided(t, IndexExpr.sub(a.expr, b.expr), 1)
    case "le":
      return decided(t, IndexExpr.sub(b.expr, a.expr), 0)
    case "ge":
      return decided(t, IndexExpr.sub(a.expr, b.expr), 0)
    default:
      return undefined
  }
}

/**
 * Arithmetic on i32 wraps, sums of atoms do not: what is made with numbers as large as hashes are made with stays an expression of its
 * steps. Numbers below these leave room for 2^15 positions at the largest stride.
 */
const unwrapped = (t: Table, e: IndexExpr.IndexExpr): Element | undefined => {
  const within = (d: Dim.Dim, limit: number): boolean =>
    d.terms.every((term) => Math.abs(term.coefficient) <= limit)
  return within(e.constant, 2 ** 30) && e.terms.every((term) => within(term.coefficient, 2 ** 16))
    ? t.index(e)
    : undefined
}

const one = IndexExpr.constant(1).constant

/** Whether difference >= least, where the ranges of the variables say so. */
const decided = (t: Table, difference: IndexExpr.IndexExpr, least: number): Element | undefined => {
  const limit = IndexExpr.constant(least).constant
  if (IndexExpr.isAtLeast(difference, limit)) return t.constant(1, "bool")
  return IndexExpr.isBelow(difference, limit) ? t.constant(0, "bool") : undefined
}

const simplify = (
  t: Table,
  op: OpName,
  args: ReadonlyArray<Element>,
  dtype: DType.DType
): Element | undefined => {
  const [a, b, c] = args
  if (a === undefined) return undefined
  const indexed = onIndices(t, op, args)
  if (indexed !== undefined) return indexed
  if (op === "cast" && a.dtype === dtype) return a
  if (op === "cast" && a._tag === "constant") return t.constant(Scalar.cast(a.dtype, dtype)(a.value), dtype)
  // A fill is rounded like any number: -1e9 is -inf in f16.
  if (op === "cast" && a._tag === "apply" && a.op === "select" && a.args.some((x) => x._tag === "constant")) {
    const [condition, ...branches] = a.args as readonly [Element, ...ReadonlyArray<Element>]
    return t.apply("select", [condition, ...branches.map((x) => t.apply("cast", [x], dtype))], dtype)
  }
  if (dtype === "bool") return onBooleans(t, op, a, b)
  if (op === "select" && b !== undefined && c !== undefined) {
    if (b === c || isConstant(a, 1)) return b
    return isConstant(a, 0) ? c : undefined
  }
  if (b === undefined) return undefined
  if (op === "mul") return isConstant(a, 1) ? b : isConstant(b, 1) ? a : undefined
  if (op === "add") return isConstant(a, 0) ? b : isConstant(b, 0) ? a : undefined
  if (op === "sub" && isConstant(b, 0)) return a
  return op === "div" && isConstant(b, 1) ? a : undefined
}

const onBooleans = (t: Table, op: OpName, a: Element, b: Element | undefined): Element | undefined => {
  if (op === "not") {
    if (a._tag === "constant") return t.constant(1 - a.value, "bool")
    return a._tag === "apply" && a.op === "not" ? a.args[0] : undefined
  }
  if (b === undefined || a.dtype !== "bool") return undefined
  if (op === "and")
    return isConstant(a, 0) || isConstant(b, 1) || a === b
      ? a
      : isConstant(b, 0) || isConstant(a, 1)
        ? b
        : undefined
  if (op === "or")
    return isConstant(a, 1) || isConstant(b, 0) || a === b
      ? a
      : isConstant(b, 1) || isConstant(a, 0)
        ? b
        : undefined
  return undefined
}

/** The elements an element is made of, itself included and last, operands first. Loads are followed into computed positions. */
export const reachable = (t: Table, roots: ReadonlyArray<Element>): ReadonlyArray<Element> => {
  const seen = new Set<Element>()
  const stack = [...roots]
  for (let e = stack.pop(); e !== undefined; e = stack.pop()) {
    if (seen.has(e)) continue
    seen.add(e)
    stack.push(...operands(t, e))
  }
  return [...seen].sort((x, y) => x.id - y.id)
}

/** What an element is computed from directly: arguments, and elements that stand inside its positions. */
export const operands = (t: Table, e: Element): ReadonlyArray<Element> => {
  const inside = (expr: IndexExpr.IndexExpr): ReadonlyArray<Element> =>
    IndexExpr.atoms(expr).flatMap((a) => (a._tag === "value" ? [t.behind(a.key)] : []))
  if (e._tag === "apply") return e.args
  if (e._tag === "load") return e.at.flatMap(inside)
  return e._tag === "index" ? inside(e.expr) : []
}

/** Rebuilds an element bottom-up: `leaf` may replace any element; index variables are substituted everywhere. */
export const rebuild = (
  t: Table,
  root: Element,
  by: ReadonlyMap<string, IndexExpr.IndexExpr>,
  leaf: (e: Element) => Element | undefined = () => undefined
): Element => {
  const made = new Map<Element, Element>()
  const position = (expr: IndexExpr.IndexExpr): IndexExpr.IndexExpr => {
    const values = IndexExpr.atoms(expr).filter((a) => a._tag === "value")
    if (values.length === 0) return IndexExpr.substitute(expr, by)
    const all = new Map(by)
    for (const a of values) all.set(a.key, t.asIndex(made.get(t.behind(a.key)) as Element, a.below))
    return IndexExpr.substitute(expr, all)
  }
  for (const e of reachable(t, [root])) {
    const own = leaf(e)
    if (own !== undefined) made.set(e, own)
    else if (e._tag === "index") made.set(e, t.index(position(e.expr)))
    else if (e._tag === "load") made.set(e, t.load(e.of, e.at.map(position)))
    else if (e._tag === "apply")
      made.set(
        e,
        t.apply(
          e.op,
          e.args.map((a) => made.get(a) as Element),
          e.dtype
        )
      )
    else made.set(e, e)
  }
  return made.get(root) as Element
}
