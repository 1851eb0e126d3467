import type { Bindings } from "../../ir/Dim.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Arena from "../Arena.ts"
import type { Kernel, Program, Slot, Step } from "./Program.ts"
import * as Size from "./Size.ts"

/** Memory for what the kernels of one call leave for later ones. */
export interface Intermediates {
  /** Bytes of each buffer: the arena, further pieces of it where the device has no buffers so large, and what lies apart. */
  readonly buffers: ReadonlyArray<number>
  /** Of each slot that some step binds. */
  readonly places: ReadonlyMap<number, Place>
}

/** A range of one of the buffers, in bytes. */
export interface Place {
  readonly buffer: number
  readonly offset: number
  readonly bytes: number
}

export const none: Intermediates = { buffers: [], places: new Map() }

/** Where any device lets a binding begin (`minStorageBufferOffsetAlignment`). */
const unit = 256

/** The intermediate memory of the steps that one call runs. */
export const of = (
  { kernels, slots }: Pick<Program, "kernels" | "slots">,
  running: ReadonlyArray<Step>,
  sizes: Bindings,
  limits: Pick<Limits, "maxBufferSize" | "maxStorageBufferBindingSize">
): Intermediates => {
  const piece = Math.floor(Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize) / unit) * unit
  const apart = onlyRead(kernels, running)
  const used = [...Arena.spans(running)].map(([index, span]) => {
    const exact = Size.evaluate((slots[index] as Slot).bytes, sizes)
    const bytes = Math.ceil(exact / unit) * unit
    return bytes > piece || apart.has(index)
      ? { index, apart: true, bytes: exact, ...span }
      : { index, apart: false, bytes, ...span }
  })
  const shared = used.filter((u) => !u.apart)
  const arena = Arena.pack(shared, piece)
  const buffers: Array<number> = []
  for (let rest = arena.bytes; rest > 0; rest -= piece) buffers.push(Math.min(rest, piece))
  const places = new Map<number, Place>()
  for (const [i, { index, bytes }] of shared.entries()) {
    const offset = arena.offsets[i] as number
    places.set(index, { buffer: Math.floor(offset / piece), offset: offset % piece, bytes })
  }
  for (const { index, bytes } of used.filter((u) => u.apart))
    places.set(index, { buffer: buffers.push(bytes) - 1, offset: 0, bytes })
  return { buffers, places }
}

/** Slots that some step binds only to read them, while it writes another: they lie in no buffer with that. */
const onlyRead = (kernels: ReadonlyArray<Kernel>, running: ReadonlyArray<Step>): ReadonlySet<number> => {
  const found = new Set<number>()
  for (const { kernel, buffers } of running) {
    const { bindings } = kernels[kernel] as Kernel
    const slots = buffers.flatMap(({ _tag, index }, i) =>
      _tag === "slot" ? [{ index, access: bindings[i]?.access }] : []
    )
    if (!slots.some(({ access }) => access === "read_write")) continue
    for (const { access, index } of slots) if (access === "read") found.add(index)
  }
  return found
}
