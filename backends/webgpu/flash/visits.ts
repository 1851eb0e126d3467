import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import * as Size from "../Size.ts"
import { enclose } from "./enclosure.ts"
import type { Problem } from "./Problem.ts"

/** How the keys that a mask leaves lie among the workgroups of an attention, as plain data. Every head of keys has as many, the last rows first. */
export interface Visits {
  /** Packed rows of a key/value head, those of a workgroup, and those of one query. */
  readonly rows: Dim.Dim
  readonly block: number
  readonly group: Dim.Dim
  readonly keys: Dim.Dim
  readonly range: Graph
  /** Workgroups that divide what a block visits, where keys are split. */
  readonly splits?: Size.Size
}

/** Undefined where every workgroup visits all keys, or may have to. */
export const of = (
  { R, S, group, node, fill }: Problem,
  block: number,
  splits?: Size.Size
): Visits | undefined => {
  const { range } = node.attrs
  if (range === undefined || fill !== undefined) return undefined
  return { rows: R, block, group, keys: S, range, ...(splits === undefined ? {} : { splits }) }
}

/** Workgroups are looked at in at most so many bunches. */
const mostBunches = 1024

/** The part of a sum over all workgroups that the first so many have. */
export type Share = (workgroups: number) => number

/**
 * Parts of the pairs of queries and keys, all pairs being 1: those that workgroups visit at most, whatever the data. One that visits nothing
 * counts as if it visited a key.
 */
export const share = (visits: Visits, workgroups: number, sizes: Dim.Bindings): Share => {
  const [rows, group, keys] = [visits.rows, visits.group, visits.keys].map((d) =>
    Math.max(1, Dim.evaluate(d, sizes))
  ) as [number, number, number]
  const blocks = Math.ceil(rows / visits.block)
  const bunch = Math.ceil(blocks / mostBunches)
  const queryOf = (row: number): number => Math.floor(Math.min(row, rows - 1) / group)
  // What the first so many bunches of a head visit, in workgroups that visit all keys.
  const before = [0]
  for (let first = 0; first < blocks; first += bunch) {
    const [low, high] = [Math.max(0, blocks - first - bunch), blocks - first]
    const bounds = [queryOf(low * visits.block), queryOf(high * visits.block - 1)]
    const [start, end] = enclose(visits.range, [undefined, undefined, ...bounds], sizes)
    const [lo, hi] = [Math.max(0, start?.least ?? 0), Math.min(keys, end?.most ?? keys)]
    const visited = Math.min(keys, Math.max(1, hi - lo))
    before.push((before.at(-1) as number) + ((high - low) * visited) / keys)
  }
  const ofHead = before.at(-1) as number
  const each = visits.splits === undefined ? 1 : Math.max(1, Size.evaluate(visits.splits, sizes))
  return (number) => {
    const count = number / each
    const rest = count % blocks
    const at = Math.floor(rest / bunch)
    const [from, to] = [before[at] as number, before[at + 1] ?? ofHead]
    const inside = Math.min(bunch, blocks - at * bunch)
    return (
      (Math.floor(count / blocks) * ofHead + from + ((to - from) * (rest - at * bunch)) / inside) /
      (workgroups / each)
    )
  }
}
