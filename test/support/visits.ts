import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import { statsOf } from "../../backends/webgpu/stats.ts"
import type * as Dim from "../../ir/Dim.ts"
import * as Budget from "../../ir/flashBudget.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import type { Node, NodeOf } from "../../ir/Node.ts"
import type { Flash, Schedule } from "../../ir/Schedule.ts"
import { analyseMask } from "../../passes/analyseMask.ts"
import { fuseElementwise } from "../../passes/fuseElementwise.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./evaluate.ts"
import { type Attention, flashText } from "./flashText.ts"
import type { MaskCase } from "./maskCases.ts"
import { planOf } from "./plans.ts"
import { limitsOf, runProgram } from "./runProgram.ts"

/** Tiles of keys, those of them that all rows see whole, and keys. */
export interface Visits {
  readonly tiles: number
  readonly whole: number
  readonly keys: number
}

export interface Setting {
  readonly heads: readonly [query: number, key: number]
  readonly head: readonly [number, number]
  readonly B: number
  readonly T: number
  readonly S: number
  readonly schedule: Flash
}

export interface Counted extends Visits {
  readonly graph: Graph.Graph
  readonly inputs: ReadonlyArray<HostArray.HostArray>
  readonly results: ReadonlyArray<HostArray.HostArray>
  readonly stats: ReturnType<typeof statsOf>
}

export const flashOf = (graph: Graph.Graph): NodeOf<"flash_attention"> =>
  graph.nodes.find(
    (n): n is NodeOf<"flash_attention"> => n.op === "flash_attention"
  ) as NodeOf<"flash_attention">

const inputsOf = (c: MaskCase, { heads, head, B, T, S }: Setting): ReadonlyArray<HostArray.HostArray> => {
  const from = arrays.random(3)
  return [
    arrays.array(from, "f32", [B, heads[0], T, head[0]]),
    arrays.array(from, "f32", [B, heads[1], S, head[0]]),
    arrays.array(from, "f32", [B, heads[1], S, head[1]]),
    ...(c.data?.(B, T, S) ?? [])
  ]
}

/** What the passes make of a case. */
export const compiledCase = async (c: MaskCase, setting: Setting, more: Partial<Attention> = {}) => {
  const limits = await limitsOf("cpu")
  const { heads, head } = setting
  const graph = graphOf(
    flashText({
      heads,
      head,
      sizes: ["B", "T", "S"],
      mask: c.mask,
      ...(c.captures === undefined ? {} : { captures: c.captures }),
      ...more
    })
  )
  const context = { limits, donated: new Set<string>(), count: () => {} }
  const fused = fuseElementwise.run(graph, context).graph
  return { graph, kernels: analyseMask.run(fused, context).graph, limits }
}

/** Runs a case on the device with kernels that count. */
export const countVisits = async (
  c: MaskCase,
  setting: Setting,
  more: Partial<Attention> = {}
): Promise<Counted> => {
  const { graph, kernels, limits } = await compiledCase(c, setting, more)
  const isAttention = (n: Node): boolean =>
    n.op === "fused" && n.attrs.body.nodes.some((x) => x.op === "flash_attention")
  const schedules = new Map<Node, Schedule>(
    kernels.nodes.filter(isAttention).map((n) => [n, setting.schedule] as const)
  )
  const plan = planOf(kernels, schedules)
  const program = lower(plan, limits, { visits: true })
  const { B, T, S } = setting
  const sizes = { B, T, S }
  const inputs = inputsOf(c, setting)
  const zeros = HostArray.fromNumbers("u32", [3], new Float64Array(3))
  const given = new Set([inputs.length])
  const all = await runProgram(program, [...inputs, zeros], sizes, given)
  const [tiles, whole, keys] = HostArray.toNumbers(all.at(-1) as HostArray.HostArray) as unknown as [
    number,
    number,
    number
  ]
  const stats = statsOf(plan, lower(plan, limits), limits, sizes)
  return { graph, inputs, results: all.slice(0, -1), tiles, whole, keys, stats }
}

/** The least that tiles of this schedule can visit where a block of rows visits one range of keys, by looking at every element. */
export const leastVisits = (
  c: MaskCase,
  setting: Setting,
  sizes: Dim.Bindings
): Visits & { readonly all: number } => {
  const { heads, B, T, S, schedule } = setting
  const graph = graphOf(
    flashText({
      heads,
      head: setting.head,
      sizes: ["B", "T", "S"],
      mask: c.mask,
      ...(c.captures === undefined ? {} : { captures: c.captures })
    })
  )
  const seen = Reference.region(flashOf(graph).attrs.mask as Graph.Graph, c.data?.(B, T, S) ?? [], sizes)
  const group = heads[0] / heads[1]
  const packed = group * T
  const variants = Budget.splitVariants(schedule, setting.head[0], setting.head[1], group, undefined)
  const split = variants.find(({ most }) => packed <= most)?.tile
  const rows = split === undefined ? schedule.prefill.rows : packed
  const width = split?.keys ?? schedule.prefill.keys
  let [all, tiles, whole, keys] = [0, 0, 0, 0]
  for (let b = 0; b < B; b++) {
    for (let head = 0; head < heads[1]; head++) {
      for (let first = 0; first < packed; first += rows) {
        all += Math.ceil(S / width)
        const counts = new Array<number>(S).fill(0)
        const last = Math.min(first + rows, packed)
        for (let row = first; row < last; row++) {
          const [h, i] = [head * group + (row % group), Math.floor(row / group)]
          for (let j = 0; j < S; j++) if (seen(b, h, i, j)[0] !== 0) counts[j] = (counts[j] as number) + 1
        }
        const lo = counts.findIndex((n) => n > 0)
        if (lo < 0) continue
        const hi = counts.findLastIndex((n) => n > 0) + 1
        keys += hi - lo
        for (let k = lo; k < hi; k += width) {
          tiles++
          if (k + width <= hi && counts.slice(k, k + width).every((n) => n === last - first)) whole++
        }
      }
    }
  }
  return { all, tiles, whole, keys }
}
