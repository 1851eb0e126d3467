import type { Bindings } from "../../../ir/Dim.ts"
import * as Dim from "../../../ir/Dim.ts"
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
  const slots = new Map(
    [...Program.slotsOf(steps)].map(
      (i) => [i, take(Program.slotBytes(program.slots[i] as Program.Slot, sizes))] as const
    )
  )
  const locals = steps.map((s) => Dim.evaluate((program.kernels[s.kernel] as Program.Kernel).local, sizes))
  const localStride = padded(Math.max(0, ...locals))
  const argsStride = 4 * (1 + program.symbols.length + Math.max(0, ...steps.map((s) => s.buffers.length)))
  const local = take(localStride * threads)
  const args = take(argsStride * threads * steps.length)
  return { bytes, inputs, slots, local, localStride, args, argsStride }
}
