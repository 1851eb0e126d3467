import type { Graph } from "../ir/Graph.ts"
import { anchorOf } from "../ir/KernelBody.ts"
import * as Print from "../ir/Print.ts"
import type { FlashPrefill, MatmulTile, Schedule, Schedules } from "../ir/Schedule.ts"
import * as TensorType from "../ir/TensorType.ts"

const places = { workgroup: "workgroup memory", registers: "registers" } as const

const inHalf = ({ arithmetic }: { readonly arithmetic?: "f16" }): string =>
  arithmetic === undefined ? "" : ", products in f16"

const tilesOf = (cut: FlashPrefill): string => {
  const { rows, keys, tiles, threads, quads } = cut
  const shared = quads ? " of which four share what they load" : ""
  return `tiles of ${rows} rows x ${keys} keys in ${places[tiles]}, ${threads} threads${shared}${inHalf(cut)}`
}

const productOf = (tile: MatmulTile): string => {
  const { rows, columns, depth, threadRows, threadColumns, quads, split } = tile
  const parts =
    split === undefined
      ? ""
      : `, up to ${split.rows} rows in at most ${split.most} parts of ${split.depth} or more`
  const shared = quads ? ", rows shared by quads" : ""
  return `tiles of ${rows} x ${columns}, ${depth} deep, ${threadRows} x ${threadColumns} a thread${shared}${inHalf(tile)}${parts}`
}

/** A schedule in words. */
export const describe = (schedule: Schedule): string => {
  switch (schedule.kind) {
    case "elementwise":
      return `one thread an element, workgroups of ${schedule.threads}`
    case "rows":
      return schedule.threads === 1 ? "one thread a row" : `${schedule.threads} threads a row`
    case "matmul": {
      const { vector, few } = schedule
      const one = `up to ${vector.rows} rows: ${vector.columns} a thread, ${vector.share} share a sum`
      const some = few === undefined ? [] : [`up to ${few.rows} rows: ${productOf(few.tile)}`]
      return [productOf(schedule), one, ...some].join("; ")
    }
    case "flash": {
      const { prefill, decode, decodeRows, short } = schedule
      const rest = tilesOf(prefill)
      const parts = [
        rest,
        ...(decodeRows === 0
          ? []
          : [
              `up to ${decodeRows} rows: ${decode.threads} threads${decode.subgroup === true ? ", a subgroup," : decode.quads === true ? ", sharing keys," : ""} over ${places[decode.tiles]}`
            ]),
        ...(short === undefined ? [] : [`up to ${short.rows} rows: ${tilesOf(short)}`])
      ]
      if (parts.length === 1) return rest
      return `${parts.join("; ")}; at most ${decode.maxSplits} splits of ${decode.keysPerSplit} keys or more`
    }
  }
}

/** One line for each kernel of a graph: what it is, what it computes, how it is cut. */
export const scheduleTable = (graph: Graph, schedules: Schedules): string => {
  const numbers = Print.numbering(graph)
  const cells = graph.nodes.flatMap((node) => {
    if (node.op !== "fused") return []
    const schedule = schedules.get(node)
    const anchor = anchorOf(node.attrs.body)?.op ?? "map"
    const cut = schedule === undefined ? "no schedule" : describe(schedule)
    return [[`%${numbers.get(node)}`, anchor, TensorType.print(node.type), cut]]
  })
  const widths = [0, 1, 2].map((column) => Math.max(0, ...cells.map((row) => (row[column] as string).length)))
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
