import * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import * as DTypes from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import type { Shape } from "../../ir/Shape.ts"
import type { Attention, Operand, Statistic, Term } from "./Attention.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import * as rearrange from "./rearrange.ts"
import * as region from "./region.ts"
import * as roles from "./roles.ts"
import * as visible from "./visible.ts"
import type { Walk } from "./Walk.ts"
import * as zeros from "./zeros.ts"

/** The node that attention becomes, and what a person may want to know about it. */
export interface Built {
  /** Of the shape of the node it replaces. */
  readonly result: Node.Node
  readonly flash: Node.NodeOf<"flash_attention">
  /** A statistic of each row of scores, shaped like the rows of the softmax; if they are all its rows. */
  readonly statistic: (output: Statistic) => Node.Node | undefined
  /** The tensors that the regions read. */
  readonly captured: ReadonlyArray<Node.Node>
}

const named = (...names: ReadonlyArray<string>): ReadonlyArray<region.Parameter> =>
  names.map((name) => ({ name, dtype: "i32" as const }))

const scaled = ({ table, element }: Walk, e: Element.Element, factors: Operand["factors"]): Element.Element =>
  factors.reduce((product, { node, exponent }) => {
    const factor = element(
      node,
      node.type.shape.map(() => IndexExpr.zero)
    )
    return table.apply(exponent === 1 ? "mul" : "div", [product, factor], product.dtype)
  }, e)

/** The score: what the graph says, each logit times the factors that were on its queries and keys. */
const scoreWithFactors = (walk: Walk, { score, terms, logits }: Attention): Element.Element =>
  terms.every(({ q, k }) => q.factors.length + k.factors.length === 0)
    ? score
    : Element.rebuild(walk.table, score, new Map(), (e) => {
        const term = logits.get(e)
        if (term === undefined) return undefined
        const { q, k } = terms[term] as Term
        return scaled(walk, e, [...q.factors, ...k.factors])
      })

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

/** What the node takes apart from its operands: a score, who is seen, and what the others have. */
interface Masked {
  readonly value: Element.Element
  readonly mask: Element.Element | undefined
  readonly fill: number
}

const masked = (table: Element.Table, a: Attention, score: Element.Element): Masked => {
  const isLogit = (e: Element.Element): boolean => a.logits.has(e)
  const seen = ({ visible: own, value }: visible.Split, fill: number): Masked => ({
    value,
    mask: Element.isConstant(own, 1) ? undefined : own,
    fill
  })
  if (a.softmax === undefined) return seen(zeros.split(table, score, isLogit), 0)
  const split = visible.split(table, score, isLogit)
  if (!Element.isConstant(split.visible, 1)) return seen(split, -Infinity)
  const touchesLogit = new Set<Element.Element>()
  for (const e of Element.reachable(table, [score])) {
    if (isLogit(e) || Element.operands(table, e).some((x) => touchesLogit.has(x))) touchesLogit.add(e)
  }
  const filled = finiteFill(split.value, touchesLogit)
  if (filled === undefined) return seen(split, -Infinity)
  const mask = filled.negated ? table.apply("not", [filled.mask], "bool") : filled.mask
  return { value: filled.score, mask, fill: filled.fill }
}

type Digits = ReadonlyArray<IndexExpr.Digit>

const has = ({ arranged }: Operand, d: IndexExpr.Digit): boolean =>
  arranged.axes.some((axis) => axis.some((own) => own.name === d.name))

/** Keys of a further term keep an axis of length 1 where nothing of a batch or of the heads selects them. */
const needed = (o: Operand, digits: Digits): Digits => (digits.some((d) => has(o, d)) ? digits : [])

/** q, k and v of the first term, then q and k of the others, in one type that holds all of them exactly. */
const operandsOf = (a: Attention, r: roles.Roles): ReadonlyArray<Node.Node> => {
  const all = [...a.terms.flatMap(({ q, k }) => [q, k]), ...(a.v === undefined ? [] : [a.v])]
  const dtype = all.map((o) => o.arranged.node.type.dtype).reduce((x: DType, y) => DTypes.promote(x, y))
  const operand = (o: Operand, ...groups: ReadonlyArray<Digits>): Node.Node =>
    rearrange.cast(rearrange.regroup(o.arranged, groups), dtype)
  const [[q, k], ...more] = a.terms.map((term, n) => {
    const depth = r.depth[n] as Digits
    const [batch, head] = n === 0 ? [r.batch, r.head] : [needed(term.k, r.batch), needed(term.k, r.head)]
    return [
      operand(term.q, r.batch, [...r.head, ...r.group], r.row, depth),
      operand(term.k, batch, head, r.key, depth)
    ] as const
  }) as [readonly [Node.Node, Node.Node], ...ReadonlyArray<readonly [Node.Node, Node.Node]>]
  return [
    q,
    k,
    a.v === undefined ? withoutValues(a, k) : operand(a.v, r.batch, r.head, r.key, r.width),
    ...more.flat()
  ]
}

/** Values for what has none: a statistic needs any, a sum of weights a 1 for each key. */
const withoutValues = (a: Attention, k: Node.Node): Node.Node => {
  if (a.softmax !== undefined) return k
  const { dtype, shape } = k.type
  const one = Node.make("constant", [], { values: [1], type: { dtype, shape: [] } }) as Node.Node
  return Node.make("broadcast", [one], { shape: [...shape.slice(0, 3), Dim.one] }) as Node.Node
}

export type Output = "result" | Statistic

/** What the node gives in the place of `shape`, whose axes count `groups` of digits. */
const placed = (
  node: Node.Node,
  r: roles.Roles,
  output: Output,
  groups: ReadonlyArray<Digits>,
  shape: Shape
): Node.Node => {
  const axes = [r.batch, [...r.head, ...r.group], r.row, ...(output === "result" ? [r.width] : [])]
  return rearrange.reshape(rearrange.regroup({ node, axes }, groups), shape)
}

/** The same attention asked for a statistic of its rows. Rows that were broadcast or left out on the way to the values have none. */
const statistic = (
  { softmax, basis }: Attention,
  r: roles.Roles,
  { operands, attrs }: Node.NodeOf<"flash_attention">,
  output: Statistic
): Node.Node | undefined => {
  if (softmax === undefined) return undefined
  const sizes = softmax.scores.type.shape.filter((_, i) => i !== softmax.axis)
  const groups = basis.apply(softmax.rows).map((e, i) => IndexExpr.digits(e, sizes[i] as Dim.Dim))
  const all = [...r.batch, ...r.head, ...r.group, ...r.row].map((d) => d.name).sort()
  const read = groups.flatMap((digits) => digits ?? []).map((d) => d.name)
  if (groups.some((g) => g === undefined) || read.sort().join() !== all.join()) return undefined
  const dtype = operands[0]?.type.dtype === "f64" ? "f64" : "f32"
  const node = Node.make("flash_attention", operands, { ...attrs, output, dtype }, { at: softmax.node.at })
  return placed(node as Node.Node, r, output, groups as ReadonlyArray<Digits>, sizes)
}

/** Builds the canonical node around the operands; undefined where every variable of the queries selects keys. */
export const build = (
  walk: Walk,
  a: Attention,
  output: Output,
  /** Of the result; statistics have the type they are computed in. */
  dtype: DType
): Built | undefined => {
  const { table } = walk
  const r = roles.assign(table, a)
  if (r === undefined) return undefined
  const by = roles.indices(a, r)
  const operands = operandsOf(a, r)
  const real = operands[0]?.type.dtype === "f64" ? "f64" : "f32"

  const canonical = (e: Element.Element): Element.Element =>
    Element.rebuild(table, e, by, (x) => (a.logits.has(x) ? x : undefined))
  const factors = a.v?.factors ?? []
  const score = scoreWithFactors(walk, a)
  // Without a softmax a factor on the weights is a factor on the scores.
  const { value, mask, fill } = masked(
    table,
    a,
    canonical(a.softmax === undefined ? scaled(walk, score, factors) : score)
  )
  const sink = oneSink(table, a.sinks.map(canonical))
  const weight = a.softmax === undefined ? undefined : canonical(scaled(walk, a.weight, factors))
  const probability = weight === undefined || Element.isConstant(weight, 1) ? undefined : weight

  const roots = [value, mask, sink, probability].filter((e) => e !== undefined)
  const captured = region.captures(table, roots, a.logits)
  const make = (e: Element.Element, parameters: ReadonlyArray<region.Parameter>, result: DType) =>
    region.make(table, e, parameters, captured, real, a.logits, result)
  const optional = (
    e: Element.Element | undefined,
    parameters: ReadonlyArray<region.Parameter>,
    result: DType
  ) => (e === undefined ? undefined : make(e, parameters, result))
  const positions = named("b", "h", "i", "j")
  const logits = a.terms.map((_, n) => ({ name: region.logitName(n), dtype: real }) as const)
  const about = a.softmax?.node ?? a.sum.node
  const flash = Node.make(
    "flash_attention",
    [...operands, ...captured],
    {
      terms: a.terms.length === 1 ? undefined : a.terms.length,
      normaliser: a.softmax === undefined ? "none" : undefined,
      score: make(value, [...logits, ...positions], real),
      mask: optional(mask, positions, "bool"),
      sink: optional(sink, named("b", "h", "i"), real),
      probability: optional(probability, positions, real),
      range: undefined,
      rowRange: undefined,
      fill,
      output,
      dtype: output === "result" ? dtype : real
    },
    { at: about.at ?? a.sum.node.at, label: a.sum.node.label ?? about.label }
  )
  const digits = a.sum.result.map((name) => a.basis.digits(name))
  const result = placed(flash as Node.Node, r, output, digits, a.sum.node.type.shape)
  return { result, flash, captured, statistic: (wanted) => statistic(a, r, flash, wanted) }
}
