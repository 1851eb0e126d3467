import * as Dim from "../ir/Dim.ts"
import type * as Graph from "../ir/Graph.ts"
import * as Node from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import * as Scalar from "../ir/Scalar.ts"
import * as TensorType from "../ir/TensorType.ts"
import * as Formula from "./formula.ts"
import { classifyMask } from "./mask/classify.ts"
import { visibleKeys } from "./mask/visibleKeys.ts"

/** What attention became, in words and formulas: texts only, for people and tools alike. */
export interface Fusion {
  /** Queries and keys of each logit that a pair has, as the kernel reads them: `f32[B, 3, S, 8]`. */
  readonly logits: ReadonlyArray<{ readonly q: string; readonly k: string }>
  readonly v: string
  /** What makes weights of scores; with `none` a score is a weight. */
  readonly normaliser: "softmax" | "none"
  /** How many query heads read one key head: `"3"`, `"G"`, `"1"`. */
  readonly group: string
  /** What becomes of a logit before the softmax: `logit · 0.125 + bias[h, i, j]`; undefined where it is long. */
  readonly score?: string | undefined
  readonly mask?: Mask | undefined
  /** The logit of a column without value, where there is one. */
  readonly sink?: string | undefined
  /** What a weight is multiplied by, where it is. */
  readonly probability?: string | undefined
}

/** Who sees whom, and what the analysis made of it. */
export interface Mask {
  /** In a few words: `causal and window of 65 keys`. */
  readonly kind: string
  /** The condition itself: `j ≤ i`; undefined where it is long. */
  readonly formula?: string | undefined
  /** The score of the pairs that are masked: `-inf`, or a number that is kept. */
  readonly fill: string
  /** The keys that the kernel visits for query row i: from the first up to the second, which is not one of them. */
  readonly keys?: { readonly from: string; readonly to: string } | undefined
  /** Whether row i sees all of these keys; otherwise the mask is asked for each. */
  readonly exact: boolean
  /** How much of the score matrix that is, as a formula in the lengths. */
  readonly visible?: string | undefined
  /** The same as a number, at some lengths. */
  readonly example?: { readonly sizes: Dim.Bindings; readonly fraction: number } | undefined
}

type Flash = Node.NodeOf<"flash_attention">

/** Names for the inputs of a region: captured tensors are called what the person called them. */
const namesOf = (node: Flash, region: Graph.Graph): ReadonlyMap<string, string> => {
  const { captures: captured } = parts(node.operands, node.attrs)
  const first = region.inputs.length - captured.length
  return new Map(
    captured.flatMap((c, i) => {
      const own = region.inputs[first + i]?.attrs.name
      const name = c.op === "input" ? c.attrs.name : c.label
      return own === undefined || name === undefined ? [] : [[own, name] as const]
    })
  )
}

export const make = (node: Flash): Fusion => {
  const { v, terms } = parts(node.operands, node.attrs)
  const [heads, keyHeads] = [node, v].map((x) => x.type.shape[1] as Dim.Dim) as [Dim.Dim, Dim.Dim]
  const { score, mask, fill, sink, probability } = node.attrs
  const said = (region: Graph.Graph | undefined): string | undefined =>
    region === undefined ? undefined : Formula.formulas(region, namesOf(node, region))[0]
  return {
    logits: terms.map(({ q, k }) => ({ q: TensorType.print(q.type), k: TensorType.print(k.type) })),
    v: TensorType.print(v.type),
    normaliser: node.attrs.normaliser === "none" ? "none" : "softmax",
    group: Dim.print(Dim.divideExact(heads, keyHeads) ?? Dim.one),
    score: said(score),
    ...(mask === undefined ? {} : { mask: maskOf(node, mask, fill, said(mask)) }),
    ...(sink === undefined ? {} : { sink: said(sink) ?? "a long formula" }),
    ...(probability === undefined ? {} : { probability: said(probability) ?? "a long formula" })
  }
}

const maskOf = (node: Flash, mask: Graph.Graph, fill: number, formula: string | undefined): Mask => {
  const range = visibleKeys(node, mask)
  const [lo, hi, fullLo, fullHi] = range.outputs.map((o) => o.node) as [
    Node.Node,
    Node.Node,
    Node.Node,
    Node.Node
  ]
  const [q, k] = node.operands as readonly [Node.Node, Node.Node]
  const [rows, length] = [q.type.shape[2] as Dim.Dim, k.type.shape[2] as Dim.Dim]
  // The kernel reads ranges within 0..S and in order; people know that much.
  const from = without(lo, "min", (x) => x.op === "dim" && Dim.equals(x.attrs.value, length))
  const to = without(hi, "max", (x) => x === lo || isNumber(x, 0))
  const names = new Map([...namesOf(node, range), ["first", "i"], ["last", "i"]])
  const outputs = [from, to, lo, hi, fullLo, fullHi].map((n, i) => ({ name: String(i), node: n }))
  const [start, end, ...ends] = Formula.formulas({ ...range, outputs }, names)
  const keys = start === undefined || end === undefined ? undefined : { from: start, to: end }
  const all = isNumber(from, 0) && to.op === "dim"
  return {
    kind: classifyMask(mask),
    ...(formula === undefined ? {} : { formula }),
    fill: fill === -Infinity ? "-inf" : Formula.short(fill),
    // All keys, or what is not known: nothing worth saying.
    ...(keys === undefined || all ? {} : { keys, visible: fractionOf(from, to, keys, rows, length) }),
    exact: ends[0] !== undefined && ends[0] === ends[2] && ends[1] !== undefined && ends[1] === ends[3],
    ...(all ? {} : sampled(range, rows, length))
  }
}

const isNumber = (node: Node.Node, value: number): boolean =>
  node.op === "constant" && node.attrs.values[0] === value

/** The other operand of a `min` or `max` that only keeps a range in bounds. */
const without = (node: Node.Node, op: "min" | "max", bound: (operand: Node.Node) => boolean): Node.Node => {
  if (node.op !== op) return node
  const [x, y] = node.operands as readonly [Node.Node, Node.Node]
  return bound(x) ? y : bound(y) ? x : node
}

/** The share of pairs that are visible: in closed form where rows grow by a key each, else as the sum it is. */
const fractionOf = (
  from: Node.Node,
  to: Node.Node,
  keys: { readonly from: string; readonly to: string },
  rows: Dim.Dim,
  length: Dim.Dim
): string => {
  const [t, s] = [rows, length].map((d) => (d.terms.length > 1 ? `(${Dim.print(d)})` : Dim.print(d))) as [
    string,
    string
  ]
  const end = without(to, "min", (x) => x.op === "dim")
  const ahead = offset(end)
  if (isNumber(from, 0) && ahead === 1)
    return `(${Dim.print(rows)} + 1) / (2 · ${s})${t === s ? "" : ` where ${t} ≤ ${s}`}`
  const behind = offset(without(from, "max", (x) => isNumber(x, 0)))
  if (ahead !== undefined && behind !== undefined) return `at most ${ahead - behind} / ${s}`
  if (isNumber(from, 0) && !readsRow(to)) return `${grouped(keys.to)} / ${s}`
  const seen = isNumber(from, 0)
    ? keys.to
    : `${keys.to} − ${from.op === "sub" || from.op === "add" ? `(${keys.from})` : keys.from}`
  return `Σᵢ ${grouped(seen)} / (${t} · ${s})`
}

/** In brackets, unless the formula is one name, call or bracket already. */
const grouped = (formula: string): string => {
  let depth = 0
  for (const c of formula) {
    if (c === "(" || c === "[") depth++
    else if (c === ")" || c === "]") depth--
    else if (c === " " && depth === 0) return `(${formula})`
  }
  return formula
}

const rowNames: ReadonlySet<string> = new Set(["first", "last"])

const readsRow = (node: Node.Node): boolean =>
  Node.postOrder([node]).some((n) => n.op === "input" && rowNames.has(n.attrs.name))

/** c of `i + c`. */
const offset = (node: Node.Node): number | undefined => {
  const isRow = (n: Node.Node | undefined): boolean => n?.op === "input" && rowNames.has(n.attrs.name)
  if (isRow(node)) return 0
  const [x, y] = node.operands
  if (node.op !== "add" && node.op !== "sub") return undefined
  const value = y?.op === "constant" ? y.attrs.values[0] : undefined
  return isRow(x) && value !== undefined ? (node.op === "add" ? value : -value) : undefined
}

/** Lengths that are symbols are this long in examples. */
const exampleLength = 1024

/** Rows that are looked at for a number. */
const rowsSeen = 64

/** The share of pairs within the range at some lengths, from rows that stand for all; nothing where it depends on data. */
const sampled = (range: Graph.Graph, rows: Dim.Dim, length: Dim.Dim): Pick<Mask, "example"> => {
  const symbols = [...new Set([...Dim.symbols(rows), ...Dim.symbols(length)])]
  const sizes: Dim.Bindings = Object.fromEntries(symbols.map((s) => [s, exampleLength]))
  const needed = range.nodes.flatMap((n) => (n.op === "dim" ? Dim.symbols(n.attrs.value) : []))
  if (needed.some((s) => !symbols.includes(s))) return {}
  const [t, s] = [Dim.evaluate(rows, sizes), Dim.evaluate(length, sizes)]
  if (t < 1 || s < 1) return {}
  let seen = 0
  const count = Math.min(t, rowsSeen)
  for (let n = 0; n < count; n++) {
    const row = Math.floor(((n + 0.5) * t) / count)
    const ends = evaluate(range, row, sizes)
    if (ends === undefined) return {}
    seen += ends.hi - ends.lo
  }
  return { example: { sizes: { T: t, S: s }, fraction: Number((seen / count / s).toPrecision(3)) } }
}

/** The range of one row; undefined where it reads data. */
const evaluate = (
  range: Graph.Graph,
  row: number,
  sizes: Dim.Bindings
): { readonly lo: number; readonly hi: number } | undefined => {
  const values = new Map<Node.Node, number>()
  for (const node of range.nodes) {
    if (node.op === "input") {
      if (rowNames.has(node.attrs.name)) values.set(node, row)
      continue
    }
    const operands = node.operands.map((o) => values.get(o))
    const { scalar } = Node.specOf(node.op)
    if (node.op === "constant") values.set(node, node.attrs.values[0] ?? Number.NaN)
    else if (node.op === "dim") values.set(node, Dim.evaluate(node.attrs.value, sizes))
    else if (scalar !== undefined && !operands.includes(undefined))
      values.set(node, Scalar.wrap[node.type.dtype](scalar(...(operands as ReadonlyArray<number>))))
  }
  const [lo, hi] = range.outputs.map((o) => values.get(o.node))
  return lo === undefined || hi === undefined ? undefined : { lo, hi: Math.max(lo, hi) }
}
