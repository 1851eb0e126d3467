import type { Tile } from "../../../ir/flashBudget.ts"
import { negligibleBelow } from "../../../ir/ops/flashAttention.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { visits } from "../Job.ts"
import { allOf, anyOf, literal } from "../wgsl/scalar.ts"
import type { Frame } from "./frame.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import { together } from "./share.ts"

/** A loop variable over keys: its name and where it starts. */
export interface From {
  readonly name: string
  readonly start: string
}

export type Tiles = (from: From, end: string, full: string | undefined, masked?: Masked) => void

/** Where masked keys have a score: a condition that holds if it is they who take part, and a score above which a row has none of them. */
export interface Masked {
  readonly turn: string
  readonly limit: string
}

/** The turns that keys are visited in: those that are visible, and those that are masked where they have a score. */
export const turns = ({ fill }: Problem): number => (fill === undefined ? 1 : 2)

/**
 * Emits which keys a workgroup visits, around `tiles`, which emits the loop over tiles from `from` below `end`; `full` is a condition that
 * holds where a tile is visible to all rows. What is visible comes first. Where masked keys take part with a finite
 * score, they follow unless every row has a score so far above it that they take none. `after` is emitted behind each turn, whose number it is given.
 */
export const keys = (frame: Frame, tiles: Tiles, after: (turn: string) => void): void => {
  const { e, problem, tile, keys, split, splits } = frame
  const bounds = visible(frame)
  const name = e.module.fresh("k")
  const { lo, hi } = bounds ?? { lo: "0", hi: keys }
  const length = bounds === undefined ? keys : e.bind(`${hi} - ${lo}`)
  const chunk = splits === "1" ? length : perSplit(frame, length)
  const start = splits === "1" ? lo : e.bind(`min(${e.add(lo, `${split} * ${chunk}`)}, ${hi})`)
  const stop = splits === "1" ? hi : e.bind(`min(${start} + ${chunk}, ${hi})`)
  const full = (end: string): string | undefined => {
    if (bounds === undefined) return undefined
    const inside = bounds.full.map((f) =>
      allOf(`${name} >= ${f.lo}`, `${name} + ${tile.keys} <= min(${f.hi}, ${end})`)
    )
    return inside.length === 1 ? (inside[0] as string) : anyOf(...inside)
  }
  if (problem.fill === undefined) {
    tiles({ name, start }, stop, full(stop))
    after("0")
    return
  }
  // Masked keys are divided among the splits that have visible ones, or among all.
  const active = e.bind(`select(${splits}, (${length} + ${chunk} - 1) / max(${chunk}, 1), ${length} > 0)`)
  const share = e.bind(`(${keys} + ${active} - 1) / max(${active}, 1)`)
  const maskedStart = e.bind(`min(${split} * ${share}, ${keys})`)
  const maskedStop = e.bind(`select(0, min(${maskedStart} + ${share}, ${keys}), ${split} < ${active})`)
  const part = e.module.fresh("n")
  const masked = { turn: `${part} == 1`, limit: limitOf(frame) }
  e.block("loop", `for (var ${part} = 0; ${part} < 2; ${part} += 1)`, () => {
    e.known(part)
    const last = e.constant(`select(0, ${maskedStop}, ${needMasked(frame, masked)})`)
    const from = e.constant(`select(${start}, ${maskedStart}, ${masked.turn})`)
    const end = e.constant(`select(${stop}, ${last}, ${masked.turn})`)
    const visible = full(end)
    tiles({ name, start: from }, end, visible && allOf(`${part} == 0`, visible), masked)
    after(part)
  })
}

/** The score of a row above which the weight of masked keys rounds to 0. */
export const limitOf = ({ e, problem }: Pick<Frame, "e" | "problem">): string =>
  literal(e.module, "f32", negligibleBelow(problem.fill as number, "f32"))

/** Counts a tile, where somebody asked for it: tiles, those that all rows see whole, and keys. */
export const count = (frame: Frame, from: From, end: string, full: string | undefined): void => {
  const { e, problem, regions, tile } = frame
  if (!problem.job.counts) return
  const whole = full ?? String(regions.mask === undefined)
  const counters = e.module.buffer(visits, { dtype: "u32", access: "read_write", type: "atomic<u32>" })
  // A thread that owns its rows alone visits keys of its own.
  e.branch(tile.owned && tile.rowGroups === 1 && !tile.shared ? "true" : "lix == 0u", () => {
    e.line(`atomicAdd(&${counters}[0], 1u);`)
    e.line(`atomicAdd(&${counters}[1], select(0u, 1u, ${whole}));`)
    e.line(`atomicAdd(&${counters}[2], u32(min(${tile.keys}, ${end} - ${from.name})));`)
  })
}

/** Keys that are worth a split: four threads share one of four times as many. */
export const leastKeys = ({ decode }: Flash, tile: Tile): number =>
  decode.keysPerSplit * (tile.shared ? 4 : 1)

/** Keys of a split, a multiple of the tile and no fewer than a split is worth. */
const perSplit = ({ e, problem, tile, splits }: Frame, length: string): string => {
  const least = leastKeys(problem.schedule, tile)
  const even = e.bind(`max((${length} + ${splits} - 1) / ${splits}, ${least})`)
  return e.bind(`(${even} + ${tile.keys - 1}) / ${tile.keys} * ${tile.keys}`)
}

interface Bounds {
  readonly lo: string
  readonly hi: string
  /** Runs of keys that every row sees. */
  readonly full: ReadonlyArray<{ readonly lo: string; readonly hi: string }>
}

/** The keys that rows of the workgroup may see: what holds of the block, and of its rows one by one. */
const visible = (frame: Frame): Bounds | undefined => {
  const { e, keys } = frame
  const found = [ofBlock(frame), ofRows(frame)].filter((x) => x !== undefined)
  const [one, other] = found
  if (one === undefined) return undefined
  const both = (join: string, lane: string): string =>
    other === undefined ? `${one}.${lane}` : `${join}(${one}.${lane}, ${other}.${lane})`
  const lo = e.constant(`clamp(${both("max", "x")}, 0, ${keys})`)
  const hi = e.constant(`clamp(${both("min", "y")}, ${lo}, ${keys})`)
  return { lo, hi, full: found.map((x) => ({ lo: e.constant(`${x}.z`), hi: e.constant(`${x}.w`) })) }
}

/** The range region for the rows of the workgroup; over all heads of the group where it depends on the head. */
const ofBlock = (frame: Frame): string | undefined => {
  const { e, problem, regions, b, head } = frame
  const region = problem.node.attrs.range
  if (regions.range === undefined || region === undefined) return undefined
  const group = e.dim(problem.group)
  const { first, last } = queries(frame)
  const firstHead = e.mul(head, group)
  const one = e.constant(regions.range(b, firstHead, first, last))
  if (group === "1" || !Regions.reads(region, 1)) return one
  const all = e.variable("vec4<i32>", one)
  const g = e.module.fresh("n")
  const next = regions.range(b, `${firstHead} + ${g}`, first, last)
  e.line(`for (var ${g} = 1; ${g} < ${group}; ${g} += 1) {`)
  e.line(`  let other = ${next};`)
  e.line(`  ${all} = select(max(${all}, other), min(${all}, other), vec4<bool>(true, false, false, true));`)
  e.line("}")
  return all
}

/** The row range region: every key that some row of the workgroup sees, and the run that all of them see. A row without keys adds none. */
const ofRows = (frame: Frame): string | undefined => {
  const { e, problem, regions, b, head, firstRow, keys } = frame
  const region = problem.node.attrs.rowRange
  if (regions.rowRange === undefined || region === undefined) return undefined
  const group = e.dim(problem.group)
  const { first, last } = queries(frame)
  const all = e.variable("vec4<i32>", `vec4<i32>(${keys}, 0, 0, ${keys})`)
  const n = e.module.fresh("n")
  const perHead = group !== "1" && Regions.reads(region, 1)
  const [start, end] = perHead ? [firstRow, lastRow(frame)] : [first, last]
  const firstHead = e.mul(head, group)
  const row = perHead
    ? regions.rowRange(b, `${firstHead} + ${n} % ${group}`, `${n} / ${group}`)
    : regions.rowRange(b, firstHead, n)
  e.line(`for (var ${n} = ${start}; ${n} <= ${end}; ${n} += 1) {`)
  e.line(`  let row = ${row};`)
  e.line(`  let seen = select(vec2<i32>(${keys}, 0), row.xy, row.x < row.y);`)
  e.line(
    `  ${all} = vec4<i32>(min(${all}.x, seen.x), max(${all}.y, seen.y), max(${all}.z, row.z), min(${all}.w, row.w));`
  )
  e.line("}")
  return all
}

const lastRow = ({ e, tile, firstRow, rowCount }: Frame): string =>
  e.bind(`min(${firstRow} + ${tile.usedRows}, ${rowCount}) - 1`)

/** First and last query of the workgroup. */
const queries = (frame: Frame): { readonly first: string; readonly last: string } => {
  const { e, problem, firstRow } = frame
  const group = e.dim(problem.group)
  return { first: e.bind(`${firstRow} / ${group}`), last: e.bind(`${lastRow(frame)} / ${group}`) }
}

/** Whether masked keys take part in some row of the workgroup. */
const needMasked = (frame: Frame, { turn, limit }: Masked): string => {
  const { e, tile, rows, rowCount, rowGroup, column, maxima } = frame
  const needs = rows.map((row, a) =>
    allOf(`${row.number} < ${rowCount}`, `!(${maxima[a >> 2]}.${"xyzw"[a & 3]} > ${limit})`)
  )
  if (tile.owned) {
    return e.constant(`${together(frame, e.constant(`select(0u, 1u, ${anyOf(...needs)})`))} != 0u`)
  }
  const flags = e.module.workgroupArray("u32", tile.rowGroups, 4 * tile.rowGroups)
  const any = e.variable("u32", "0u")
  e.line(`if (${turn}) {`)
  e.line(`  if (${column} == 0) { ${flags}[${rowGroup}] = select(0u, 1u, ${anyOf(...needs)}); }`)
  e.line(`  let flags = workgroupUniformLoad(&${flags});`)
  e.line(`  ${any} = ${Array.from({ length: tile.rowGroups }, (_, n) => `flags[${n}]`).join(" | ")};`)
  e.line("}")
  return e.constant(`${any} != 0u`)
}
