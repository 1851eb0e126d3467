import { OutOfMemory, UnsupportedByDevice } from "../../errors.ts"

/**
 * Buffers of one use, reused between calls: a freed buffer serves the next request of its size class, so that
 * calls at varying lengths settle at a fixed set of buffers.
 */
export interface Buffers {
  /** A buffer of at least `bytes`; `what` names it in errors. Throws OutOfMemory or UnsupportedByDevice beyond the limits. */
  readonly acquire: (bytes: number, what: string) => GPUBuffer
  readonly release: (buffer: GPUBuffer) => void
  /** Takes back a buffer that may have got no memory, or whose state is unknown: it is not used again. */
  readonly discard: (buffer: GPUBuffer) => void
  /** Destroys the buffers that wait for reuse and says whether there were any. */
  readonly trim: () => boolean
  /** Buffers handed out and not released. */
  readonly alive: () => number
  /** Buffers created so far: a call that creates none cannot run out of memory. */
  readonly created: () => number
  readonly destroy: () => void
}

/** GPUBufferUsage: STORAGE, COPY_SRC, COPY_DST, UNIFORM, QUERY_RESOLVE. What kernels read and write, and what times them. */
export const forKernels = 0x80 | 0x04 | 0x08 | 0x40 | 0x200

/** GPUBufferUsage: MAP_READ, COPY_DST. What the host reads back. */
export const forReading = 0x1 | 0x8

/** Bytes kept for reuse at most; beyond it buffers of the size that was unused for longest are destroyed. */
const keepBytes = 256 * 1024 * 1024

const smallest = 256

/** Sizes are rounded up to one of eight steps between powers of two, so at most an eighth is unused. */
export const sizeClass = (bytes: number): number => {
  if (bytes <= smallest) return smallest
  const step = Math.max(smallest, 2 ** (Math.floor(Math.log2(bytes)) - 3))
  return Math.ceil(bytes / step) * step
}

/** Throws where a tensor cannot be one buffer and one binding of the device. */
export const check = (
  bytes: number,
  what: string,
  limits: Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">
): void => {
  if (bytes > limits.maxStorageBufferBindingSize) {
    throw new UnsupportedByDevice({
      message: `${what} takes ${bytes} bytes, the device's maxStorageBufferBindingSize is ${limits.maxStorageBufferBindingSize}`,
      hint: "use a smaller batch or length, or a device with higher limits"
    })
  }
  if (bytes > limits.maxBufferSize) {
    throw new OutOfMemory({
      bytes,
      message: `${what} takes ${bytes} bytes, the device's maxBufferSize is ${limits.maxBufferSize}`,
      hint: "use a smaller batch or length, or a device with higher limits"
    })
  }
}

/** `making` is told before a buffer is created. */
export const make = (
  device: GPUDevice,
  usage: number,
  making: () => void = () => {},
  keep: number = keepBytes
): Buffers => {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits
  // By size; the size that was released last is the last of the map. The oldest buffer is the last of its size and taken first,
  // so that calls that repeat find the same buffers, and with them the bind groups that they made.
  const idle = new Map<number, Array<GPUBuffer>>()
  const ages = new WeakMap<GPUBuffer, number>()
  const out = new Set<GPUBuffer>()
  let kept = 0
  let created = 0

  /** Takes an idle buffer of a size out of the pool. */
  const pop = (size: number): GPUBuffer | undefined => {
    const same = idle.get(size)
    const buffer = same?.pop()
    if (same?.length === 0) idle.delete(size)
    if (buffer !== undefined) kept -= size
    return buffer
  }

  const trimTo = (bytes: number): void => {
    for (const size of [...idle.keys()]) {
      while (kept > bytes && idle.has(size)) pop(size)?.destroy()
    }
  }

  return {
    acquire: (bytes, what) => {
      check(bytes, what, { maxBufferSize, maxStorageBufferBindingSize })
      // Rounding must not push a legal size over the limit.
      const size = Math.min(sizeClass(bytes), maxBufferSize - (maxBufferSize % 4))
      let buffer = pop(size)
      if (buffer === undefined) {
        making()
        buffer = device.createBuffer({ size, usage })
        ages.set(buffer, created++)
      }
      out.add(buffer)
      return buffer
    },
    release: (buffer) => {
      if (!out.delete(buffer)) return
      const same = idle.get(buffer.size) ?? []
      const age = ages.get(buffer) ?? 0
      let at = same.length
      while (at > 0 && (ages.get(same[at - 1] as GPUBuffer) ?? 0) < age) at--
      same.splice(at, 0, buffer)
      idle.delete(buffer.size)
      idle.set(buffer.size, same)
      kept += buffer.size
      trimTo(keep)
    },
    discard: (buffer) => {
      if (out.delete(buffer)) buffer.destroy()
    },
    trim: () => {
      const any = idle.size > 0
      trimTo(-1)
      return any
    },
    alive: () => out.size,
    created: () => created,
    destroy: () => {
      trimTo(-1)
      for (const buffer of out) buffer.destroy()
      out.clear()
    }
  }
}
