import { OutOfMemory, UnsupportedByDevice } from "../../errors.ts"

/**
 * Buffers of one device, reused between calls: a freed buffer serves the next request of its size class, so that
 * calls at varying lengths settle at a fixed set of buffers.
 */
export interface Buffers {
  /** A storage buffer of at least `bytes`; `what` names it in errors. Throws OutOfMemory beyond the limits. */
  readonly acquire: (bytes: number, what: string) => GPUBuffer
  readonly release: (buffer: GPUBuffer) => void
  /** Takes back a buffer that never got its memory. */
  readonly discard: (buffer: GPUBuffer) => void
  /** Buffers handed out and not released. */
  readonly alive: () => number
  /** Buffers created so far: a call that creates none cannot run out of memory. */
  readonly created: () => number
  readonly destroy: () => void
}

/** Bytes kept for reuse at most; beyond it a released buffer is destroyed. */
const keepBytes = 256 * 1024 * 1024

const smallest = 256

/** Sizes are rounded up to one of eight steps between powers of two, so at most an eighth is unused. */
export const sizeClass = (bytes: number): number => {
  if (bytes <= smallest) return smallest
  const step = Math.max(smallest, 2 ** (Math.floor(Math.log2(bytes)) - 3))
  return Math.ceil(bytes / step) * step
}

const storage = 0x80 | 0x04 | 0x08 | 0x40 // STORAGE | COPY_SRC | COPY_DST | UNIFORM

export const make = (device: GPUDevice): Buffers => {
  const free = new Map<number, Array<GPUBuffer>>()
  const out = new Set<GPUBuffer>()
  let kept = 0
  let created = 0
  return {
    acquire: (bytes, what) => {
      const { maxBufferSize, maxStorageBufferBindingSize } = device.limits
      if (bytes > maxStorageBufferBindingSize) {
        throw new UnsupportedByDevice({
          message: `${what} takes ${bytes} bytes, but the device binds ${maxStorageBufferBindingSize} at most`,
          hint: "use a smaller batch or length, or a device with a larger maxStorageBufferBindingSize"
        })
      }
      if (bytes > maxBufferSize) {
        throw new OutOfMemory({
          bytes,
          message: `${what} takes ${bytes} bytes, but the device allocates ${maxBufferSize} at most`,
          hint: "use a smaller batch or length"
        })
      }
      // Rounding must not push a legal size over the limit.
      const size = Math.min(sizeClass(bytes), maxBufferSize - (maxBufferSize % 4))
      const again = free.get(size)?.pop()
      if (again !== undefined) kept -= size
      else created++
      const buffer = again ?? device.createBuffer({ size, usage: storage })
      out.add(buffer)
      return buffer
    },
    release: (buffer) => {
      if (!out.delete(buffer)) return
      if (kept + buffer.size > keepBytes) {
        buffer.destroy()
        return
      }
      kept += buffer.size
      const same = free.get(buffer.size)
      if (same === undefined) free.set(buffer.size, [buffer])
      else same.push(buffer)
    },
    discard: (buffer) => {
      if (out.delete(buffer)) buffer.destroy()
    },
    alive: () => out.size,
    created: () => created,
    destroy: () => {
      for (const list of free.values()) for (const buffer of list) buffer.destroy()
      for (const buffer of out) buffer.destroy()
      free.clear()
      out.clear()
      kept = 0
    }
  }
}
