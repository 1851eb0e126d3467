import type * as Node from "../../ir/Node.ts"
import type * as Basis from "./Basis.ts"
import type * as Element from "./Element.ts"
import type * as IndexExpr from "./IndexExpr.ts"
import type { Position } from "./views.ts"

/** What attention is, read off a graph. */

/** Why a sum over keys is not attention that can be fused. */
export interface Refusal {
  /** The node that a person should look at. */
  readonly node: Node.Node
  readonly nearest: string
  readonly failed: string
  readonly suggestion: string
}

/** What a node does with rows over keys, in variables for its axes; scores are not read yet. */
export interface Sum {
  /** The node that is replaced. */
  readonly node: Node.Node
  readonly all: ReadonlyArray<IndexExpr.Digit>
  /** Variables by role: of weights and values alike, of the weights alone, of what is summed, of the values alone. */
  readonly shared: ReadonlyArray<string>
  readonly query: ReadonlyArray<string>
  readonly key: ReadonlyArray<string>
  readonly width: ReadonlyArray<string>
  /** Variables of the axes of `node`'s result, in order. */
  readonly result: ReadonlyArray<string>
  /** What weights are contracted with; nothing where they are summed, or where only a statistic of them is wanted. */
  readonly values: Position | undefined
}

/** An operand found behind its views, with the scalar factors that were on it. */
export interface Operand {
  readonly arranged: Basis.Arranged
  readonly factors: ReadonlyArray<Basis.Factor>
}

/** One of the logits that a pair of a query and a key has. */
export interface Term {
  readonly contraction: Node.NodeOf<"dot">
  /** The logit as scores read it. */
  readonly load: Element.Load
  readonly q: Operand
  readonly k: Operand
  /** Variables of what the contraction sums. */
  readonly depth: ReadonlyArray<string>
}

export type Terms = readonly [Term, ...ReadonlyArray<Term>]

/** The scores of a sum over keys, in variables that are not yet digits. */
export interface Scores {
  readonly score: Element.Element
  /** Logits of columns without values. */
  readonly sinks: ReadonlyArray<Element.Element>
  /** What a weight is multiplied by. */
  readonly weight: Element.Element
  /** Variables of the keys, in the order the softmax counts them. */
  readonly key: ReadonlyArray<string>
  /** Nothing where weights are the scores themselves. */
  readonly softmax: Softmax | undefined
}

/** What attention knows of a row of scores besides its result. */
export type Statistic = "lse" | "max" | "sum"

export interface Softmax {
  /** The softmax, or the statistic that is asked for where there is none. */
  readonly node: Node.Node
  readonly scores: Node.Node
  /** The axis of the scores that is normalised. */
  readonly axis: number
  /** Where its rows are: a position for each of its axes but the normalised one. */
  readonly rows: ReadonlyArray<IndexExpr.IndexExpr>
}

/** Everything in terms of the digits of one basis. */
export interface Attention extends Scores {
  readonly sum: Sum
  readonly basis: Basis.Basis
  readonly terms: Terms
  readonly v: Operand | undefined
  /** Contractions with keys that the scores read from memory. */
  readonly read: ReadonlyArray<Node.Node>
  /** Logits by their place among the terms. */
  readonly logits: ReadonlyMap<Element.Element, number>
}
