import * as Dim from "../../../ir/Dim.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import * as Arena from "../../Arena.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import { mostBytes } from "../limits.ts"
import * as Program from "../Program.ts"
import * as Work from "../work.ts"
import { type Layout, layout } from "./layout.ts"
import type { Session } from "./Session.ts"
import { chunksOf, type Job, streamsOf } from "./threads/Pool.ts"

/** What of a call follows from its lengths, and from which arguments are copied or donated. */
export interface Prepared {
  readonly of: Asked
  readonly steps: ReadonlyArray<Program.Step>
  readonly jobs: ReadonlyArray<Job>
  readonly total: number
  /** Bytes of each output, and its sizes. */
  readonly outputs: ReadonlyArray<{ readonly bytes: number; readonly shape: ReadonlyArray<number> }>
  /** By the number of threads. */
  readonly placed: Map<number, Placed>
}

/** What a call is prepared for. */
interface Asked {
  readonly lengths: ReadonlyArray<number>
  readonly copied: ReadonlyArray<number>
  readonly donated: ReadonlyArray<number>
  readonly threads: number
}

const same = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i])

/** Where a call on so many threads keeps what only it needs. */
interface Placed {
  readonly own: Layout
  /** The words of all steps and threads, and the addresses that they were made for. */
  readonly words: Int32Array
  addresses: ReadonlyArray<number>
}

/** Of each program's last call: generation repeats the same lengths word after word. */
const lastOf = new WeakMap<Program.Program, Prepared>()

export const prepared = (
  session: Session,
  program: Program.Program,
  sizes: Dim.Bindings,
  copied: ReadonlyArray<number>,
  donated: ReadonlyArray<number>
): Prepared => {
  const lengths = program.symbols.map((s) => sizes[s] as number)
  const threads = session.pool.threads()
  const last = lastOf.get(program)
  const isLast =
    last !== undefined &&
    last.of.threads === threads &&
    same(last.of.lengths, lengths) &&
    same(last.of.copied, copied) &&
    same(last.of.donated, donated)
  if (isLast) return last
  const steps = Program.steps(program, sizes, new Set(donated))
  check(program, steps, sizes)
  // The kernels of a node share what they say of their work.
  const work = [...new Set(steps.map((step) => step.work))]
  const made: Prepared = {
    of: { lengths, copied, donated, threads },
    steps,
    jobs: steps.map((step) => jobOf(session, program, step, sizes)),
    total: work.reduce((sum, w) => sum + Work.evaluate(w, sizes), 0),
    outputs: program.outputs.map(({ type }) => ({
      bytes: Dim.evaluate(Program.storageBytes(type), sizes),
      // Results of several calls share it.
      shape: Object.freeze(Shape.evaluate(type.shape, sizes))
    })),
    placed: new Map()
  }
  lastOf.set(program, made)
  return made
}

/** What of one call cannot be addressed. Called before anything runs. */
const check = (program: Program.Program, steps: Prepared["steps"], sizes: Dim.Bindings): void => {
  const tensors = [...program.inputs, ...program.outputs].map(
    (p) =>
      [
        `${JSON.stringify(p.name)} ${TensorType.print(p.type)}`,
        Dim.evaluate(Program.storageBytes(p.type), sizes)
      ] as const
  )
  const slots = [...Arena.spans(steps).keys()].map(
    (i) => [`intermediate value ${i}`, Dim.evaluate((program.slots[i] as Program.Slot).bytes, sizes)] as const
  )
  for (const [what, bytes] of [...tensors, ...slots]) {
    if (bytes > mostBytes) {
      throw new UnsupportedByDevice({
        message: `${what} takes ${bytes} bytes, a tensor of the WebAssembly backend ${mostBytes} at most`,
        hint: "split the computation along its batch, or use a GPU backend"
      })
    }
  }
}

const jobOf = (
  session: Session,
  program: Program.Program,
  { kernel, work }: Program.Step,
  sizes: Dim.Bindings
): Job => {
  const { items: counted, stream } = program.kernels[kernel] as Program.Kernel
  const items = Program.items(counted, sizes)
  const [cost, threads] = [Work.evaluate(work, sizes), session.pool.threads()]
  if (stream === true) return { kernel, items, ...streamsOf(cost, items, threads, session.leastWork) }
  return { kernel, items, chunks: chunksOf(cost, items, threads, session.leastWork), large: 0 }
}

export const placed = (
  { steps, placed }: Prepared,
  program: Program.Program,
  sizes: Dim.Bindings,
  copied: ReadonlyArray<number>,
  threads: number
): Placed => {
  const known = placed.get(threads)
  if (known !== undefined) return known
  const own = layout(program, steps, copied, sizes, threads)
  const words = new Int32Array((own.argsStride / 4) * threads * steps.length)
  const lengths = program.symbols.map((s) => sizes[s] as number)
  for (let at = 0; at < words.length; at += own.argsStride / 4) words.set(lengths, at + 1)
  const made = { own, words, addresses: [] }
  placed.set(threads, made)
  return made
}

/** Addresses of one call. */
export interface Addresses {
  readonly arena: number
  readonly inputs: ReadonlyArray<number>
  readonly outputs: ReadonlyArray<number>
  readonly constants: ReadonlyArray<number>
}

/** The words that kernels are given. A call mostly has the addresses of the one before: then they are those of before, too. */
export const wordsOf = (
  { steps }: Prepared,
  place: Placed,
  program: Program.Program,
  threads: number,
  addresses: Addresses
): Int32Array => {
  const { own, words } = place
  const { arena, inputs, outputs, constants } = addresses
  const all = [arena, ...inputs, ...outputs]
  if (place.addresses.length > 0 && all.every((a, n) => a === place.addresses[n])) return words
  place.addresses = all
  const from = { input: inputs, output: outputs, constant: constants }
  const addressOf = ({ _tag, index }: Program.BufferRef): number =>
    _tag === "slot" ? arena + (own.slots.get(index) as number) : (from[_tag][index] as number)
  const stride = own.argsStride / 4
  const first = 1 + program.symbols.length
  steps.forEach(({ buffers }, n) => {
    for (let t = 0; t < threads; t++) {
      const at = (n * threads + t) * stride
      words[at] = arena + own.local + t * own.localStride
      buffers.forEach((buffer, i) => {
        words[at + first + i] = addressOf(buffer)
      })
    }
  })
  return words
}
