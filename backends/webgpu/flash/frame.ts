import * as Budget from "../../../ir/flashBudget.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Half from "../wgsl/half.ts"
import { type Module, workgroupIndex } from "../wgsl/Module.ts"
import { allOf, literal } from "../wgsl/scalar.ts"
import * as Operand from "./operands.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"

/** The tile loop of one workgroup, ready to emit: names of what every thread knows. */
export interface Frame {
  readonly e: Emitter.Emitter
  readonly problem: Problem
  readonly tile: Budget.Tile
  readonly regions: Regions.Regions
  readonly terms: ReadonlyArray<Term>
  readonly v: Operand.Operand
  /** Batch, key/value head, split and number of splits. */
  readonly b: string
  readonly head: string
  readonly split: string
  readonly splits: string
  /** Number of keys and of packed rows. */
  readonly keys: string
  readonly rowCount: string
  /** First packed row of the workgroup. */
  readonly firstRow: string
  /** Numbers of the thread in the grids of `Budget.Tile`. */
  readonly rowGroup: string
  readonly column: string
  readonly valueColumn: string
  readonly slice: string
  /** Rows of the thread: packed number (which may lie past the end), query head and query (clamped). */
  readonly rows: ReadonlyArray<Row>
  /** Workgroup memory. */
  readonly stage: string
  /** Where products are in f16: K or V as they are, and the largest numbers of the tiles of each term and of V; see `halves.ts`. */
  readonly halves: string
  readonly tops: string
  readonly half: Half.Half | undefined
  /** Whether weights are relative to the largest score of the tile, and not of all keys so far. */
  readonly ofTile: boolean
  readonly weights: string
  readonly partial: string
  /** Registers: for each four rows the running maximum and the thread's part of the sum, where there is a softmax; for each row and chunk the values. */
  readonly maxima: ReadonlyArray<string>
  readonly sums: ReadonlyArray<string>
  readonly values: ReadonlyArray<ReadonlyArray<string>>
  /** Where a thread owns its rows: the array that `values` lie in, and the number of the thread among four neighbours, 0 without them. */
  readonly owned: string
  readonly lane: string
  /** -inf, and the smallest finite number. */
  readonly nothing: string
  readonly lowest: string
  /** Zero that the compiler cannot see: times a number it is 0, times an infinity or NaN it is NaN. Drivers take x - x for 0. */
  readonly zero: string
}

/** How the logits of one contraction are read. */
export interface Term {
  readonly q: Operand.Operand
  readonly k: Operand.Operand
  /** Batch and head in k. */
  readonly at: readonly [b: string, head: string]
  readonly size: number
}

export interface Row {
  readonly number: string
  readonly h: string
  readonly i: string
}

export const lanes = ["x", "y", "z", "w"] as const

export const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** The number of the four rows that a row belongs to, and its lane there. */
export const laneOf = (row: number): readonly [quad: number, lane: (typeof lanes)[number]] => [
  row >> 2,
  lanes[row & 3] as (typeof lanes)[number]
]

/** Finds the work of the workgroup and sets up its rows and registers. `splits` is absent where keys are not split. */
export const open = (
  module: Module,
  problem: Problem,
  tile: Budget.Tile,
  splits: Size.Size | undefined
): Frame => {
  const e = Emitter.make(module)
  const { D, E, B, Hkv } = problem
  const regions = Regions.declare(module, problem)
  const size = (s: Size.Size): string => e.bind(Size.wgsl(s, module.symbol))
  const pairs = Size.mul(B, Hkv)
  const blocks = blocksOf(problem, tile, splits)
  const threadSplits = splits !== undefined && tile.owned && !tile.shared

  const group = e.constant(workgroupIndex)
  e.line(`if (${group} >= ${size(Size.mul(pairs, blocks))}) { return; }`)
  const count = size(blocks)
  const pair = e.bind(`${group} / ${count}`)
  const part = e.bind(`${group} - ${pair} * ${count}`)
  // Under a causal mask later rows see more keys: they start first.
  const firstRow = splits === undefined ? e.bind(`(${count} - 1 - ${part}) * ${tile.rows}`) : "0"
  const heads = e.dim(Hkv)
  const b = e.bind(`${pair} / ${heads}`)
  const head = e.bind(`${pair} - ${b} * ${heads}`)

  const lane = tile.quads ? e.bind("i32(sgi & 3u)") : "0"
  const column = tile.shared
    ? lane
    : tile.owned
      ? "0"
      : e.bind(tile.rowGroups === 1 ? "i32(lix)" : `i32(lix % ${tile.columns}u)`)
  const rowGroup = tile.rowGroups === 1 ? "0" : e.bind(`i32(lix / ${tile.columns}u)`)
  const split = threadSplits ? e.bind(`${part} * ${tile.threads} + i32(lix)`) : part
  const slice = tile.slices === 1 ? "0" : e.bind(`${column} / ${tile.valueColumns}`)
  const valueColumn = tile.slices === 1 ? column : e.bind(`${column} % ${tile.valueColumns}`)

  const rowCount = e.dim(problem.R)
  const used = Math.min(tile.threadRows, tile.usedRows)
  const threadRow = e.add(firstRow, e.mul(rowGroup, String(tile.threadRows)))
  const one = (a: string): Row => rowOf(e, problem, head, e.add(threadRow, a), rowCount)
  const rows = tile.owned ? keptRows(e, problem, used, one) : range(used).map((a) => one(String(a)))

  const size4 = Budget.arrays(tile, D, E)
  const vectors = (count: number) =>
    count === 0 ? "" : module.workgroupArray("vec4<f32>", count, count * 16)
  const nothing = e.bind(literal(module, "f32", -Infinity))
  const lowest = e.bind(literal(module, "f32", -3.4028234663852886e38))
  const zero = e.constant(`f32(${module.opaqueZero()})`)
  const quads = problem.normalised ? range(Math.ceil(tile.threadRows / 4)) : []
  const statistics = (init: string): ReadonlyArray<string> =>
    tile.owned ? kept(e, quads.length, init) : quads.map(() => e.variable("vec4<f32>", init))
  const half = tile.half ? Half.of(module) : undefined
  const owned = tile.owned && problem.hasResult ? e.array("vec4<f32>", used * tile.chunks) : ""
  const frame: Frame = {
    e,
    problem,
    tile,
    regions,
    terms: problem.terms.map(({ q, k, size, oneBatch, oneHead }, n) => ({
      q: Operand.make(module, problem, q, `query${n === 0 ? "" : n}`),
      k: Operand.make(module, problem, k, `key${n === 0 ? "" : n}`),
      at: [oneBatch ? "0" : b, oneHead ? "0" : head],
      size
    })),
    v: Operand.make(module, problem, problem.v, "value"),
    b,
    head,
    split: splits === undefined ? "0" : split,
    splits: splits === undefined ? "1" : size(splits),
    keys: e.dim(problem.S),
    rowCount,
    firstRow,
    rowGroup,
    column,
    valueColumn,
    slice,
    rows,
    stage: vectors(size4.stage),
    half,
    halves: half === undefined ? "" : module.workgroupArray(half.memory, size4.halves, size4.halves * 8),
    tops: half === undefined ? "" : module.workgroupArray("atomic<u32>", D.length + 1, 4 * (D.length + 1)),
    ofTile: half !== undefined && problem.normalised && regions.probability === undefined,
    weights: vectors(size4.weights),
    partial: vectors(size4.partial),
    maxima: statistics(`vec4<f32>(${lowest})`),
    sums: statistics("vec4<f32>()"),
    values: problem.hasResult
      ? rows.map((_, a) =>
          range(tile.chunks).map((n) =>
            tile.owned ? `${owned}[${a * tile.chunks + n}]` : e.variable("vec4<f32>", "vec4<f32>()")
          )
        )
      : [],
    owned,
    lane,
    nothing,
    lowest,
    zero
  }
  startSinks(frame)
  return frame
}

/** Workgroups of one batch and key/value head: blocks of rows, or splits, of which a workgroup takes one for each thread that owns its rows. */
export const blocksOf = (
  { R }: Problem,
  { owned, shared, threads, rows }: Budget.Tile,
  splits: Size.Size | undefined
): Size.Size => {
  if (splits === undefined) return Size.ceilDiv(R, rows)
  return owned && !shared ? Size.ceilDiv(splits, threads) : splits
}

export const rowOf = (
  e: Emitter.Emitter,
  problem: Problem,
  head: string,
  number: string,
  count: string
): Row => {
  const group = e.dim(problem.group)
  const inside = e.bind(`min(${number}, ${count} - 1)`)
  if (group === "1") return { number, h: head, i: inside }
  const i = e.bind(`${inside} / ${group}`)
  return { number, h: e.add(e.mul(head, group), e.bind(`${inside} - ${i} * ${group}`)), i }
}

/** Vectors in memory: what waits through a long loop would take the registers of what works in it. */
const kept = (e: Emitter.Emitter, count: number, init: string): ReadonlyArray<string> => {
  if (count === 0) return []
  const array = e.array("vec4<f32>", count)
  e.loop("0", String(count), "1", (n) => {
    e.line(`${array}[${n}] = ${init};`)
  })
  return range(count).map((n) => `${array}[${n}]`)
}

/** Rows whose queries and heads lie in memory. */
const keptRows = (
  e: Emitter.Emitter,
  { group }: Problem,
  count: number,
  rowOf: (a: string) => Row
): ReadonlyArray<Row> => {
  const queries = e.array("i32", count)
  const heads = e.dim(group) === "1" ? undefined : e.array("i32", count)
  e.loop("0", String(count), "1", (a) => {
    const { h, i } = rowOf(a)
    e.line(`${queries}[${a}] = ${i};`)
    if (heads !== undefined) e.line(`${heads}[${a}] = ${h};`)
  })
  return range(count).map((a) => {
    const { number, h } = rowOf(String(a))
    return { number, h: heads === undefined ? h : `${heads}[${a}]`, i: `${queries}[${a}]` }
  })
}

/**
 * A score as the maximum of its row takes it. A maximum may drop NaN, and a sum is NaN for +inf as well: where somebody asks which, +inf stands for NaN,
 * and the greatest finite number for +inf.
 */
export const marked = (
  { e, problem, nothing, lowest }: Pick<Frame, "e" | "problem" | "nothing" | "lowest">,
  score: string,
  type: "f32" | "vec4<f32>"
): string => {
  if (problem.outputs.every(({ kind }) => kind === "result" || kind === "sum")) return score
  const bits = type.replace("f32", "u32")
  const isNaN = `(bitcast<${bits}>(${score}) & ${bits}(0x7fffffffu)) > ${bits}(0x7f800000u)`
  return e.constant(`select(min(${score}, ${type}(-${lowest})), ${type}(-${nothing}), ${isNaN})`)
}

/** A sink starts the maximum of its row and counts once, in the first column of the first split; one of -inf is none. */
const startSinks = (frame: Frame): void => {
  const { e, regions, rows, b, column, split, lowest, zero, maxima, sums } = frame
  if (regions.sink === undefined) return
  const first = e.bind(allOf(`${column} == 0`, `${split} == 0`))
  rows.forEach((row, a) => {
    const [quad, lane] = laneOf(a)
    const z = e.constant(regions.sink?.(b, row.h, row.i) as string)
    const absent = e.constant(`bitcast<u32>(${z}) == 0xff800000u`)
    e.line(`${maxima[quad]}.${lane} = select(${marked(frame, z, "f32")}, ${lowest}, ${absent});`)
    // A maximum may drop NaN.
    e.line(`${sums[quad]}.${lane} = select(0.0, 1.0 + ${z} * ${zero}, ${first} & !${absent});`)
  })
}

/** Workgroups of one dispatch. */
export const workgroups = (problem: Problem, perPair: Size.SizeLike): Size.Size =>
  Size.mul(Size.mul(problem.B, problem.Hkv), perPair)
