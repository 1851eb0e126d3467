import { Result } from "effect"
import type { DType } from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import type { Attention, Refusal } from "./Attention.ts"
import { type Built, build, type Output } from "./build.ts"
import * as Element from "./Element.ts"
import * as normalised from "./normalised.ts"
import * as rearrange from "./rearrange.ts"
import * as refusals from "./refusals.ts"
import * as Walk from "./Walk.ts"

/** Attention and the node that takes its place. */
export interface Fused extends Built {
  readonly found: Attention
}

/** When nodes were met, operands first. */
export type Numbers = ReadonlyMap<Node.Node, number>

/** What attention is tried with: the nodes that were met, and the largest head that kernels take. */
export interface Trial {
  readonly numbers: Numbers
  readonly mostHeadSize: number
}

/** Whether a value is computed from another, other than through what `passes` lets by. */
const dependsOn = (
  value: Node.Node,
  on: Node.Node,
  numbers: Numbers,
  passes: (node: Node.Node) => boolean
): boolean => {
  const first = numbers.get(on) ?? 0
  const seen = new Set<Node.Node>()
  const stack = [value]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node === on) return true
    // What was met before the other node cannot depend on it.
    if (seen.has(node) || (numbers.get(node) ?? first) < first || passes(node)) continue
    seen.add(node)
    stack.push(...node.operands)
  }
  return false
}

/** The node for attention that was found; `statistic` tells values that come from the scores by a node of their own. */
export const fuse = (
  walk: Walk.Walk,
  found: Attention,
  output: Output,
  dtype: DType,
  { numbers, mostHeadSize }: Trial,
  statistic: (node: Node.Node) => boolean = () => false
): Result.Result<Fused, Refusal> =>
  Result.gen(function* () {
    const knows = [...(found.softmax === undefined ? [] : [found.weight]), ...found.sinks].find((e) =>
      Element.reachable(walk.table, [e]).some((x) => found.logits.has(x))
    )
    if (knows !== undefined) return yield* Result.fail(refusals.knowsItsScore(found, knows === found.weight))
    const built = build(walk, found, output, dtype)
    if (built === undefined) return yield* Result.fail(refusals.nothingSelects(found))
    // A contraction that is read besides may be one of the logits, at another position.
    const own = (c: Node.Node): boolean =>
      found.read.includes(c) && found.terms.some(({ contraction }) => contraction === c)
    const circular = built.captured.find(
      (c) => !own(c) && found.terms.some(({ contraction }) => dependsOn(c, contraction, numbers, statistic))
    )
    if (circular !== undefined) {
      const reads = (e: Element.Element) => e._tag === "load" && e.of === circular
      const inWeights = Element.reachable(walk.table, [found.weight]).some(reads)
      return yield* Result.fail(refusals.needsScores(circular, inWeights ? "weights" : "scores"))
    }
    const unfit = refusals.unfitHead(built.flash, mostHeadSize)
    if (unfit !== undefined) return yield* Result.fail(unfit)
    return { ...built, found }
  })

/** What takes the place of a contraction of softmax weights with values, and the attention in it: one for each softmax, added up. */
export const fuseWeights = (
  node: Node.NodeOf<"dot">,
  side: 0 | 1,
  trial: Trial
): Result.Result<{ readonly result: Node.Node; readonly fused: ReadonlyArray<Fused> }, Refusal> =>
  Result.gen(function* () {
    const walk = Walk.make()
    const all = yield* normalised.find(walk, node, side)
    const own = node.type.dtype
    // Addends keep the type they are computed in: their sum is rounded once, as the contraction is.
    const dtype = all.length === 1 || own === "f64" ? own : "f32"
    const fused: Array<Fused> = []
    for (const found of all) fused.push(yield* fuse(walk, found, "result", dtype, trial))
    const total = fused
      .map((f) => f.result)
      .reduce((a, b) => Node.make("add", [a, b], {}, { at: node.at, label: node.label }) as Node.Node)
    return { result: rearrange.cast(total, own), fused }
  })
