import { lower } from "../../backends/webgpu/lower.ts"
import type { Limits } from "../../ir/Limits.ts"
import { allMatmuls, type MatmulVariant } from "../../ir/matmulSchedules.ts"
import type { Node } from "../../ir/Node.ts"
import type { Arithmetic, Matmul, Schedule } from "../../ir/Schedule.ts"
import * as arrays from "./arrays.ts"
import { graphOf } from "./examples.ts"
import { planOf } from "./plans.ts"
import type { Scheduled } from "./scheduled.ts"

/** What of all legal schedules of products is enumerated. */
export const productFamilies = {
  "few rows, software": { kind: "cpu", variant: "vector", arithmetic: "f32" },
  "few rows": { kind: "gpu", variant: "vector", arithmetic: "f32" },
  "tiles, software": { kind: "cpu", variant: "tile", arithmetic: "f32" },
  tiles: { kind: "gpu", variant: "tile", arithmetic: "f32" },
  "split, software": { kind: "cpu", variant: "split", arithmetic: "f32" },
  split: { kind: "gpu", variant: "split", arithmetic: "f32" },
  "tiles in f16": { kind: "gpu", variant: "tile", arithmetic: "f16" },
  "split in f16": { kind: "gpu", variant: "split", arithmetic: "f16" }
} as const satisfies {
  readonly [name: string]: {
    readonly kind: Limits["kind"]
    readonly variant: MatmulVariant
    readonly arithmetic: Arithmetic
  }
}

export type ProductFamily = keyof typeof productFamilies

export const productFamilyNames = Object.keys(productFamilies) as ReadonlyArray<ProductFamily>

/** Operands as they are or transposed, over one axis or over several, stored in any way. */
const layouts = [
  "%x: f32[M, K]; %y: f32[K, N]; f32[M, N]; [1]; [0]",
  "%x: f32[M, K]; %y: f32[N, K]; f32[M, N]; [1]; [1]",
  "%x: f32[K, M]; %y: f32[K, N]; f32[M, N]; [0]; [0]",
  "%x: f16[2, M, K]; %y: f16[N, K]; f16[2, M, N]; [2]; [1]",
  "%x: f32[M, 3, K]; %y: bf16[N, 3, K]; f32[M, N]; [1, 2]; [1, 2]"
]

const textOf = (layout: string, known: { readonly [name: string]: number }): string => {
  const [x, y, type, lhs, rhs] = layout
    .split("; ")
    .map((part) => part.replace(/\b[KN]\b/g, (name) => String(known[name] ?? name))) as [
    string,
    string,
    string,
    string,
    string
  ]
  const wide = y.includes("bf16")
  return [
    "graph {",
    `${x} = input {name = "x"}`,
    `${y} = input {name = "y"}`,
    ...(wide ? [`%w: ${y.split(": ")[1]?.replace("bf16", "f32")} = cast %y`] : []),
    `%r: ${type} = dot %x, ${wide ? "%w" : "%y"} {lhsBatch = [], rhsBatch = [], lhsContract = ${lhs}, rhsContract = ${rhs}}`,
    "return %r",
    "}"
  ].join("\n")
}

/** Workgroups that a software device runs in a moment, barriers and all. */
const mostTiles = 64

const rows = [0, 1, 2, 9, 17, 33, 61]
const depths = [0, 1, 4, 7, 12, 31, 64, 130]
const columns = [1, 3, 4, 5, 16, 20, 36, 67]

/** All legal schedules of a family, those first that compile soonest. */
export const allOf = (family: ProductFamily, limits: Limits): ReadonlyArray<Matmul> => {
  const { kind, variant, arithmetic } = productFamilies[family]
  const sums = (schedule: Matmul): number => schedule.threadRows * schedule.threadColumns
  return allMatmuls(variant, { ...limits, kind }, arithmetic).toSorted((a, b) => sums(a) - sums(b))
}

/** What a schedule of products is run with; all of it is drawn by a number. Every other knows its sizes before. */
export const multiplied = (
  family: ProductFamily,
  schedule: Matmul,
  limits: Limits,
  number: number
): Scheduled => {
  const { kind, variant, arithmetic } = productFamilies[family]
  const from = arrays.random(number)
  const layout = layouts[number % layouts.length] as string
  const lengths = Array.from({ length: 6 }, () => {
    const N = from.pick(columns)
    const across = Math.ceil(N / schedule.columns) * (schedule.split?.most ?? 1)
    const most = schedule.rows * Math.ceil(mostTiles / across)
    return { M: Math.min(from.pick(rows), most), K: from.pick(depths), N }
  })
  const [known] = lengths as [(typeof lengths)[0]]
  const isKnown = from.next() < 0.5
  const text = textOf(
    arithmetic === "f16" ? layout.replace(/\bb?f(16|32)\b/g, "f16") : layout,
    isKnown ? { K: known.K, N: known.N } : {}
  )
  const graph = graphOf(text)
  const dot = graph.nodes.find((node) => node.op === "dot") as Node
  const program = lower(planOf(graph, new Map<Node, Schedule>([[dot, schedule]])), { ...limits, kind })
  const { vector, split, few: _, kind: __, ...tile } = schedule
  const own = { vector, tile, split: { ...tile, split } }
  return {
    name: `${layout}; ${variant} ${JSON.stringify(own[variant])}${isKnown ? " of known sizes" : ""}`,
    graph,
    program,
    lengths: isKnown ? lengths.map(({ M }) => ({ ...known, M })) : lengths,
    // Squares of what f16 calls huge are nothing to float32.
    data: arithmetic === "f16" ? ((["normal", "huge", "holes"] as const)[number % 3] as "normal") : "normal",
    kernels: program.kernels.map((kernel) => kernel.wgsl)
  }
}
