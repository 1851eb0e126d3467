import type * as Budget from "../../../ir/flashBudget.ts"
import type { Lowered, Ref } from "../Job.ts"
import type { Condition } from "../Program.ts"
import * as Size from "../Size.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Module from "../wgsl/Module.ts"
import { allOf, literal } from "../wgsl/scalar.ts"
import * as Frame from "./frame.ts"
import * as Output from "./output.ts"
import * as Owned from "./owned.ts"
import { kernelName, type Problem } from "./Problem.ts"
import * as Quarters from "./quarters.ts"
import * as Rows from "./rows.ts"
import { fade } from "./scores.ts"
import * as Tile from "./tile.ts"
import * as Visit from "./visit.ts"
import * as Visits from "./visits.ts"

/** Splits that a call is divided into: none has fewer than the schedule's keys, but for the last. */
export const splitsOf = ({ schedule, S }: Problem, tile: Budget.Tile): Size.Size =>
  Size.max(
    1,
    Size.min(
      Math.ceil(schedule.decode.maxSplits / (tile.shared ? 4 : 1)),
      Size.ceilDiv(S, Visit.leastKeys(schedule, tile))
    )
  )

/** Parts of a row: splits, of which each leaves what it saw of masked keys apart, since greater scores elsewhere may exclude these. */
const partsOf = (problem: Problem, splits: Size.Size): Size.Size => Size.mul(splits, Visit.turns(problem))

/** Bytes of the parts that splits leave for the combining kernel. A call of more than `most` rows is a prefill and leaves none. */
export const partBytes = (problem: Problem, tile: Budget.Tile, most: number): Size.Size =>
  Size.mul(
    Frame.workgroups(problem, partsOf(problem, splitsOf(problem, tile))),
    Size.mul(Size.min(problem.R, most), Rows.partWidth(problem) * 16)
  )

const partElement = { dtype: "f32", type: "vec4<f32>" } as const

/**
 * The kernel for few queries: a workgroup serves all packed rows of one key/value head on one part of the keys, so that K and V are read
 * once. With one split it stores the result itself, with more it leaves its part for `combine`.
 */
export const decode = (
  problem: Problem,
  tile: Budget.Tile,
  parts: Ref,
  when: ReadonlyArray<Condition>
): Lowered => {
  const module = Module.make(problem.job)
  const splits = splitsOf(problem, tile)
  const frame = Frame.open(module, problem, tile, splits)
  const { e, b, head, split } = frame
  const buffer = module.buffer(parts, { ...partElement, access: "read_write" })
  const turns = Visit.turns(problem)
  const loop = tile.shared ? Quarters.loop : tile.owned ? Owned.loop : Tile.loop
  const threadSplits = tile.owned && !tile.shared
  const storePart = (sums: ReadonlyArray<string>, turn: string): void => {
    const pair = e.add(e.mul(b, e.dim(problem.Hkv)), head)
    const number = e.add(e.mul(turn, frame.splits), split)
    const first = e.mul(e.add(e.mul(pair, e.mul(frame.splits, String(turns))), number), frame.rowCount)
    const store = (): void => Rows.storePartial(frame, sums, buffer, first)
    if (threadSplits) e.branch(`${split} < ${frame.splits}`, store)
    else store()
  }
  const alone = threadSplits ? allOf(`${frame.splits} == 1`, `${split} == 0`) : `${frame.splits} == 1`
  if (turns === 1) {
    loop(frame, () => {})
    const sums = Rows.join(frame)
    e.branch(
      alone,
      () => Rows.storeResult(frame, sums),
      () => storePart(sums, "0")
    )
  } else {
    loop(frame, (turn) =>
      e.branch(`${frame.splits} > 1`, () => {
        storePart(Rows.join(frame), turn)
        Rows.forget(frame)
      })
    )
    e.branch(alone, () => Rows.storeResult(frame, Rows.join(frame)))
  }
  const blocks = Frame.blocksOf(problem, tile, splits)
  const lowered = module.finish({
    name: kernelName(tile.staged ? "flash_short" : "flash_decode", problem),
    lines: e.lines(),
    workgroupSize: [tile.threads, 1, 1],
    workgroups: Frame.workgroups(problem, blocks),
    when
  })
  const visits = Visits.of(problem, tile.rows, blocks)
  return visits === undefined ? lowered : { ...lowered, visits }
}

/** Merges the parts of the splits, those of a softmax each relative to its own maximum: one thread for each row and chunk of four values. */
export const combine = (
  problem: Problem,
  splitsOfCall: Size.Size,
  parts: Ref,
  when: ReadonlyArray<Condition>
): Lowered => {
  const module = Module.make(problem.job)
  const e = Emitter.make(module)
  const threads = 64
  const { R, outputs, hasResult } = problem
  const width = Rows.partWidth(problem)
  const chunks = hasResult ? Math.ceil(problem.E / 4) : 1
  const items = Size.mul(Frame.workgroups(problem, R), chunks)
  const buffer = module.buffer(parts, { ...partElement, access: "read" })
  const splits = e.bind(Size.wgsl(splitsOfCall, module.symbol))
  const count = e.bind(Size.wgsl(partsOf(problem, splitsOfCall), module.symbol))

  const item = e.constant(`${Module.workgroupIndex} * ${threads} + i32(lix)`)
  e.line(`if (${item} >= ${Size.wgsl(items, module.symbol)}) { return; }`)
  const [number, chunk] = splitNumber(e, item, chunks)
  const [pair, row] = splitNumber(e, number, e.dim(R))
  const [b, head] = splitNumber(e, pair, e.dim(problem.Hkv))
  const [i, member] = splitNumber(e, row, e.dim(problem.group))
  const h = e.add(e.mul(head, e.dim(problem.group)), member)
  const rowAt = (split: string): string =>
    e.mul(e.add(e.mul(e.add(e.mul(pair, count), split), e.dim(R)), row), String(width))
  const statistics = (split: string): string =>
    e.bindLoad(`${buffer}[${e.add(rowAt(split), String(width - 1))}]`)

  const top = e.variable("f32", literal(module, "f32", -3.4028234663852886e38))
  const sum = e.variable("f32", "0.0")
  const value = e.variable("vec4<f32>", "vec4<f32>()")
  if (problem.normalised) {
    e.loop("0", count, "1", (split) => {
      e.line(`${top} = max(${top}, ${statistics(split)}.x);`)
    })
  }
  // Masked keys take no part in a row whose greatest score is far above theirs.
  const taken =
    problem.fill === undefined
      ? count
      : e.constant(`select(${count}, ${splits}, ${top} > ${Visit.limitOf({ e, problem })})`)
  e.loop("0", taken, "1", (split) => {
    const own = (): string => `${buffer}[${e.add(rowAt(split), chunk)}]`
    if (!problem.normalised) {
      e.line(`${value} += ${own()};`)
      return
    }
    const part = statistics(split)
    if (problem.onlyMaxima) {
      e.line(`${sum} += ${part}.y;`)
      return
    }
    const weight = e.constant(`select(${fade(`${part}.x`, top, "f32")}, 0.0, ${part}.y == 0.0)`)
    e.line(`${sum} += ${part}.y * ${weight};`)
    if (!hasResult) return
    // Sums of a split whose weights are 0 beside a sink may still be NaN.
    e.line(`${value} += ${own()} * ${weight};`)
  })
  for (const { kind, job } of outputs) {
    const output = Output.make(e, problem, job)
    if (kind === "result") {
      output.chunk([b, h, i], chunk, Rows.normalised(e, problem, value, problem.normalised ? sum : undefined))
    } else {
      const store = (): void => output.scalar([b, h, i], Rows.statistic(e, kind, top, sum))
      if (chunks === 1) store()
      else e.branch(`${chunk} == 0`, store)
    }
  }
  const lowered = module.finish({
    name: kernelName("flash_combine", problem),
    lines: e.lines(),
    workgroupSize: [threads, 1, 1],
    workgroups: Size.ceilDiv(items, threads),
    when
  })
  return { ...lowered, work: Size.mul(items, Size.mul(partsOf(problem, splitsOfCall), 4)) }
}

const splitNumber = (e: Emitter.Emitter, number: string, by: string | number): readonly [string, string] => {
  if (String(by) === "1") return [number, "0"]
  const quotient = e.bind(`${number} / ${by}`)
  return [quotient, e.bind(`${number} - ${quotient} * ${by}`)]
}
