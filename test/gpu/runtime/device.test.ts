/** Devices that are missing, too small, or go away. */
import { Effect, Exit, Fiber } from "effect"
import { describe, expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import type { EffuseError } from "../../../src/errors.ts"
import * as Promised from "../../../src/promise.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { upload } from "../../../src/transfer.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { adapterOf, sharedGpu } from "../../support/dawn.ts"
import { on, watchedGpu } from "../../support/watchedGpu.ts"

const x = spec("f32", ["N"])
const twice = compile(({ x }) => Tensor.add(x, x), { x })
const f32 = (length: number) => HostArray.zeros("f32", [length])

describe("no device", () => {
  const refusing = (requestDevice: () => unknown) => ({
    requestAdapter: async () => {
      const adapter = await adapterOf(await sharedGpu())
      return { features: adapter.features, limits: adapter.limits, info: adapter.info, requestDevice }
    }
  })
  const missing: ReadonlyArray<readonly [name: string, gpu: unknown, words: string]> = [
    ["no adapter", { requestAdapter: async () => null }, "no WebGPU adapter"],
    [
      "an adapter that cannot be asked for",
      { requestAdapter: () => Promise.reject(new Error("busy")) },
      "busy"
    ],
    [
      "a request that throws",
      refusing(() => {
        throw new Error("not now")
      }),
      "not now"
    ],
    [
      "an adapter that lacks what is asked of it",
      refusing(() => Promise.reject(new TypeError("Unsupported feature: shader-f16"))),
      "shader-f16"
    ]
  ]
  test.each(missing)("%s", async (_, gpu, words) => {
    const options = { gpu: gpu as GPU }
    const error = await Effect.runPromise(Effect.flip(Effect.provide(twice, WebGpu.layerWith(options))))
    expect(error._tag).toBe("UnsupportedByDevice")
    expect(error.message).toContain(words)
    expect((error as EffuseError).hint).toContain("Reference.layer")
    await expect(Promised.webgpu(options)).rejects.toMatchObject({ _tag: "UnsupportedByDevice" })
  })

  test("an adapter without any feature still computes in float16", async () => {
    const adapter = await adapterOf(await sharedGpu())
    const bare = {
      features: new Set(),
      limits: adapter.limits,
      info: adapter.info,
      requestDevice: adapter.requestDevice.bind(adapter)
    }
    const gpu = { requestAdapter: async () => bare } as unknown as GPU
    await Effect.gen(function* () {
      const f = yield* compile(({ x }) => Tensor.add(x, x), { x: spec("f16", ["N"]) })
      const out = yield* f({ x: HostArray.fromNumbers("f16", [3], [1, 2, 0.5]) })
      expect([...HostArray.toNumbers(out)]).toEqual([2, 4, 1])
      expect((yield* Backend).limits).toMatchObject({ shaderF16: false, subgroups: undefined })
    }).pipe(Effect.provide(WebGpu.layerWith({ gpu })), Effect.runPromise)
  })
})

describe("a device that goes away", () => {
  const lost = (error: EffuseError): void => {
    expect(error._tag).toBe("DeviceLost")
    expect(error.message).toMatch(/destroyed|went away|lost/)
    expect(error.hint).toContain("WebGpu.layer")
  }

  test("between calls: calls, uploads, downloads and compilations say so", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        const held = yield* upload(f32(2))
        const left = yield* f.onDevice({ x: held })
        watched.device().destroy()
        lost(yield* Effect.flip(backend.download(left)))
        lost(yield* Effect.flip(f({ x: f32(2) })))
        lost(yield* Effect.flip(f.onDevice({ x: held })))
        lost(yield* Effect.flip(upload(f32(2))))
        lost(yield* Effect.flip(compile(({ x }) => Tensor.exp(x), { x })))
        lost(yield* Effect.flip(twice))
        expect(backend.buffersAlive()).toBe(2)
      }).pipe(Effect.scoped)
    )
    expect(watched.uncaptured).toEqual([])
  })

  test.each([0, 1, 2, 3, 5, 10])("during a call, %d turns in: it ends", async (turns) => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        const g = yield* compile(({ x, y }) => Tensor.matmul(x, y), {
          x: spec("f32", [200, 200]),
          y: spec("f32", [200, 200])
        })
        yield* f({ x: f32(2) })
        const big = HostArray.zeros("f32", [200, 200])
        const running = yield* Effect.all(
          [f({ x: f32(2) }), f({ x: f32(4000) }), g({ x: big, y: big })].map((call) =>
            Effect.forkChild(Effect.exit(call))
          )
        )
        for (let i = 0; i < turns; i++) yield* Effect.promise(() => Promise.resolve())
        watched.device().destroy()
        for (const fiber of running) {
          const outcome = yield* Fiber.join(fiber)
          if (Exit.isFailure(outcome)) lost(yield* Effect.flip(outcome))
        }
        expect(backend.buffersAlive()).toBe(0)
        lost(yield* Effect.flip(f({ x: f32(2) })))
      }).pipe(Effect.timeout(10_000))
    )
  })
})

describe("a device that goes away during compilation", () => {
  test.each([0, 1, 2, 5])("%d turns in: it ends, and says so", async (turns) => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const compiling = yield* Effect.forkChild(
          Effect.exit(
            compile(({ x }) => Tensor.softmax(Tensor.add(x, Tensor.fromValues([1, 2])), -1), {
              x: spec("f32", ["N", 2])
            })
          )
        )
        yield* Effect.yieldNow
        for (let i = 0; i < turns; i++) yield* Effect.promise(() => Promise.resolve())
        watched.device().destroy()
        const outcome = yield* Fiber.join(compiling)
        expect(Exit.isFailure(outcome)).toBe(true)
        if (Exit.isFailure(outcome)) expect(yield* Effect.flip(outcome)).toMatchObject({ _tag: "DeviceLost" })
      }).pipe(Effect.timeout(10_000))
    )
    expect(watched.uncaptured).toEqual([])
  })
})

describe("limits", () => {
  const small = { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 }

  test("a tensor that no binding holds is refused by name before anything runs", async () => {
    const watched = await watchedGpu(small)
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        yield* f({ x: f32(1024) })
        const submits = watched.submits()
        const error = yield* Effect.flip(f({ x: f32(1025) }))
        expect(error._tag).toBe("UnsupportedByDevice")
        expect(error.message).toContain('input "x"')
        expect(error.message).toContain("4112 bytes")
        expect(error.message).toContain("maxStorageBufferBindingSize is 4096")
        expect(error.hint).toBeTruthy()
        const wide = yield* compile(
          ({ x, y }) => Tensor.softmax(Tensor.matmul(x, y), 0).pipe(Tensor.softmax(1), Tensor.sum(1)),
          { x: spec("f32", ["N", 1]), y: spec("f32", [1, "N"]) }
        )
        const square = (n: number) => ({
          x: HostArray.zeros("f32", [n, 1]),
          y: HostArray.zeros("f32", [1, n])
        })
        const inside = yield* Effect.flip(wide(square(40)))
        expect(inside._tag).toBe("UnsupportedByDevice")
        expect(inside.message).toContain("intermediate value")
        expect((yield* Effect.flip(upload(f32(1025))))._tag).toBe("UnsupportedByDevice")
        expect(watched.submits()).toBe(submits)
        expect(backend.buffersAlive()).toBe(0)
        expect((yield* f({ x: f32(1024) })).shape).toEqual([1024])
      }).pipe(Effect.scoped)
    )
    expect(watched.uncaptured).toEqual([])
  })

  test("a constant that no binding holds is refused when it is compiled", async () => {
    const watched = await watchedGpu(small)
    const numbers = Array.from({ length: 1100 }, (_, i) => i)
    const table = compile(({ x }) => Tensor.gather(Tensor.fromValues(numbers), x, 0), {
      x: spec("i32", ["N"])
    })
    await on(
      watched,
      Effect.gen(function* () {
        const error = yield* Effect.flip(table)
        expect(error._tag).toBe("UnsupportedByDevice")
        expect(error.message).toContain("constant")
        yield* (yield* twice)({ x: f32(3) })
      })
    )
    expect(watched.uncaptured).toEqual([])
  })

  test("memory that the device does not have is an error of the call that wanted it", async () => {
    const watched = await watchedGpu()
    await on(
      watched,
      Effect.gen(function* () {
        const backend = yield* Backend
        const f = yield* twice
        const held = yield* upload(f32(3))
        const device = watched.device()
        // The software device always has memory: here it says that it has not, as a device does.
        const createBuffer = device.createBuffer
        const popErrorScope = device.popErrorScope.bind(device)
        let [full, scopes] = [false, 0]
        device.createBuffer = (descriptor) => {
          if (descriptor.size > 4096) full = true
          return createBuffer(descriptor)
        }
        device.popErrorScope = async () => {
          const error = await popErrorScope()
          // The scope for memory is the outer one, which ends second.
          return full && ++scopes % 2 === 0 ? new GPUOutOfMemoryError("no memory") : error
        }
        const attempts: ReadonlyArray<Effect.Effect<unknown, EffuseError, Backend>> = [
          f({ x: f32(5000) }),
          Effect.scoped(f.onDevice({ x: f32(5000) })),
          Effect.scoped(upload(f32(5000)))
        ]
        for (const attempt of attempts) {
          ;[full, scopes] = [false, 0]
          const error = yield* Effect.flip(attempt)
          expect(error._tag).toBe("OutOfMemory")
          expect(error.hint).toBeTruthy()
          expect(backend.buffersAlive()).toBe(1)
        }
        full = false
        device.createBuffer = createBuffer
        device.popErrorScope = popErrorScope
        expect([...(yield* f({ x: held })).data]).toEqual([0, 0, 0])
      }).pipe(Effect.scoped)
    )
  })
})
