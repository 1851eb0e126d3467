import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import * as TensorType from "../../ir/TensorType.ts"
import * as Basis from "./Basis.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import { coefficient } from "./linear.ts"
import type { Walk } from "./Walk.ts"

/** Why a contraction of softmax weights with values is not attention that can be fused. */
export interface Refusal {
  /** The node that a person should look at. */
  readonly node: Node.Node
  readonly nearest: string
  readonly failed: string
  readonly suggestion: string
}

/** An operand found behind its views, with the scalar factors that were on it. */
export interface Operand {
  readonly arranged: Basis.Arranged
  readonly factors: ReadonlyArray<Basis.Factor>
}

/** What attention is, read off a graph: everything in terms of the digits of one basis. */
export interface Attention {
  /** The contraction of weights with values that is replaced. */
  readonly node: Node.NodeOf<"dot">
  readonly softmax: Node.NodeOf<"softmax">
  /** The contraction that makes the logits. */
  readonly contraction: Node.NodeOf<"dot">
  readonly basis: Basis.Basis
  readonly q: Operand
  readonly k: Operand
  readonly v: Operand
  /** Variables by role: of both operands of `node`, of the weights alone, of the keys in the order the softmax counts them, … */
  readonly shared: ReadonlyArray<string>
  readonly query: ReadonlyArray<string>
  readonly key: ReadonlyArray<string>
  readonly depth: ReadonlyArray<string>
  readonly width: ReadonlyArray<string>
  /** Variables of the axes of `node`'s result, in order. */
  readonly result: ReadonlyArray<string>
  /** Where the rows of the softmax are: a position for each of its axes but the normalised one. */
  readonly rows: ReadonlyArray<IndexExpr.IndexExpr>
  /** The score, in variables that are not yet digits; reads the logit as the load of `contraction` that `isLogit` knows. */
  readonly score: Element.Element
  readonly isLogit: (e: Element.Element) => boolean
  readonly sinks: ReadonlyArray<Element.Element>
  readonly weight: Element.Element
}

type Found<A> = Result.Result<A, Refusal>

const axesOf = (node: Node.Node): ReadonlyArray<number> => node.type.shape.map((_, axis) => axis)
const sizeOf = (node: Node.Node, axis: number): Dim.Dim => node.type.shape[axis] as Dim.Dim
const named = (node: Node.Node): string => `${node.op} of ${TensorType.print(node.type)}`

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

/** Positions of both operands of a contraction, for a position of its result; summed axes get the variables d0, d1, … */
const operandsAt = (node: Node.NodeOf<"dot">, at: ReadonlyArray<IndexExpr.IndexExpr>) => {
  const { lhsBatch, rhsBatch, lhsContract, rhsContract } = node.attrs
  const [lhs, rhs] = node.operands as readonly [Node.Node, Node.Node]
  const depth = lhsContract.map((a, n) => ({ name: `d${n}`, size: sizeOf(lhs, a) }))
  let next = lhsBatch.length
  const positions = (x: Node.Node, batch: ReadonlyArray<number>, contract: ReadonlyArray<number>) =>
    axesOf(x).map((a): IndexExpr.IndexExpr => {
      if (batch.includes(a)) return at[batch.indexOf(a)] as IndexExpr.IndexExpr
      const d = depth[contract.indexOf(a)]
      return d === undefined ? (at[next++] as IndexExpr.IndexExpr) : IndexExpr.variable(d.name, d.size)
    })
  return { depth, lhs: positions(lhs, lhsBatch, lhsContract), rhs: positions(rhs, rhsBatch, rhsContract) }
}

const dependsOn = (at: ReadonlyArray<IndexExpr.IndexExpr>, names: ReadonlyArray<string>): boolean =>
  at.some((e) => {
    const own = IndexExpr.variables(e)
    return names.some((n) => own.has(n))
  })

/** An axis of an operand that is longer or shorter than what counts it, so that it is read in part or not proven to be in bounds. */
const otherLength = (which: string, { node: x, at }: Basis.Link): Omit<Refusal, "node"> | undefined => {
  for (const [axis, e] of at.entries()) {
    const atom = IndexExpr.atomOf(e)
    const [has, counted] = [sizeOf(x, axis), atom?._tag === "variable" ? atom.size : undefined]
    if (atom === undefined || counted === undefined || Dim.equals(has, counted)) continue
    const counter = atom.key.startsWith("k")
      ? `the softmax runs over ${Dim.print(counted)} keys`
      : `the scores count ${Dim.print(counted)} there`
    return {
      nearest: "softmax of a contraction, contracted with values",
      failed: `axis ${axis} of the ${which} (${named(x)}) has length ${Dim.print(has)}, but ${counter}`,
      suggestion:
        "give masks, queries, keys and values one length in the signature, or slice them before the contraction"
    }
  }
  return undefined
}

/** At most this many columns without values may stand beside the keys. */
const mostSinks = 4

/** Which contraction of the score makes the logits: the one with keys on one side and none on the other. */
const findContraction = (
  walk: Walk,
  score: Element.Element,
  { all, key, query }: ReturnType<typeof variablesOf>,
  softmax: Node.Node
): Found<{ readonly load: Element.Load; readonly keySide: 0 | 1 }> => {
  const dots = Element.reachable(walk.table, [score]).filter(
    (e): e is Element.Load => e._tag === "load" && e.of.op === "dot"
  )
  const made = `softmax over scores that ${dots.length === 0 ? "no contraction makes" : "a contraction makes"}`
  const refuse = (node: Node.Node, failed: string, suggestion: string) =>
    Result.fail({ node, nearest: made, failed, suggestion })
  const candidates: Array<{ readonly load: Element.Load; readonly keySide: 0 | 1 }> = []
  let both: Node.Node | undefined
  // A single key has no index: the side that knows the query then holds the queries, the right one where neither does.
  const single = all.every((d) => !key.includes(d.name) || Dim.isOne(d.size))
  for (const load of dots) {
    const { lhs, rhs } = operandsAt(load.of as Node.NodeOf<"dot">, load.at)
    if (single) {
      candidates.push({ load, keySide: dependsOn(rhs, query) && !dependsOn(lhs, query) ? 0 : 1 })
      continue
    }
    const [left, right] = [dependsOn(lhs, key), dependsOn(rhs, key)]
    if (left && right) both = load.of
    else if (left || right) candidates.push({ load, keySide: left ? 0 : 1 })
  }
  const [first, second] = candidates
  if (first !== undefined && second === undefined) return Result.succeed(first)
  if (first !== undefined && second !== undefined) {
    const what =
      first.load.of === second.load.of
        ? "one contraction read at two positions"
        : "two contractions with keys"
    return refuse(
      second.load.of,
      `the scores combine ${what}`,
      "concatenate both queries and both keys along the contracted axis"
    )
  }
  if (both !== undefined) {
    return refuse(
      both,
      "both operands of the contraction depend on the key index",
      "contract queries with keys, batched over neither's length"
    )
  }
  return refuse(
    softmax,
    "no contraction of queries with keys makes the scores",
    "nothing, where this softmax is not attention"
  )
}

/** Reads attention off the contraction `node` whose operand `side` carries softmax weights. */
export const find = (walk: Walk, node: Node.NodeOf<"dot">, side: 0 | 1): Found<Attention> =>
  Result.gen(function* () {
    const { table } = walk
    const v = variablesOf(node, side)
    const weights = walk.element(v.weights, v.weightsAt)
    const leaves = Element.reachable(table, [weights]).filter(
      (e): e is Element.Load => e._tag === "load" && e.of.op === "softmax"
    )
    const [leaf] = leaves
    const nearest = "softmax weights contracted with values"
    if (leaf === undefined || leaves.length > 1) {
      return yield* Result.fail({
        node,
        nearest,
        failed:
          leaf === undefined
            ? "no softmax reaches the contraction"
            : `${leaves.length} softmax results are combined before the contraction`,
        suggestion: "contract each softmax with the values by itself and combine the results"
      })
    }
    const softmax = leaf.of as Node.NodeOf<"softmax">
    const refuse = (failed: string, suggestion: string, at: Node.Node = softmax): Found<never> =>
      Result.fail({ node: at, nearest, failed, suggestion })
    const weight = yield* Result.mapError(
      coefficient(table, weights, leaf),
      (failed): Refusal => ({
        node,
        nearest,
        failed,
        suggestion: "use factors and dropout masks only between the softmax and the values"
      })
    )

    // The axis that the softmax normalises must be the axis that the values are summed over.
    const { axis } = softmax.attrs
    const column = leaf.at[axis] as IndexExpr.IndexExpr
    const rows = leaf.at.filter((_, a) => a !== axis)
    const first = column.constant
    const length = Dim.product(v.all.filter((d) => v.key.includes(d.name)).map((d) => d.size))
    const counted = IndexExpr.digits(IndexExpr.sub(column, IndexExpr.dim(first)), length)
    if (counted === undefined || counted.some((d) => !v.key.includes(d.name)) || dependsOn(rows, v.key)) {
      const over = v.key.length === 0 ? "no axis" : "another axis"
      return yield* refuse(
        `the softmax normalises axis ${axis} of ${TensorType.print(softmax.type)}, but the contraction sums over ${over} of the weights`,
        "normalise over the keys, and contract the weights with the values over the same axis"
      )
    }
    const behind = Dim.value(Dim.sub(Dim.sub(sizeOf(softmax, axis), length), first))
    const before = Dim.value(first)
    if (
      behind === undefined ||
      before === undefined ||
      behind < 0 ||
      before < 0 ||
      before + behind > mostSinks
    ) {
      return yield* refuse(
        `the softmax runs over ${Dim.print(sizeOf(softmax, axis))} columns and the values over ${Dim.print(length)}`,
        "leave only a few constant columns (sinks) without values"
      )
    }
    const scores = softmax.operands[0] as Node.Node
    const columnAt = (e: IndexExpr.IndexExpr) => leaf.at.map((own, a) => (a === axis ? e : own))
    const score = walk.element(scores, leaf.at)
    const sinks = [
      ...Array.from({ length: before }, (_, n) => IndexExpr.constant(n)),
      ...Array.from({ length: behind }, (_, n) =>
        IndexExpr.dim(Dim.add(Dim.add(first, length), Dim.constant(n)))
      )
    ].map((e) => walk.element(scores, columnAt(e)))

    const { load, keySide } = yield* findContraction(walk, score, v, softmax)
    const contraction = load.of as Node.NodeOf<"dot">
    if (!DType.isFloat(contraction.type.dtype)) {
      return yield* refuse(`the logits are ${contraction.type.dtype}`, "contract floats", contraction)
    }
    const inner = operandsAt(contraction, load.at)
    const [lhs, rhs] = contraction.operands as readonly [Node.Node, Node.Node]
    const chains = {
      q: keySide === 1 ? Basis.chain(walk, lhs, inner.lhs) : Basis.chain(walk, rhs, inner.rhs),
      k: keySide === 1 ? Basis.chain(walk, rhs, inner.rhs) : Basis.chain(walk, lhs, inner.lhs),
      v: Basis.chain(walk, v.values, v.valuesAt)
    }
    const unproven = (which: string, links: ReadonlyArray<Basis.Link>): Refusal => {
      const { node: x, at } = links[0] as Basis.Link
      // What a person knows best is farthest behind the views.
      const other = [...links].reverse().flatMap((link) => otherLength(which, link) ?? [])[0]
      if (other !== undefined) return { node: softmax, ...other }
      return {
        node: x,
        nearest: "softmax of a contraction, contracted with values",
        failed: `the ${which} are read at [${at.map(IndexExpr.print).join(", ")}] of ${named(x)}, which is not proven to be one view of it (s: axes that all share, q: queries, k: keys, d: what they contract, e: features of values)`,
        suggestion: "index every axis by one of batch, head, position and feature"
      }
    }

    let basis = Basis.make([...v.all, ...inner.depth])
    const fixed = new Set([...v.key, ...v.width, ...inner.depth.map((d) => d.name)])
    const take = (
      which: string,
      links: ReadonlyArray<Basis.Link>,
      frozen: ReadonlySet<string>
    ): Found<Operand> => {
      const found = Basis.arrange(basis, links, frozen)
      if (found === undefined) return Result.fail(unproven(which, links))
      basis = found.basis
      return Result.succeed({ arranged: found.arranged, factors: (links[found.index] as Basis.Link).factors })
    }
    // Keys and values first: where they are expanded, they say which digit of a head selects them. A split that one operand asks
    // for holds for all of them, so they are read again until nothing splits any more.
    const arrange = (): Found<{ readonly k: Operand; readonly v: Operand; readonly q: Operand }> =>
      Result.gen(function* () {
        const k = yield* take("keys", chains.k, fixed)
        const values = yield* take("values", chains.v, fixed)
        const names = new Set([...basis.substitution.values()].flatMap((e) => [...IndexExpr.variables(e)]))
        const plain = Basis.arrange(basis, chains.q, names) !== undefined
        return { k, v: values, q: yield* take("queries", chains.q, plain ? names : fixed) }
      })
    let known: Basis.Basis
    let operands: { readonly k: Operand; readonly v: Operand; readonly q: Operand }
    do {
      known = basis
      operands = yield* arrange()
    } while (basis !== known)

    return {
      node,
      softmax,
      contraction,
      basis,
      ...operands,
      shared: v.shared,
      query: v.query,
      key: counted.map((d) => d.name),
      depth: inner.depth.map((d) => d.name),
      width: v.width,
      result: v.result,
      rows,
      score,
      isLogit: (e) => e === load,
      sinks,
      weight
    }
  })
