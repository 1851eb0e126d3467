import { describe, expect, test } from "vitest"
import type { Graph } from "../../../ir/Graph.ts"
import { illegalMatmul } from "../../../ir/matmulSchedule.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Matmul, MatmulSplit, MatmulTile, Schedule } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import { input } from "../../support/irText.ts"
import { limitsOf } from "../../support/runProgram.ts"

const all = <A>(...lists: ReadonlyArray<ReadonlyArray<A>>): ReadonlyArray<ReadonlyArray<A>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<A>>>(
    (rows, list) => rows.flatMap((row) => list.map((x) => [...row, x])),
    [[]]
  )

/** Variants for few rows are the same for either kind of device, but for the exchange in quads. */
const vectors = all([4, 16, 64], [1, 4, 16, 64], [1, 2, 8]) as ReadonlyArray<
  readonly [number, number, number]
>

const vectorOf = (n: number): Matmul["vector"] => {
  const [threads, share, columns] = vectors[n % vectors.length] as readonly [number, number, number]
  return { rows: 1 + (n % 4), threads, share: Math.min(threads, share), columns }
}

/** Every third sums parts of the depth apart, some of them of nothing. */
const splitOf = (n: number): MatmulSplit | undefined =>
  n % 3 === 0 ? { rows: 64, depth: 1 + (n % 7), most: 1 + (n % 5) } : undefined

/** Every cut into threads, each with another variant for few rows, some with another cut. */
const schedulesOf = (tiles: ReadonlyArray<MatmulTile>): ReadonlyArray<Matmul> =>
  tiles.map((tile, n) => ({
    kind: "matmul",
    ...tile,
    vector: vectorOf(n),
    few: n % 2 === 0 ? { rows: 12, tile: tiles[(n * 5 + 3) % tiles.length] as MatmulTile } : undefined
  }))

const schedules: { readonly [K in "cpu" | "gpu"]: ReadonlyArray<Matmul> } = {
  cpu: schedulesOf(
    all([1, 2, 4, 8, 16, 32], [1, 2, 4, 8], [0, 1]).map(([rows, columns, quads], n) => ({
      rows: rows as number,
      columns: (columns as number) * (quads === 1 ? 4 : 1),
      depth: 4,
      threadRows: rows as number,
      threadColumns: columns as number,
      quads: quads === 1,
      split: splitOf(n)
    }))
  ),
  gpu: schedulesOf(
    all([4, 16, 64], [8, 32], [4, 16], [1, 4], [2, 4]).map(([rows, columns, depth, down, across], n) => ({
      rows: rows as number,
      columns: columns as number,
      depth: depth as number,
      threadRows: down as number,
      threadColumns: across as number,
      quads: false,
      split: splitOf(n)
    }))
  )
}

const [rows, depths, columns] = [
  [1, 2, 9, 1, 33],
  [1, 4, 12, 7, 64, 130],
  [1, 4, 5, 16, 20, 36, 67]
] as const

/** Operands as they are or transposed, of any or of a known size, over one axis or over several. */
const layouts = [
  "%x: f32[M, K]; %y: f32[K, N]; f32[M, N]; [1]; [0]",
  "%x: f32[M, K]; %y: f32[N, K]; f32[M, N]; [1]; [1]",
  "%x: f32[K, M]; %y: f32[K, N]; f32[M, N]; [0]; [0]",
  "%x: f16[2, M, K]; %y: f16[N, K]; f16[2, M, N]; [2]; [1]",
  "%x: f32[M, 3, K]; %y: bf16[N, 3, K]; f32[M, N]; [1, 2]; [1, 2]"
]

const textOf = (n: number, known: { readonly [name: string]: number }, half = false): string => {
  const layout = layouts[n % layouts.length] as string
  const [x, y, type, lhs, rhs] = (half ? layout.replace(/\bb?f(16|32)\b/g, "f16") : layout)
    .split("; ")
    .map((part) => part.replace(/\b[KN]\b/g, (name) => String(known[name] ?? name)))
  const wide = y?.includes("bf16") === true
  return [
    "graph {",
    input((x as string).split(": ")[1] as string, "x"),
    input((y as string).split(": ")[1] as string, "y"),
    ...(wide ? [`%w: ${y?.split(": ")[1]?.replace("bf16", "f32")} = cast %y`] : []),
    `%r: ${type} = dot %x, ${wide ? "%w" : "%y"} {lhsBatch = [], rhsBatch = [], lhsContract = ${lhs}, rhsContract = ${rhs}}`,
    "return %r",
    "}"
  ].join("\n")
}

const inHalf = <T extends MatmulTile>(tile: T): T => ({ ...tile, arithmetic: "f16" })

test("products in f16 agree with the reference by every legal schedule, at odd sizes and of any numbers", async () => {
  const limits = await limitsOf("gpu")
  const legal = schedules.gpu
    .map((s) => ({ ...inHalf(s), few: s.few && { ...s.few, tile: inHalf(s.few.tile) } }))
    .filter((s) => illegalMatmul(s, limits) === undefined)
  expect(legal.length).toBeGreaterThan(20)
  for (const [n, schedule] of legal.entries()) {
    const sizes = {
      M: 9 + (n % 9),
      K: depths[n % depths.length] as number,
      N: columns[n % columns.length] as number
    }
    await agree(textOf(n, n % 2 === 0 ? sizes : {}, true), sizes, {
      kind: "gpu",
      arithmetic: "f16",
      data: (["normal", "huge", "holes"] as const)[n % 3] as "normal",
      schedules: (graph: Graph) =>
        new Map<Node, Schedule>([[graph.nodes.find((node) => node.op === "dot") as Node, schedule]])
    })
  }
})

describe.each(["cpu", "gpu"] as const)("products by every legal schedule, for a %s", (kind) => {
  test("agree with the reference at odd sizes", async () => {
    const limits = await limitsOf(kind)
    const legal = schedules[kind].filter((s) => illegalMatmul(s, limits) === undefined)
    expect(legal.length).toBeGreaterThan(20)
    for (const [n, schedule] of legal.entries()) {
      const sizes = {
        M: rows[n % rows.length] as number,
        K: depths[n % depths.length] as number,
        N: columns[n % columns.length] as number
      }
      await agree(textOf(n, n % 2 === 0 ? sizes : {}), sizes, {
        kind,
        schedules: (graph: Graph) => {
          const dot = graph.nodes.find((node) => node.op === "dot") as Node
          return new Map<Node, Schedule>([[dot, schedule]])
        }
      })
    }
  })
})
