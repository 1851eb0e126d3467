import * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import * as DTypes from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import type { Attention, Operand } from "./attention.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as rearrange from "./rearrange.ts"
import * as region from "./region.ts"
import * as roles from "./roles.ts"
import * as visible from "./visible.ts"
import type { Walk } from "./Walk.ts"

/** The node that attention becomes, and what a person may want to know about it. */
export interface Built {
  /** Of the type of the contraction it replaces. */
  readonly result: Node.Node
  readonly flash: Node.NodeOf<"flash_attention">
  /** The logarithm of the sum of exponentials of each row of scores, shaped like the rows of the softmax; if they are all its rows. */
  readonly lse: () => Node.Node | undefined
  /** The tensors that the regions read. */
  readonly captured: ReadonlyArray<Node.Node>
}

const named = (...names: ReadonlyArray<string>): ReadonlyArray<region.Parameter> =>
  names.map((name) => ({ name, dtype: "i32" as const }))

/** The score of one logit: what the graph says, times the factors that were on the queries and the keys. */
const scoreWithFactors = (walk: Walk, a: Attention): Element.Element => {
  const { table } = walk
  const factors = [...a.q.factors, ...a.k.factors]
  if (factors.length === 0) return a.score
  return Element.rebuild(table, a.score, new Map(), (e) => {
    if (!a.isLogit(e)) return undefined
    return factors.reduce((product, f) => {
      const factor = walk.element(
        f.node,
        f.node.type.shape.map(() => zero)
      )
      return table.apply(f.exponent === 1 ? "mul" : "div", [product, factor], product.dtype)
    }, e)
  })
}

const zero: IndexExpr.IndexExpr = { terms: [], constant: Dim.zero, key: "0" }

/** A score that is a number wherever a condition on positions fails: the condition and the number. */
const finiteFill = (
  score: Element.Element,
  touchesLogit: ReadonlySet<Element.Element>
):
  | {
      readonly mask: Element.Element
      readonly negated: boolean
      readonly fill: number
      readonly score: Element.Element
    }
  | undefined => {
  if (score._tag !== "apply") return undefined
  const [a, b, c] = score.args
  if (score.op === "cast" && a !== undefined && DTypes.isFloat(a.dtype)) return finiteFill(a, touchesLogit)
  if (score.op !== "select" || a === undefined || b === undefined || c === undefined || touchesLogit.has(a))
    return undefined
  const isFill = (e: Element.Element): e is Extract<Element.Element, { readonly _tag: "constant" }> =>
    e._tag === "constant" && e.value < Infinity
  if (isFill(c) && touchesLogit.has(b)) return { mask: a, negated: false, fill: c.value, score: b }
  return isFill(b) && touchesLogit.has(c) ? { mask: a, negated: true, fill: b.value, score: c } : undefined
}

/** Several columns without values weigh as one with the logarithm of the sum of their exponentials. */
const oneSink = (table: Element.Table, sinks: ReadonlyArray<Element.Element>): Element.Element | undefined =>
  sinks.length === 0
    ? undefined
    : sinks.reduce((x, y) => {
        const apply = (
          op: "max" | "min" | "sub" | "exp" | "add" | "log",
          ...args: ReadonlyArray<Element.Element>
        ) => table.apply(op, args, x.dtype)
        const [high, low] = [apply("max", x, y), apply("min", x, y)]
        const rest = apply(
          "log",
          apply("add", table.constant(1, x.dtype), apply("exp", apply("sub", low, high)))
        )
        // A column of -inf weighs nothing, and two of them have no difference.
        const alone = table.apply("is_inf", [low], "bool")
        return table.apply("select", [alone, high, apply("add", high, rest)], x.dtype)
      })

/** The same attention asked for its log-sum-exp. Rows that were broadcast or left out on the way to the values have none. */
const logSumExp = (
  a: Attention,
  r: roles.Roles,
  { operands, attrs }: Node.NodeOf<"flash_attention">,
  dtype: "f32" | "f64"
): Node.Node | undefined => {
  const sizes = a.softmax.type.shape.filter((_, axis) => axis !== a.softmax.attrs.axis)
  const groups = a.basis.apply(a.rows).map((e, axis) => IndexExpr.digits(e, sizes[axis] as Dim.Dim))
  const all = [...r.batch, ...r.head, ...r.group, ...r.row].map((d) => d.name).sort()
  const read = groups.flatMap((digits) => digits ?? []).map((d) => d.name)
  if (groups.some((g) => g === undefined) || read.sort().join() !== all.join()) return undefined
  const lse = Node.make(
    "flash_attention",
    operands,
    { ...attrs, output: "lse", dtype },
    { at: a.softmax.at }
  ) as Node.Node
  const arranged = { node: lse, axes: [r.batch, [...r.head, ...r.group], r.row] }
  const shaped = rearrange.regroup(arranged, groups as ReadonlyArray<ReadonlyArray<IndexExpr.Digit>>)
  return rearrange.reshape(shaped, sizes)
}

/** Builds the canonical node around the operands; undefined where every variable of the queries selects keys. */
export const build = (walk: Walk, a: Attention): Built | undefined => {
  const { table } = walk
  const r = roles.assign(table, a)
  if (r === undefined) return undefined
  const by = roles.indices(a, r)
  // Keys and values may be stored in different types; the wider one holds both exactly.
  const dtype = [a.q, a.k, a.v]
    .map((o: Operand) => o.arranged.node.type.dtype)
    .reduce((x: DType, y) => DTypes.promote(x, y))
  const real = dtype === "f64" ? "f64" : "f32"
  const operand = (o: Operand, ...groups: ReadonlyArray<ReadonlyArray<IndexExpr.Digit>>): Node.Node =>
    rearrange.cast(rearrange.regroup(o.arranged, groups), dtype)
  const q = operand(a.q, r.batch, [...r.head, ...r.group], r.row, r.depth)
  const k = operand(a.k, r.batch, r.head, r.key, r.depth)
  const v = operand(a.v, r.batch, r.head, r.key, r.width)

  const canonical = (e: Element.Element): Element.Element =>
    Element.rebuild(table, e, by, (x) => (a.isLogit(x) ? x : undefined))
  const score = canonical(scoreWithFactors(walk, a))
  const touchesLogit = new Set<Element.Element>()
  for (const e of Element.reachable(table, [score])) {
    if (a.isLogit(e) || Element.operands(table, e).some((x) => touchesLogit.has(x))) touchesLogit.add(e)
  }
  const split = visible.split(table, score, a.isLogit)
  const masked = !Element.isConstant(split.visible, 1)
  const filled = masked ? undefined : finiteFill(split.value, touchesLogit)
  const filledMask = filled && (filled.negated ? table.apply("not", [filled.mask], "bool") : filled.mask)
  const mask = masked ? split.visible : filledMask
  const value = filled === undefined ? split.value : filled.score
  const sink = oneSink(table, a.sinks.map(canonical))
  const factors = a.v.factors.reduce((product, f) => {
    const factor = walk.element(
      f.node,
      f.node.type.shape.map(() => zero)
    )
    return table.apply(f.exponent === 1 ? "mul" : "div", [product, factor], product.dtype)
  }, a.weight)
  const weight = canonical(factors)
  const probability = Element.isConstant(weight, 1) ? undefined : weight

  const roots = [value, mask, sink, probability].filter((e) => e !== undefined)
  const captured = region.captures(table, roots, a.isLogit)
  const make = (e: Element.Element, parameters: ReadonlyArray<region.Parameter>, result: DType) =>
    region.make(table, e, parameters, captured, real, a.isLogit, result)
  const optional = (
    e: Element.Element | undefined,
    parameters: ReadonlyArray<region.Parameter>,
    result: DType
  ) => (e === undefined ? undefined : make(e, parameters, result))
  const positions = named("b", "h", "i", "j")
  const flash = Node.make(
    "flash_attention",
    [q, k, v, ...captured],
    {
      terms: undefined,
      normaliser: undefined,
      score: make(value, [{ name: "logit", dtype: real }, ...positions], real),
      mask: optional(mask, positions, "bool"),
      sink: optional(sink, named("b", "h", "i"), real),
      probability: optional(probability, positions, real),
      range: undefined,
      rowRange: undefined,
      fill: filled === undefined ? -Infinity : filled.fill,
      output: "result",
      dtype: a.node.type.dtype
    },
    { at: a.softmax.at ?? a.node.at, label: a.node.label ?? a.softmax.label }
  )
  const digits = a.result.map((name) => a.basis.digits(name))
  const arranged = { node: flash as Node.Node, axes: [r.batch, [...r.head, ...r.group], r.row, r.width] }
  const result = rearrange.reshape(rearrange.regroup(arranged, digits), a.node.type.shape)
  return { result, flash, captured, lse: () => logSumExp(a, r, flash, real) }
}
