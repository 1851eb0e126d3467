/** What a device session keeps, on a device that only counts. */
import { describe, expect, it } from "vitest"
import type { Kernel } from "../../../backends/webgpu/Program.ts"
import * as Buffers from "../../../backends/webgpu/runtime/Buffers.ts"
import * as Session from "../../../backends/webgpu/runtime/Session.ts"
import { fromDevice, storageBytes, toDevice } from "../../../backends/webgpu/runtime/transfer.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"

const fake = (limits: { readonly maxBufferSize: number; readonly maxStorageBufferBindingSize: number }) => {
  const alive = new Set<object>()
  let lose: (info: object) => void = () => undefined
  const device = {
    limits,
    lost: new Promise((resolve) => {
      lose = resolve
    }),
    queue: { writeBuffer: () => undefined },
    createBuffer: ({ size }: GPUBufferDescriptor) => {
      const buffer = { size, destroy: () => alive.delete(buffer) }
      alive.add(buffer)
      return buffer
    },
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: () => ({}),
    createComputePipelineAsync: async ({ label }: { readonly label: string }) => {
      if (label === "broken") throw new Error("no such thing")
      return { label }
    },
    pushErrorScope: () => undefined,
    popErrorScope: async () => null
  }
  return { device: device as unknown as GPUDevice, alive, lose }
}

const roomy = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 }

describe("the buffer pool", () => {
  it("serves a size class again", () => {
    const { device, alive } = fake(roomy)
    const pool = Buffers.make(device, Buffers.forKernels)
    const first = pool.acquire(1000, "x")
    expect(first.size).toBeGreaterThanOrEqual(1000)
    expect(pool.alive()).toBe(1)
    pool.release(first)
    pool.release(first)
    expect(pool.acquire(900, "y")).toBe(first)
    expect(pool.acquire(900, "z")).not.toBe(first)
    expect([pool.alive(), pool.created(), alive.size]).toEqual([2, 2, 2])
  })

  it("rounds sizes up by at most an eighth, in few steps, and never over a limit", () => {
    const classes = new Set<number>()
    for (let bytes = 1; bytes < 2 ** 20; bytes += 997) {
      const size = Buffers.sizeClass(bytes)
      classes.add(size)
      expect(size).toBeGreaterThanOrEqual(bytes)
      expect(size % 16).toBe(0)
      if (bytes > 2048) expect(size).toBeLessThanOrEqual(1.13 * bytes)
    }
    expect(classes.size).toBeLessThan(85)
    const { device } = fake({ maxBufferSize: 1100, maxStorageBufferBindingSize: 1100 })
    expect(Buffers.make(device, Buffers.forKernels).acquire(1100, "x").size).toBe(1100)
  })

  it("keeps so many bytes, and lets go of the size that was unused for longest", () => {
    const { device, alive } = fake(roomy)
    const pool = Buffers.make(device, Buffers.forKernels, () => {}, 4096)
    const [old, small, large] = [1024, 512, 3072].map((n) => pool.acquire(n, "x")) as [
      GPUBuffer,
      GPUBuffer,
      GPUBuffer
    ]
    for (const buffer of [old, small]) pool.release(buffer)
    expect(alive.size).toBe(3)
    pool.release(large)
    expect(alive.has(old)).toBe(false)
    expect(alive.size).toBe(2)
    expect([pool.acquire(512, "x"), pool.acquire(3072, "x")]).toEqual([small, large])
    pool.release(pool.acquire(8192, "too large to keep"))
    expect(alive.size).toBe(2)
    expect(pool.trim()).toBe(false)
    pool.release(small)
    expect(pool.trim()).toBe(true)
    pool.discard(large)
    expect([alive.size, pool.alive()]).toEqual([0, 0])
  })

  it("refuses what the device cannot bind or allocate, by name", () => {
    const { device, alive } = fake({ maxBufferSize: 2048, maxStorageBufferBindingSize: 4096 })
    const pool = Buffers.make(device, Buffers.forKernels)
    expect(() => pool.acquire(4097, "output q")).toThrow(
      expect.objectContaining({ _tag: "UnsupportedByDevice", message: expect.stringContaining("output q") })
    )
    expect(() => pool.acquire(2049, "output q")).toThrow(
      expect.objectContaining({ _tag: "OutOfMemory", bytes: 2049 })
    )
    expect([alive.size, pool.alive()]).toEqual([0, 0])
  })
})

const kernel = (wgsl: string, name = "map"): Kernel => ({
  name,
  wgsl,
  bindings: [],
  workgroupSize: [1, 1, 1],
  workgroups: Size.from(1),
  workgroupBytes: 0,
  requires: {}
})

describe("a session", () => {
  const open = () => {
    const { device, alive, lose } = fake(roomy)
    return { session: Session.make(device, Limits.portable), alive, lose }
  }

  it("compiles a text once, and forgets the one unused for longest", async () => {
    const { session } = open()
    const first = await session.pipeline(kernel("0"))
    expect(await session.pipeline(kernel("0", "another name"))).toBe(first)
    expect(session.pipelinesCreated()).toBe(1)
    for (let i = 1; i < 1024; i++) await session.pipeline(kernel(String(i)))
    expect(await session.pipeline(kernel("0"))).toBe(first)
    await session.pipeline(kernel("1024"))
    expect(session.pipelinesCreated()).toBe(1025)
    expect(await session.pipeline(kernel("0"))).toBe(first)
    await session.pipeline(kernel("1"))
    expect(session.pipelinesCreated()).toBe(1026)
  })

  it("does not remember a kernel that failed", async () => {
    const { session } = open()
    for (const created of [1, 2]) {
      await expect(session.pipeline(kernel("text", "broken"))).rejects.toMatchObject({
        _tag: "KernelError",
        source: "text",
        message: expect.stringContaining("no such thing")
      })
      expect(session.pipelinesCreated()).toBe(created)
    }
  })

  it("frees constants and pools when it closes", async () => {
    const { session, alive } = open()
    await session.constant(new Uint8Array(16))
    session.buffers.release(session.buffers.acquire(16, "x"))
    session.buffers.acquire(16, "y")
    session.staging.acquire(16, "z")
    expect(alive.size).toBe(3)
    session.close()
    expect(alive.size).toBe(0)
    expect(session.check).toThrow(expect.objectContaining({ _tag: "DeviceLost" }))
  })

  it("names the loss of its device as the cause of what fails afterwards", async () => {
    const { session, lose } = open()
    const aborted = Object.assign(new Error(""), { name: "AbortError" })
    expect((await session.explain(aborted))._tag).toBe("DeviceLost")
    expect(await session.explain(new Error("odd"))).toMatchObject({ _tag: "KernelError", what: "odd" })
    // Deno refuses what fails before it says that the device is gone.
    const early = session.explain(new Error("odd"))
    lose({ reason: "unknown", message: "driver reset" })
    expect(await early).toMatchObject({
      _tag: "DeviceLost",
      message: expect.stringContaining("driver reset")
    })
    await expect(session.pipeline(kernel("x"))).rejects.toMatchObject({ _tag: "DeviceLost" })
  })
})

describe("host arrays in buffers", () => {
  it.each(["f32", "f16", "bf16", "i32", "u32", "bool"] as const)(
    "%s survives the way there and back",
    (dtype) => {
      for (const length of [0, 1, 3, 5, 8]) {
        const array = HostArray.fromNumbers(
          dtype,
          [length],
          Float64Array.from({ length }, (_, i) => i % 2)
        )
        const there = toDevice(array)
        expect(there.byteLength % 4).toBe(0)
        const bytes = new Uint8Array(storageBytes(dtype, [length]))
        expect(bytes.length % 16).toBe(0)
        bytes.set(new Uint8Array(there.buffer, there.byteOffset, there.byteLength))
        expect(fromDevice(dtype, [length], bytes.buffer)).toEqual(array)
      }
    }
  )

  it("a view into a larger buffer uploads its own part", () => {
    const data = Float32Array.of(1, 2, 3, 4).subarray(1, 3)
    const there = toDevice({ dtype: "f32", shape: [2], data })
    expect(
      new Float32Array(there.buffer.slice(there.byteOffset, there.byteOffset + there.byteLength))
    ).toEqual(data)
  })
})
