import type { Bindings } from "../../ir/Dim.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Shape from "../../ir/Shape.ts"
import type { UnsupportedByDevice } from "../errors.ts"
import * as Visits from "./flash/visits.ts"
import * as Intermediates from "./Intermediates.ts"
import * as Program from "./Program.ts"
import * as Size from "./Size.ts"

/** A program at the lengths of one call, as plain data: every size is a number. */
export interface Launch {
  /** What the device cannot do of it; then nothing else here is of use. */
  readonly refused: UnsupportedByDevice | undefined
  /** Bytes of the arguments. */
  readonly inputs: ReadonlyArray<number>
  readonly outputs: ReadonlyArray<{ readonly bytes: number; readonly shape: ReadonlyArray<number> }>
  /** Intermediate memory of this call. */
  readonly intermediates: Intermediates.Intermediates
  /** Content of the uniform: for each range that does not begin at the first workgroup one more block. */
  readonly uniform: Int32Array<ArrayBuffer>
  /** Numbers of the kernels that run. */
  readonly kernels: ReadonlyArray<number>
  /** One submit each; more than one where the work would take too long for a watchdog. */
  readonly submits: ReadonlyArray<ReadonlyArray<Dispatch>>
}

/** Some workgroups of one step. */
export interface Dispatch {
  /** Index into the program's steps. */
  readonly step: number
  readonly grid: readonly [x: number, y: number]
  /** Where the block of its range lies in the uniform, in bytes. */
  readonly block: number
}

/**
 * Multiply-adds of one submit, about. Browsers and drivers give up on a device that does not answer for seconds (Chromium for ten, Windows
 * for two) and nothing else is drawn meanwhile, so this is half a second of a software device, and of the slowest GPUs one or two.
 */
export const mostWork = { cpu: 2.5e9, gpu: 2e10 } as const

export const make = (
  program: Program.Program,
  sizes: Bindings,
  donated: ReadonlySet<number>,
  limits: Limits,
  most: number = mostWork[limits.kind]
): Launch => {
  const running = Program.steps(program, sizes, donated)
  const refused = Program.unsupported(program, sizes, limits, running)
  if (refused !== undefined) {
    const nothing = { inputs: [], outputs: [], intermediates: Intermediates.none, kernels: [], submits: [] }
    return { refused, ...nothing, uniform: new Int32Array(0) }
  }
  const bytesOf = ({ bytes }: { readonly bytes: Size.Size }): number => Size.evaluate(bytes, sizes)
  const { submits, firsts } = split(program, running, sizes, limits, most)
  return {
    refused,
    inputs: program.inputs.map(bytesOf),
    outputs: program.outputs.map((o) => ({ bytes: bytesOf(o), shape: Shape.evaluate(o.type.shape, sizes) })),
    intermediates: Intermediates.of(program, running, sizes, limits),
    uniform: uniformOf(program, sizes, firsts),
    kernels: [...new Set(running.map((s) => s.kernel))],
    submits
  }
}

/** Blocks of the uniform lie as far apart as any device may want. */
const apart = 256

/** One block for each range: the same lengths, another first workgroup. */
const uniformOf = (
  program: Program.Program,
  sizes: Bindings,
  firsts: ReadonlyArray<number>
): Int32Array<ArrayBuffer> => {
  const blocks = firsts.map((first) => Program.uniform(program, sizes, first))
  const stride = strideOf(program) / 4
  const all = new Int32Array((blocks.length - 1) * stride + uniformBytes(program) / 4)
  for (const [i, content] of blocks.entries()) all.set(content, i * stride)
  return all
}

/** Bytes of one block. */
export const uniformBytes = (program: Program.Program): number =>
  Math.ceil((program.symbols.length + 2) / 4) * 16

const strideOf = (program: Program.Program): number => Math.ceil(uniformBytes(program) / apart) * apart

/** Divides work among submits, and a step that is too long by itself into ranges of its workgroups that have equal parts of it. */
const split = (
  program: Program.Program,
  running: ReadonlyArray<Program.Step>,
  sizes: Bindings,
  limits: Limits,
  most: number
): { readonly submits: ReadonlyArray<ReadonlyArray<Dispatch>>; readonly firsts: ReadonlyArray<number> } => {
  const numbers = new Map(program.steps.map((s, i) => [s, i] as const))
  const firsts = [0]
  const submits: Array<Array<Dispatch>> = [[]]
  let submitted = 0
  const send = (step: Program.Step, first: number, grid: Dispatch["grid"], share: number): void => {
    if (submitted > 0 && submitted + share > most) {
      submits.push([])
      submitted = 0
    }
    submitted += share
    const block = first === 0 ? 0 : (firsts.push(first) - 1) * strideOf(program)
    submits.at(-1)?.push({ step: numbers.get(step) as number, grid, block })
  }
  for (const step of running) {
    const count = Size.evaluate((program.kernels[step.kernel] as Program.Kernel).workgroups, sizes)
    const all = step.work === undefined ? 0 : Size.evaluate(step.work, sizes)
    const uneven = all > most && step.visits !== undefined
    const share = uneven ? Visits.share(step.visits, count, sizes) : (n: number): number => n / count
    const ranges = Math.max(1, Math.min(count, Math.ceil((all * share(count)) / most)))
    let first = 0
    for (let range = 1; range <= ranges && first < count; range++) {
      const end =
        range === ranges ? count : reaching((share(count) * range) / ranges, share, first + 1, count)
      // A range is a whole grid, so that no workgroup belongs to two; what the last leaves over is past all work.
      const grid =
        range === ranges ? Program.dispatchSize(count - first, limits) : within(end - first, limits)
      const next = Math.min(count, first + grid[0] * grid[1])
      send(step, first, grid, all * (share(next) - share(first)))
      first = next
    }
  }
  return { submits, firsts }
}

/** The least number of workgroups, of those between, that have such a share. */
const reaching = (wanted: number, share: Visits.Share, least: number, most: number): number => {
  let [low, high] = [least, most]
  while (low < high) {
    const middle = (low + high) >> 1
    if (share(middle) < wanted) low = middle + 1
    else high = middle
  }
  return low
}

/** The largest grid of at most so many workgroups, or nearly. */
const within = (count: number, limits: Limits): Dispatch["grid"] => {
  const y = Math.ceil(count / limits.maxComputeWorkgroupsPerDimension)
  return [Math.floor(count / y), y]
}
