import * as Reference from "../../backends/reference/Reference.ts"
import type * as Dim from "../../ir/Dim.ts"
import * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"

/** What mask analysis found out about one attention node, measured against the mask itself. */
export interface Findings {
  /** Blocks, and rows, of which a visible key lies outside [lo, hi), or a hidden one inside [fullLo, fullHi): must be empty. */
  readonly wrong: ReadonlyArray<string>
  /** Keys visited, and those that would do; the closer, the better the analysis. */
  readonly visited: number
  readonly needed: number
}

/** Checks the `range` of every attention node over blocks of 1 to 4 query rows, and the `rowRange` of every row, against every key. */
export const checkRanges = (
  graph: Graph.Graph,
  inputs: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings
): Findings => {
  const isFlash = (node: Node): node is NodeOf<"flash_attention"> => node.op === "flash_attention"
  const found = [
    ...graph.nodes.filter(isFlash).map((node) => check(node, graph, inputs, sizes)),
    ...graph.nodes
      .filter((node) => node.op === "fused")
      .flatMap(({ operands, attrs: { body } }) => {
        const given = operands.map((o, n) => ({ name: `o${n}`, node: o }))
        const values = Reference.evaluate(Graph.make(given, graph.inputs), inputs, sizes)
        return body.nodes.filter(isFlash).map((node) => check(node, body, values, sizes))
      })
  ]
  return {
    wrong: found.flatMap((f) => f.wrong),
    visited: found.reduce((sum, f) => sum + f.visited, 0),
    needed: found.reduce((sum, f) => sum + f.needed, 0)
  }
}

const check = (
  node: NodeOf<"flash_attention">,
  graph: Graph.Graph,
  inputs: ReadonlyArray<HostArray>,
  sizes: Dim.Bindings
): Findings => {
  const { mask, range, rowRange } = node.attrs
  if (mask === undefined || range === undefined) return { wrong: [], visited: 0, needed: 0 }
  const [q, k, , ...captured] = node.operands
  const outputs = captured.map((capture, i) => ({ name: `c${i}`, node: capture }))
  const captures = Reference.evaluate(Graph.make(outputs, graph.inputs), inputs, sizes)
  const visible = Reference.region(mask, captures, sizes)
  const ofBlock = Reference.region(range, captures, sizes)
  const ofRow = rowRange && Reference.region(rowRange, captures, sizes)
  const [B, H, T] = Shape.evaluate((q as NonNullable<typeof q>).type.shape, sizes) as [number, number, number]
  const S = Shape.evaluate((k as NonNullable<typeof k>).type.shape, sizes)[2] as number
  const wrong: Array<string> = []
  let [visited, needed] = [0, 0]
  const block = (b: number, h: number, first: number, last: number, found: ArrayLike<number>): number => {
    const [lo, hi, fullLo, fullHi] = Array.from(found) as [number, number, number, number]
    let [least, most] = [S, 0]
    for (let i = first; i <= last; i++) {
      for (let j = 0; j < S; j++) {
        const sees = visible(b, h, i, j)[0] !== 0
        if (sees) [least, most] = [Math.min(least, j), Math.max(most, j + 1)]
        const where = `b=${b} h=${h} rows ${first}..${last}, row ${i}, key ${j}`
        if (sees && (j < lo || j >= hi)) wrong.push(`${where}: visible, but outside [${lo}, ${hi})`)
        if (!sees && j >= fullLo && j < fullHi)
          wrong.push(`${where}: hidden, but inside [${fullLo}, ${fullHi})`)
      }
    }
    return Math.max(0, most - least)
  }
  /** The keys that some row of the block may see, by the rows themselves. */
  const union = (b: number, h: number, first: number, last: number): readonly [number, number] => {
    if (ofRow === undefined) return [0, S]
    let [least, most] = [S, 0]
    for (let i = first; i <= last; i++) {
      const [lo, hi] = Array.from(ofRow(b, h, i)) as [number, number]
      if (lo < hi) [least, most] = [Math.min(least, lo), Math.max(most, hi)]
    }
    return [least, most]
  }
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let first = 0; first < T; first++) {
        for (const rows of [1, 2, 4]) {
          const last = Math.min(first + rows, T) - 1
          const bounds = Array.from(ofBlock(b, h, first, last))
          needed += block(b, h, first, last, bounds)
          const [lo, hi] = union(b, h, first, last)
          visited += Math.max(0, Math.min(bounds[1] as number, hi) - Math.max(bounds[0] as number, lo))
        }
        if (ofRow !== undefined) block(b, h, first, first, ofRow(b, h, first))
      }
    }
  }
  return { wrong, visited, needed }
}
