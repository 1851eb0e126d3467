import type { Bindings } from "../../../ir/Dim.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as Arena from "../../Arena.ts"
import * as Program from "../Program.ts"

/** Where in its piece of memory a call keeps what only this call needs: offsets in bytes. */
export interface Layout {
  readonly bytes: number
  /** Copies of arguments on the host. */
  readonly inputs: ReadonlyMap<number, number>
  readonly slots: ReadonlyMap<number, number>
  /** Memory that a kernel has to itself, for each thread. */
  readonly local: number
  readonly localStride: number
  /** Words that kernels are given: for each step, and in it for each thread, so many bytes. */
  readonly args: number
  readonly argsStride: number
}

/** Parts begin at multiples of a cache line, and vectors may read a little past their end. */
const line = 64
const padded = (bytes: number): number => Math.ceil((bytes + line) / line) * line

/** Where the intermediate values of a call lie in their part of its memory, and its bytes. */
export const intermediates = (
  { slots }: Pick<Program.Program, "slots">,
  steps: ReadonlyArray<Program.Step>,
  sizes: Bindings
): { readonly places: ReadonlyMap<number, number>; readonly bytes: number } => {
  const spans = [...Arena.spans(steps)]
  const lives = spans.map(([index, span]) => ({
    ...span,
    bytes: padded(Dim.evaluate((slots[index] as Program.Slot).bytes, sizes))
  }))
  const { offsets, bytes } = Arena.pack(lives)
  return { places: new Map(spans.map(([index], i) => [index, offsets[i] as number] as const)), bytes }
}

/** The memory of a call that runs these steps and copies these arguments. */
export const layout = (
  program: Program.Program,
  steps: ReadonlyArray<Program.Step>,
  copied: ReadonlyArray<number>,
  sizes: Bindings,
  threads: number
): Layout => {
  let bytes = 0
  const take = (wanted: number): number => {
    const offset = bytes
    bytes += padded(wanted)
    return offset
  }
  const inputs = new Map(
    copied.map((i) => {
      const { type } = program.inputs[i] as Program.Port
      return [i, take(Dim.evaluate(Program.storageBytes(type), sizes))] as const
    })
  )
  const arena = intermediates(program, steps, sizes)
  const slots = new Map([...arena.places].map(([i, offset]) => [i, bytes + offset] as const))
  bytes += arena.bytes
  const locals = steps.map((s) => Dim.evaluate((program.kernels[s.kernel] as Program.Kernel).local, sizes))
  const localStride = padded(Math.max(0, ...locals))
  const argsStride = 4 * (1 + program.symbols.length + Math.max(0, ...steps.map((s) => s.buffers.length)))
  const local = take(localStride * threads)
  const args = take(argsStride * threads * steps.length)
  return { bytes, inputs, slots, local, localStride, args, argsStride }
}
