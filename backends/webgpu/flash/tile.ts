import * as Budget from "../../../ir/flashBudget.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import { type Module, workgroupIndex } from "../wgsl/Module.ts"
import { literal } from "../wgsl/scalar.ts"
import * as Operand from "./operands.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"
import * as Visit from "./visit.ts"

/** The tile loop of one workgroup, ready to emit: names of what every thread knows. */
export interface Frame {
  readonly e: Emitter.Emitter
  readonly problem: Problem
  readonly tile: Budget.Tile
  readonly regions: Regions.Regions
  readonly q: Operand.Operand
  readonly k: Operand.Operand
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
  readonly weights: string
  readonly partial: string
  /** Registers: for each four rows the running maximum and the thread's part of the sum; for each row and chunk the values. */
  readonly maxima: ReadonlyArray<string>
  readonly sums: ReadonlyArray<string>
  readonly values: ReadonlyArray<ReadonlyArray<string>>
  /** -inf, and the smallest finite number. */
  readonly nothing: string
  readonly lowest: string
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
  const { node, D, E, B, Hkv } = problem
  const regions = Regions.declare(module, problem)
  const [q, k, v] = node.operands as readonly [Node, Node, Node]
  const size = (s: Size.Size): string => e.bind(Size.wgsl(s, module.symbol))
  const pairs = Size.mul(B, Hkv)
  const blocks = splits ?? Size.ceilDiv(problem.R, tile.rows)

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

  const column = e.bind(tile.rowGroups === 1 ? "i32(lix)" : `i32(lix % ${tile.columns}u)`)
  const rowGroup = tile.rowGroups === 1 ? "0" : e.bind(`i32(lix / ${tile.columns}u)`)
  const slice = tile.slices === 1 ? "0" : e.bind(`${column} / ${tile.valueColumns}`)
  const valueColumn = tile.slices === 1 ? column : e.bind(`${column} % ${tile.valueColumns}`)

  const rowCount = e.dim(problem.R)
  const used = Math.min(tile.threadRows, tile.usedRows)
  const threadRow = e.add(firstRow, e.mul(rowGroup, String(tile.threadRows)))
  const rows = range(used).map((a) => rowOf(e, problem, head, e.add(threadRow, String(a)), rowCount))

  const size4 = Budget.arrays(tile, D, E)
  const vectors = (count: number) =>
    count === 0 ? "" : module.workgroupArray("vec4<f32>", count, count * 16)
  const nothing = e.bind(literal(module, "f32", -Infinity))
  const lowest = e.bind(literal(module, "f32", -3.4028234663852886e38))
  const quads = range(tile.threadRows / 4)
  const frame: Frame = {
    e,
    problem,
    tile,
    regions,
    q: Operand.make(module, problem, q, "query"),
    k: Operand.make(module, problem, k, "key"),
    v: Operand.make(module, problem, v, "value"),
    b,
    head,
    split: splits === undefined ? "0" : part,
    splits: splits === undefined ? "1" : count,
    keys: e.dim(problem.S),
    rowCount,
    firstRow,
    rowGroup,
    column,
    valueColumn,
    slice,
    rows,
    stage: vectors(size4.stage),
    weights: vectors(size4.weights),
    partial: vectors(size4.partial),
    maxima: quads.map(() => e.variable("vec4<f32>", `vec4<f32>(${lowest})`)),
    sums: quads.map(() => e.variable("vec4<f32>", "vec4<f32>()")),
    values:
      problem.output === "result"
        ? rows.map(() => range(tile.chunks).map(() => e.variable("vec4<f32>", "vec4<f32>()")))
        : [],
    nothing,
    lowest
  }
  startSinks(frame)
  return frame
}

const rowOf = (e: Emitter.Emitter, problem: Problem, head: string, number: string, count: string): Row => {
  const group = e.dim(problem.group)
  const inside = e.bind(`min(${number}, ${count} - 1)`)
  if (group === "1") return { number, h: head, i: inside }
  const i = e.bind(`${inside} / ${group}`)
  return { number, h: e.add(e.mul(head, group), e.bind(`${inside} - ${i} * ${group}`)), i }
}

/** A sink starts the maximum of its row and counts once, in the first column of the first split; one of -inf is none. */
const startSinks = ({ e, regions, rows, b, column, split, lowest, maxima, sums }: Frame): void => {
  if (regions.sink === undefined) return
  const first = e.bind(`${column} == 0 && ${split} == 0`)
  rows.forEach((row, a) => {
    const [quad, lane] = laneOf(a)
    const z = e.constant(regions.sink?.(b, row.h, row.i) as string)
    const absent = e.constant(`bitcast<u32>(${z}) == 0xff800000u`)
    e.line(`${maxima[quad]}.${lane} = select(${z}, ${lowest}, ${absent});`)
    e.line(`${sums[quad]}.${lane} = select(0.0, 1.0, ${first} && !${absent});`)
  })
}

/** Emits the loops over keys. Afterwards maxima are those of the row, sums and values are partial. */
export const loop = (frame: Frame): void => {
  const { e, tile, problem } = frame
  const careful = e.module.workgroupArray("atomic<u32>", 1, 4)
  Visit.keys(frame, (from, end, full) => {
    e.block(
      "loop",
      `for (var ${from.name} = ${from.start}; ${from.name} < ${end}; ${from.name} += ${tile.keys})`,
      () => {
        const first = e.known(from.name)
        logits(frame, first)
        e.line(`if (lix == 0u) { atomicStore(&${careful}[0], 0u); }`)
        const excluded = e.variable("bool", "false")
        const tops = score(frame, first, end, full, excluded)
        const highest = reduce(frame, tops, (x, y) => `max(${x}, ${y})`)
        const fades = weigh(frame, first, highest)
        e.line(`if (${excluded}) { atomicStore(&${careful}[0], 1u); }`)
        if (problem.output === "lse") {
          e.line("workgroupBarrier();")
          return
        }
        frame.values.forEach((row, a) => {
          const [quad, lane] = laneOf(a)
          for (const value of row) e.line(`${value} *= ${fades[quad]}.${lane};`)
        })
        if (tile.staged) stageTile(frame, frame.v, problem.E, first)
        e.line("workgroupBarrier();")
        accumulate(frame, first, end, careful)
        e.line("workgroupBarrier();")
      }
    )
  })
}

/** Copies a tile of K or V into workgroup memory. Keys past the end repeat the last one: no thread uses them. */
const stageTile = (
  { e, tile, stage, keys, b, head }: Frame,
  operand: Operand.Operand,
  size: number,
  first: string
) => {
  const [chunks, stride] = [Math.ceil(size / 4), Budget.rowStride(size)]
  const n = e.module.fresh("n")
  e.block("loop", `for (var ${n} = i32(lix); ${n} < ${tile.keys * chunks}; ${n} += ${tile.threads})`, () => {
    e.known(n)
    const key = e.bind(`${n} / ${chunks}`)
    const chunk = e.bind(`${n} - ${key} * ${chunks}`)
    const position = e.bind(`min(${first} + ${key}, ${keys} - 1)`)
    e.line(`${stage}[${key} * ${stride} + ${chunk}] = ${operand.vec4(e, [b, head, position], chunk)};`)
  })
}

const slotOf = ({ e, tile, column }: Frame, k: string): string =>
  e.add(e.mul(k, String(tile.columns)), column)

/** Where the thread's rows of a key lie among the weights. */
const weightsAt = ({ e, tile, rowGroup }: Frame, slot: string): string =>
  e.add(e.mul(slot, String(Budget.weightStride(tile))), e.mul(rowGroup, String(tile.threadRows / 4)))

/** q·k of the thread's rows and keys, into the thread's own places among the weights. */
const logits = (frame: Frame, first: string): void => {
  const { e, tile, problem, rows, q, k, b, head, stage, weights } = frame
  const [chunks, stride] = [Math.ceil(problem.D / 4), Budget.rowStride(problem.D)]
  if (tile.staged) {
    stageTile(frame, k, problem.D, first)
    e.line("workgroupBarrier();")
  }
  const quads = range(tile.threadRows / 4)
  const own = range(tile.threadKeys)
  const products = own.map(() => quads.map(() => e.variable("vec4<f32>", "vec4<f32>()")))
  e.loop("0", String(chunks), "1", (c) => {
    const slots = own.map((n) => slotOf(frame, String(n)))
    const vectors = slots.map((slot) =>
      tile.staged
        ? e.constant(`${stage}[${e.add(e.mul(slot, String(stride)), c)}]`)
        : k.vec4(e, [b, head, e.add(first, slot)], c)
    )
    rows.forEach((row, a) => {
      const [quad, lane] = laneOf(a)
      const x = q.vec4(e, [b, row.h, row.i], c)
      own.forEach((n) => {
        e.line(`${products[n]?.[quad]}.${lane} += dot(${x}, ${vectors[n]});`)
      })
    })
  })
  own.forEach((n) => {
    const at = weightsAt(frame, slotOf(frame, String(n)))
    quads.forEach((quad) => {
      e.line(`${weights}[${e.add(at, String(quad))}] = ${products[n]?.[quad]};`)
    })
  })
}

/** A loop over the thread's own keys, without unrolling: regions may be long. */
const ownKeys = (
  frame: Frame,
  from: string,
  first: string,
  inside: (at: string, j: string, slot: string) => void
): void => {
  const { e, tile } = frame
  e.loop(from, String(tile.threadKeys), "1", (k) => {
    const slot = slotOf(frame, k)
    inside(weightsAt(frame, slot), e.add(first, slot), slot)
  })
}

/**
 * Logits become scores, -inf where a key does not take part (compared by bits, never computed with). Gives the largest score of the
 * thread for each four rows.
 */
const score = (
  frame: Frame,
  first: string,
  end: string,
  full: string | undefined,
  excluded: string
): ReadonlyArray<string> => {
  const { e, problem, regions, rows, b, weights, nothing, lowest } = frame
  const quads = range(frame.tile.threadRows / 4)
  const tops = quads.map(() => e.variable("vec4<f32>", `vec4<f32>(${lowest})`))
  const each = (masked: boolean, from: string): void =>
    ownKeys(frame, from, first, (at, j) => {
      const past = e.constant(`${j} >= ${end}`)
      for (const quad of quads) {
        const place = `${weights}[${e.add(at, String(quad))}]`
        const x = e.constant(place)
        const perLane = (value: (row: Row, lane: string) => string, otherwise: string): string =>
          lanes
            .map((lane, n) => {
              const row = rows[quad * 4 + n]
              return row === undefined ? otherwise : value(row, lane)
            })
            .join(", ")
        const scored = perLane((row, lane) => regions.score(`${x}.${lane}`, b, row.h, row.i, j), "0.0")
        let y = e.constant(`vec4<f32>(${scored})`)
        let out = `vec4<bool>(false)`
        if (masked && regions.mask !== undefined) {
          const seen = perLane((row) => regions.mask?.(b, row.h, row.i, j) as string, "true")
          const visible = e.constant(`vec4<bool>(${seen})`)
          if (problem.fill === undefined) out = `!${visible}`
          else
            y = e.constant(`select(vec4<f32>(${literal(e.module, "f32", problem.fill)}), ${y}, ${visible})`)
        }
        const none = e.constant(`(bitcast<vec4<u32>>(${y}) == vec4<u32>(0xff800000u)) | ${out}`)
        e.line(`${excluded} = ${excluded} || (!${past} && any(${none}));`)
        const absent = e.constant(`${none} | vec4<bool>(${past})`)
        e.line(`${place} = select(${y}, vec4<f32>(${nothing}), ${absent});`)
        e.line(`${tops[quad]} = max(${tops[quad]}, select(${y}, vec4<f32>(${lowest}), ${absent}));`)
      }
    })
  if (regions.mask === undefined || full === undefined) {
    each(regions.mask !== undefined, "0")
    return tops
  }
  // Loops of no turn instead of branches: a software device runs both sides of a branch.
  const skip = frame.tile.threadKeys
  each(true, e.bind(`select(0, ${skip}, ${full})`))
  each(false, e.bind(`select(${skip}, 0, ${full})`))
  return tops
}

/** One value for each four rows out of those of all threads that share them. Ends behind a barrier that follows the writes. */
export const reduce = (
  { e, tile, rowGroup, column, partial }: Frame,
  own: ReadonlyArray<string>,
  combine: (x: string, y: string) => string
): ReadonlyArray<string> => {
  const width = Math.min(tile.columns, Budget.reductionWidth)
  if (tile.columns === 1) {
    e.line("workgroupBarrier();")
    return own.map((x) => e.constant(x))
  }
  const stride = tile.rows / 4
  const offset = e.mul(rowGroup, String(tile.threadRows / 4))
  const mine = e.add(e.mul(column, String(stride)), offset)
  own.forEach((x, quad) => {
    e.line(`${partial}[${e.add(mine, String(quad))}] = ${x};`)
  })
  e.line("workgroupBarrier();")
  if (tile.columns > width) {
    const n = e.module.fresh("n")
    e.block("branch", `if (${column} < ${width})`, () => {
      const folded = own.map((x) => e.variable("vec4<f32>", x))
      e.block(
        "loop",
        `for (var ${n} = ${column} + ${width}; ${n} < ${tile.columns}; ${n} += ${width})`,
        () => {
          e.known(n)
          folded.forEach((x, quad) => {
            e.line(`${x} = ${combine(x, `${partial}[${n} * ${stride} + ${e.add(offset, String(quad))}]`)};`)
          })
        }
      )
      folded.forEach((x, quad) => {
        e.line(`${partial}[${e.add(mine, String(quad))}] = ${x};`)
      })
    })
    e.line("workgroupBarrier();")
  }
  return own.map((_, quad) => {
    const terms = range(width).map((n) => `${partial}[${e.add(offset, String(n * stride + quad))}]`)
    return e.constant(terms.reduce(combine))
  })
}

/** exp(x - top) for x <= top; an argument so low that the result rounds to 0 is cut off before exp sees it. */
export const fade = (x: string, top: string, type: "f32" | "vec4<f32>" = "vec4<f32>"): string =>
  `exp(max(${x} - ${top}, ${type}(-128.0)))`

/** Scores become weights relative to the new maximum; gives the factors on what earlier tiles summed. */
const weigh = (frame: Frame, first: string, highest: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { e, regions, rows, b, weights, maxima, sums } = frame
  const fades = maxima.map((m, quad) => {
    const top = e.constant(`max(${m}, ${highest[quad]})`)
    const factor = e.constant(fade(m, top))
    e.line(`${m} = ${top};`)
    e.line(`${sums[quad]} *= ${factor};`)
    return factor
  })
  ownKeys(frame, "0", first, (at, j) => {
    maxima.forEach((m, quad) => {
      const place = `${weights}[${e.add(at, String(quad))}]`
      const x = e.constant(place)
      const none = e.constant(`bitcast<vec4<u32>>(${x}) == vec4<u32>(0xff800000u)`)
      // x - x carries NaN, which max may drop.
      const p = e.constant(`select(${fade(x, m)} + (${x} - ${x}), vec4<f32>(), ${none})`)
      e.line(`${sums[quad]} += ${p};`)
      if (regions.probability === undefined) {
        e.line(`${place} = ${p};`)
        return
      }
      const factors = lanes.map((_, n) => {
        const row = rows[quad * 4 + n]
        return row === undefined ? "1.0" : (regions.probability?.(b, row.h, row.i, j) as string)
      })
      e.line(`${place} = select(${p} * vec4<f32>(${factors.join(", ")}), vec4<f32>(), ${none});`)
    })
  })
  return fades
}

/** Adds the tile's weighted values. Where a key is excluded for some row its value must not reach that row, not even as 0 * NaN. */
const accumulate = (frame: Frame, first: string, end: string, careful: string): void => {
  const { e, tile, problem, v, b, head, valueColumn, slice, stage, weights, values } = frame
  const stride = Budget.rowStride(problem.E)
  const skip = e.constant(`atomicLoad(&${careful}[0]) != 0u`)
  const count = e.bind(`min(${tile.keys}, ${end} - ${first})`)
  const each = (start: string, add: (sum: string, weight: string, value: string) => string): void =>
    e.loop(start, count, String(tile.slices), (j) => {
      const position = e.add(first, j)
      const vectors = range(tile.chunks).map((n) => {
        const chunk = e.add(valueColumn, String(n * tile.valueColumns))
        return tile.staged
          ? e.constant(`${stage}[${e.add(e.mul(j, String(stride)), chunk)}]`)
          : v.vec4(e, [b, head, position], chunk)
      })
      const at = weightsAt(frame, j)
      const quads = range(tile.threadRows / 4).map((quad) =>
        e.constant(`${weights}[${e.add(at, String(quad))}]`)
      )
      values.forEach((row, a) => {
        const [quad, lane] = laneOf(a)
        row.forEach((sum, n) => {
          e.line(`${sum} = ${add(sum, `${quads[quad]}.${lane}`, vectors[n] as string)};`)
        })
      })
    })
  each(e.bind(`select(${slice}, ${count}, ${skip})`), (sum, p, x) => `${sum} + ${p} * ${x}`)
  each(
    e.bind(`select(${count}, ${slice}, ${skip})`),
    (sum, p, x) => `select(${sum} + ${p} * ${x}, ${sum}, ${p} == 0.0)`
  )
}

/** Adds the sums of the slices into those of the first slice. */
export const joinSlices = ({ e, tile, rowGroup, valueColumn, slice, stage, values }: Frame): void => {
  if (tile.slices === 1 || values.length === 0) return
  const width = tile.valueColumns * tile.chunks
  const n = e.module.fresh("n")
  const place = (a: number, chunk: number): string => {
    const row = e.add(e.mul(rowGroup, String(tile.threadRows)), String(a))
    return `${stage}[${e.add(e.add(e.mul(row, String(width)), valueColumn), String(chunk * tile.valueColumns))}]`
  }
  const all = (each: (value: string, place: string) => string): string =>
    values.map((row, a) => row.map((value, chunk) => each(value, place(a, chunk))).join(" ")).join(" ")
  const [give, take] = [all((value, at) => `${at} = ${value};`), all((value, at) => `${value} += ${at};`)]
  e.block("loop", `for (var ${n} = 1; ${n} < ${tile.slices}; ${n} += 1)`, () => {
    e.line("workgroupBarrier();")
    e.line(`if (${slice} == ${n}) { ${give} }`)
    e.line("workgroupBarrier();")
    e.line(`if (${slice} == 0) { ${take} }`)
  })
}

/** Workgroups of one dispatch. */
export const workgroups = (problem: Problem, perPair: Size.SizeLike): Size.Size =>
  Size.mul(Size.mul(problem.B, problem.Hkv), perPair)
