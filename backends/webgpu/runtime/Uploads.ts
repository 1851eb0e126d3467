import { sizeClass } from "./Buffers.ts"

/**
 * Memory that the host writes and the device copies from. Buffers take turns: while the device copies from one the host fills another.
 * In a browser the device is in another process, and a mapped buffer is the memory that both see; what the queue itself
 * is given to write is copied there and once more.
 */
export interface Uploads {
  /** A buffer that holds the data, to be copied from once; undefined where the queue had better write it. */
  readonly stage: (data: ArrayBufferView<ArrayBuffer>) => GPUBuffer | undefined
  /** The copy has been submitted: the buffer takes its turn again when that is done. */
  readonly recycle: (buffer: GPUBuffer) => void
  /** No copy has been submitted, or the buffer may have got no memory. */
  readonly discard: (buffer: GPUBuffer) => void
  /** Buffers created so far. */
  readonly created: () => number
  /** Destroys the buffers that wait for their turn and says whether there were any. */
  readonly trim: () => boolean
  readonly destroy: () => void
}

/** GPUBufferUsage: MAP_WRITE, COPY_SRC. */
const forWriting = 0x2 | 0x4

/** GPUMapMode.WRITE. */
const write = 0x2

/** From this size on a mapped buffer is faster; and bytes that wait for their turn at most. */
const [least, keepBytes] = [512 * 1024, 128 * 1024 * 1024]

/** Whether this runs in a browser, where the device is in another process. In Node and Deno it is in this one. */
export const isRemote = (): boolean => !("process" in globalThis || "Deno" in globalThis)

/** `making` is told before a buffer is created. */
export const make = (device: GPUDevice, remote: boolean, making: () => void = () => {}): Uploads => {
  // Mapped, by size; the oldest of a size is the first.
  const ready = new Map<number, Array<GPUBuffer>>()
  const all = new Set<GPUBuffer>()
  let [kept, created] = [0, 0]

  const discard = (buffer: GPUBuffer): void => {
    if (all.delete(buffer)) buffer.destroy()
  }

  const take = (size: number): GPUBuffer | undefined => {
    const buffer = ready.get(size)?.shift()
    if (buffer !== undefined) kept -= size
    return buffer
  }

  return {
    stage: (data) => {
      if (!remote || data.byteLength < least) return undefined
      const size = sizeClass(data.byteLength)
      let buffer = take(size)
      if (buffer === undefined) {
        making()
        try {
          buffer = device.createBuffer({ size, usage: forWriting, mappedAtCreation: true })
        } catch {
          // There is no memory to map; the queue may have a way.
          return undefined
        }
        created++
        all.add(buffer)
      }
      const { buffer: bytes, byteOffset, byteLength } = data
      new Uint8Array(buffer.getMappedRange(0, byteLength)).set(new Uint8Array(bytes, byteOffset, byteLength))
      buffer.unmap()
      return buffer
    },
    recycle: (buffer) => {
      buffer.mapAsync(write).then(
        () => {
          if (!all.has(buffer)) return
          if (kept + buffer.size > keepBytes) {
            discard(buffer)
            return
          }
          kept += buffer.size
          ready.set(buffer.size, [...(ready.get(buffer.size) ?? []), buffer])
        },
        () => discard(buffer)
      )
    },
    discard,
    created: () => created,
    trim: () => {
      const any = kept > 0
      for (const buffers of ready.values()) buffers.forEach(discard)
      ready.clear()
      kept = 0
      return any
    },
    destroy: () => {
      for (const buffer of all) buffer.destroy()
      all.clear()
      ready.clear()
    }
  }
}
