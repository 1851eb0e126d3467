import { Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type * as Node from "../../ir/Node.ts"
import type { Operand, Refusal, Sum, Term, Terms } from "./Attention.ts"
import * as Basis from "./Basis.ts"
import { dependsOn, named, operandsAt, sizeOf } from "./contraction.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"
import type { Walk } from "./Walk.ts"

/** Which contractions in a score are logits, and how views of their operands become queries and keys. */

const nearest = "softmax of a contraction, contracted with values"

/** The node takes so many logits for each pair. */
const mostTerms = 4

/** A contraction in the score with keys on one side and none on the other. */
interface Candidate {
  readonly load: Element.Load
  readonly contraction: Node.NodeOf<"dot">
  readonly q: ReadonlyArray<Basis.Link>
  readonly k: ReadonlyArray<Basis.Link>
  readonly depth: ReadonlyArray<IndexExpr.Digit>
  /** Variables that select its keys. */
  readonly selects: ReadonlySet<string>
}

const variablesOf = (at: ReadonlyArray<IndexExpr.IndexExpr>, except: ReadonlyArray<string>) =>
  new Set(at.flatMap((e) => [...IndexExpr.variables(e)]).filter((name) => !except.includes(name)))

const isWithin = (a: ReadonlySet<string>, ...of: ReadonlyArray<ReadonlySet<string>>): boolean =>
  [...a].every((name) => of.some((names) => names.has(name)))

/**
 * Whether one operand knows the query and the other does not, or is several times as large. Keys that are expanded to the heads of
 * queries seem to be as large until their views are undone.
 */
const isMore = (
  a: ReadonlyArray<Basis.Link>,
  b: ReadonlyArray<Basis.Link>,
  query: ReadonlyArray<string>
): boolean => {
  const [own, other] = [a.at(-1), b.at(-1)] as [Basis.Link, Basis.Link]
  const [knows, otherKnows] = [dependsOn(own.at, query), dependsOn(other.at, query)]
  if (knows !== otherKnows) return knows
  const times = Dim.divideExact(Dim.product(own.node.type.shape), Dim.product(other.node.type.shape))
  return times !== undefined && !Dim.isOne(times)
}

/** The candidates of a score, those first that are most likely the keys that all else is said about; or why there is none. */
const candidates = (
  walk: Walk,
  score: Element.Element,
  { all, key, query, values, width }: Sum,
  about: Node.Node
): Result.Result<ReadonlyArray<Candidate>, Refusal> => {
  const dots = Element.reachable(walk.table, [score]).filter(
    (e): e is Element.Load => e._tag === "load" && e.of.op === "dot"
  )
  const found: Array<Candidate> = []
  let both: Node.Node | undefined
  let integers: Node.Node | undefined
  // A single key has no index: the side that knows more then holds the queries, the left one where they know the same.
  const single = all.every((d) => !key.includes(d.name) || Dim.isOne(d.size))
  for (const load of dots) {
    const contraction = load.of as Node.NodeOf<"dot">
    const at = operandsAt(contraction, load.at, found.length === 0 ? "d" : `d${found.length}_`)
    const [left, right] = [dependsOn(at.lhs, key), dependsOn(at.rhs, key)]
    if (left && right) both = contraction
    if (!single && left === right) continue
    if (!DType.isFloat(contraction.type.dtype)) {
      integers = contraction
      continue
    }
    const [lhs, rhs] = contraction.operands as readonly [Node.Node, Node.Node]
    const chains = [Basis.chain(walk, lhs, at.lhs), Basis.chain(walk, rhs, at.rhs)] as const
    const keysFirst = single ? isMore(chains[1], chains[0], query) : left
    const kAt = keysFirst ? at.lhs : at.rhs
    found.push({
      load,
      contraction,
      q: chains[keysFirst ? 1 : 0],
      k: chains[keysFirst ? 0 : 1],
      depth: at.depth,
      selects: variablesOf(kAt, [...key, ...at.depth.map((d) => d.name)])
    })
  }
  if (found.length === 0) {
    const made = `softmax over scores that ${dots.length === 0 ? "no contraction makes" : "a contraction makes"}`
    const refuse = (node: Node.Node, failed: string, suggestion: string) =>
      Result.fail({ node, nearest: made, failed, suggestion })
    if (integers !== undefined) {
      const failed = `the logits are ${integers.type.dtype}`
      return Result.fail({
        node: integers,
        nearest: "softmax weights contracted with values",
        failed,
        suggestion: "contract floats"
      })
    }
    return both !== undefined
      ? refuse(
          both,
          "both operands of the contraction depend on the key index",
          "contract queries with keys, batched over neither's length"
        )
      : refuse(
          about,
          "no contraction of queries with keys makes the scores",
          "nothing, where this softmax is not attention"
        )
  }
  // Keys are shared by the queries that something tells apart; among those, by no more than the values are; the most heads first.
  const of = values === undefined ? new Set<string>() : variablesOf(values.at, [...key, ...width])
  const rank = ({ selects }: Candidate): number =>
    (query.length === 0 || query.some((name) => !selects.has(name)) ? 1000 : 0) +
    (isWithin(selects, of) ? 100 : 0) +
    selects.size
  return Result.succeed([...found].sort((a, b) => rank(b) - rank(a)))
}

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
      nearest,
      failed: `axis ${axis} of the ${which} (${named(x)}) has length ${Dim.print(has)}, but ${counter}`,
      suggestion:
        "give masks, queries, keys and values one length in the signature, or slice them before the contraction"
    }
  }
  return undefined
}

const unproven = (which: string, links: ReadonlyArray<Basis.Link>, about: Node.Node): Refusal => {
  const { node: x, at } = links[0] as Basis.Link
  // What a person knows best is farthest behind the views.
  const other = [...links].reverse().flatMap((link) => otherLength(which, link) ?? [])[0]
  if (other !== undefined) return { node: about, ...other }
  return {
    node: x,
    nearest,
    failed: `the ${which} are read at [${at.map(IndexExpr.print).join(", ")}] of ${named(x)}, which is not proven to be one view of it (s: axes that all share, q: queries, k: keys, d: what they contract, e: features of values)`,
    suggestion: "index every axis by one of batch, head, position and feature"
  }
}

/** What the operands of a sum over keys are. */
interface Operands {
  readonly basis: Basis.Basis
  readonly terms: Terms
  readonly v: Operand | undefined
  readonly read: ReadonlyArray<Node.Node>
}

type Chosen = readonly [Candidate, ...ReadonlyArray<Candidate>]

/** The operands behind their views, in one basis; or why not, and which candidate is to blame. */
const arrange = (
  walk: Walk,
  sum: Sum,
  chosen: Chosen,
  about: Node.Node
): Result.Result<Omit<Operands, "read">, { readonly refusal: Refusal; readonly by: Candidate | undefined }> =>
  Result.gen(function* () {
    const depth = chosen.flatMap((c) => c.depth)
    let basis = Basis.make([...sum.all, ...depth])
    const fixed = new Set([...sum.key, ...sum.width, ...depth.map((d) => d.name)])
    const take = (
      which: string,
      links: ReadonlyArray<Basis.Link>,
      frozen: ReadonlySet<string>,
      by: Candidate | undefined
    ): Result.Result<Operand, { readonly refusal: Refusal; readonly by: Candidate | undefined }> => {
      const found = Basis.arrange(basis, links, frozen)
      if (found === undefined) return Result.fail({ refusal: unproven(which, links, about), by })
      basis = found.basis
      return Result.succeed({ arranged: found.arranged, factors: (links[found.index] as Basis.Link).factors })
    }
    const values = sum.values && Basis.chain(walk, sum.values.node, sum.values.at)
    let known: Basis.Basis
    let operands: Omit<Operands, "read">
    // Keys and values first: where they are expanded, they say which digit of a head selects them. A split that one operand asks
    // for holds for all of them, so they are read again until nothing splits any more.
    do {
      known = basis
      const keys: Array<Operand> = []
      for (const c of chosen) keys.push(yield* take("keys", c.k, fixed, c))
      const v = values && (yield* take("values", values, fixed, undefined))
      const terms: Array<Term> = []
      for (const [n, c] of chosen.entries()) {
        const names = new Set([...basis.substitution.values()].flatMap((e) => [...IndexExpr.variables(e)]))
        const plain = Basis.arrange(basis, c.q, names) !== undefined
        const q = yield* take("queries", c.q, plain ? names : fixed, c)
        const { load, contraction } = c
        terms.push({ load, contraction, q, k: keys[n] as Operand, depth: c.depth.map((d) => d.name) })
      }
      operands = { basis, terms: terms as unknown as Terms, v }
    } while (basis !== known)
    return operands
  })

const namesOf = (o: Operand | undefined): ReadonlySet<string> =>
  new Set(o?.arranged.axes.flatMap((axis) => axis.map((d) => d.name)))

/** A further term whose keys digits select that select neither the keys of the first nor the values. */
const outlier = ({ terms: [first, ...rest], v, basis }: Omit<Operands, "read">, sum: Sum): Term | undefined =>
  rest.find((term) => {
    const own = [...sum.key, ...term.depth].flatMap((name) => basis.digits(name)).map((d) => d.name)
    return !isWithin(namesOf(term.k), new Set(own), namesOf(first.k), namesOf(v))
  })

/**
 * The operands of a sum over keys. Of several contractions in the score those become logits whose keys all queries share; others are
 * read from memory, as any tensor is.
 */
export const operandsOf = (
  walk: Walk,
  sum: Sum,
  score: Element.Element,
  about: Node.Node
): Result.Result<Operands, Refusal> =>
  Result.gen(function* () {
    const all = yield* candidates(walk, score, sum, about)
    const values =
      sum.values === undefined ? new Set<string>() : variablesOf(sum.values.at, [...sum.key, ...sum.width])
    let refusal: Refusal | undefined
    for (const first of all) {
      const further = all.filter((c) => c !== first && isWithin(c.selects, first.selects, values))
      let chosen: Chosen = [first, ...further.slice(0, mostTerms - 1)]
      for (;;) {
        const found = arrange(walk, sum, chosen, about)
        if (Result.isFailure(found)) {
          const { by } = found.failure
          refusal ??= found.failure.refusal
          if (by === undefined || by === first) break
          chosen = [first, ...chosen.slice(1).filter((c) => c !== by)]
          continue
        }
        const bad = outlier(found.success, sum)
        if (bad === undefined) {
          const read = all.filter((c) => !chosen.includes(c)).map((c) => c.contraction)
          return { ...found.success, read }
        }
        chosen = [first, ...chosen.slice(1).filter((c) => c.load !== bad.load)]
      }
    }
    return yield* Result.fail(refusal as Refusal)
  })
