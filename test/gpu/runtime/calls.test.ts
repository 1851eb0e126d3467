/** What one call asks of the device, counted at the device's own methods. */
import { Effect } from "effect"
import { expect, test } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import { sizeClass } from "../../../backends/webgpu/runtime/Buffers.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { download, upload } from "../../../src/transfer.ts"
import { on, type Watched, watchedGpu } from "../../support/watchedGpu.ts"

const kernels = 12

/** A chain of that many kernels: contractions, and norms between them. */
const chain = compile(
  ({ x, w }) => {
    let y = x as Tensor.Tensor
    for (let i = 0; i < kernels; i++) y = i % 2 === 0 ? Tensor.matmul(y, w) : Tensor.rmsNorm(y)
    return y
  },
  { x: spec("f32", ["T", 4]), w: spec("f32", [4, 4]) }
)

const methods = [
  ...["createBuffer", "createBindGroup", "createCommandEncoder", "beginComputePass", "setPipeline"],
  ...["setBindGroup", "dispatchWorkgroups", "copyBufferToBuffer", "writeBuffer", "submit", "pushErrorScope"]
] as const

/** How often each method is called meanwhile; those that are not are left out. */
const during = <A, E, R>(watched: Watched, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = methods.map(watched.calls)
    yield* effect
    const counts = methods.map((m, i) => [m, watched.calls(m) - (before[i] ?? 0)] as const)
    return Object.fromEntries(counts.filter(([, n]) => n > 0))
  })

const rows = (t: number) => HostArray.fromNumbers("f32", [t, 4], new Float64Array(4 * t).fill(0.25))

test("one encoder, one pass, one submit; the second call makes no object, another length none but what it must", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const f = yield* chain
      expect(f.stats({ T: 40 }).dispatches).toBe(kernels)
      const w = yield* upload(HostArray.zeros("f32", [4, 4]))
      const some = yield* upload(rows(40))
      const more = yield* upload(rows(41))
      const many = yield* upload(rows(900))
      const once = (x: typeof some) => Effect.scoped(f.onDevice({ x, w }))
      const least = {
        createCommandEncoder: 1,
        beginComputePass: 1,
        setPipeline: kernels,
        setBindGroup: kernels,
        dispatchWorkgroups: kernels,
        submit: 1
      }
      // What makes something is watched for errors; what repeats what went well is not.
      const made = { ...least, pushErrorScope: 2 }
      // An arena and a result; the lengths are new. When the call is over, the two pipelines for few rows are asked for: one writes where it reads.
      const over = Effect.promise(() => watched.device().queue.onSubmittedWorkDone())
      expect(yield* during(watched, Effect.andThen(once(some), over))).toEqual({
        ...made,
        pushErrorScope: 6,
        createBuffer: 2,
        createBindGroup: kernels,
        writeBuffer: 1
      })
      expect(yield* during(watched, once(some))).toEqual(least)
      // 41 rows fit the buffers of 40: only the lengths are written, and the first kernel reads another argument.
      expect(yield* during(watched, once(more))).toEqual({ ...made, createBindGroup: 1, writeBuffer: 1 })
      expect(yield* during(watched, once(more))).toEqual(least)
      expect(yield* during(watched, once(some))).toEqual({ ...least, writeBuffer: 1 })
      const before = watched.bytesAlive()
      expect(yield* during(watched, once(many))).toEqual({
        ...made,
        createBuffer: 2,
        createBindGroup: kernels,
        writeBuffer: 1
      })
      // What was counted beforehand for the arena, and the result, in buffers of the sizes there are.
      const { scratchBytes } = f.stats({ T: 900 })
      expect(scratchBytes).toBe(2 * 57 * 256)
      expect(watched.bytesAlive() - before).toBe(sizeClass(scratchBytes) + sizeClass(900 * 16))
      expect(yield* during(watched, once(many))).toEqual(least)
      // Reading back is a copy in the same submit.
      const read = { ...least, copyBufferToBuffer: 1 }
      yield* f({ x: some, w })
      expect(yield* during(watched, f({ x: some, w }))).toEqual(read)
      // What is on the host is written, and nothing else is.
      yield* f({ x: rows(40), w })
      expect(yield* during(watched, f({ x: rows(40), w }))).toEqual({
        ...read,
        writeBuffer: 1,
        pushErrorScope: 2
      })
    }).pipe(Effect.scoped)
  )
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
})

test("bind groups are found again for every array that is still there", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const f = yield* chain
      const w = yield* upload(HostArray.zeros("f32", [4, 4]))
      const xs = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i + 1),
        (t) => upload(rows(t))
      )
      const round = Effect.forEach(xs, (x) => Effect.scoped(f.onDevice({ x, w })), { discard: true })
      yield* round
      const counts = yield* during(watched, round)
      expect(counts).not.toHaveProperty("createBindGroup")
      expect(counts).toMatchObject({ writeBuffer: 100, submit: 100 })
    }).pipe(Effect.scoped)
  )
})

test("results that are left on the device come and go, and bind groups are found again", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* chain
      const weights = Float64Array.from({ length: 16 }, (_, i) => (i * 7) % 5)
      const w = yield* upload(HostArray.fromNumbers("f32", [4, 4], weights))
      const start = HostArray.fromNumbers(
        "f32",
        [3, 4],
        Float64Array.from({ length: 12 }, (_, i) => i - 4)
      )
      let x = yield* upload(start)
      const step = Effect.gen(function* () {
        const y = yield* f.onDevice({ x, w })
        yield* backend.free(x)
        x = y
      })
      for (let i = 0; i < 4; i++) yield* step
      for (let i = 0; i < 6; i++) {
        const counts = yield* during(watched, step)
        expect(counts).not.toHaveProperty("createBuffer")
        expect(counts).not.toHaveProperty("createBindGroup")
      }
      let expected: HostArray.HostArray = start
      for (let i = 0; i < 10; i++) expected = yield* f({ x: expected, w })
      expect((yield* download(x)).data).toEqual(expected.data)
    }).pipe(Effect.scoped)
  )
})

test("pipelines that all calls need are asked for at once, and once, whoever compiles", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const device = watched.device()
      const create = device.createComputePipelineAsync.bind(device)
      const waiting: Array<() => void> = []
      // No pipeline is ready before two have been asked for: who waits for the first to ask for the second waits for ever.
      device.createComputePipelineAsync = async (descriptor) => {
        if (waiting.length === 0) await new Promise<void>((done) => waiting.push(done))
        else for (const done of waiting) done()
        return create(descriptor)
      }
      const signature = { x: spec("f32", [8, 4]), w: spec("f32", [4, 4]) }
      const numbers = compile(({ x, w }) => Tensor.rmsNorm(Tensor.matmul(x, w)), signature)
      const f = yield* numbers
      const { pipelines } = f.stats({})
      expect(pipelines).toBe(2)
      expect(watched.pipelines()).toBe(pipelines)
      yield* numbers
      yield* compile(({ x, w }) => Tensor.rmsNorm(Tensor.matmul(Tensor.neg(Tensor.neg(x)), w)), signature)
      expect(watched.pipelines()).toBe(pipelines)
    }).pipe(Effect.timeout(10_000))
  )
})

test("an upload and a call do not wait for the calls before them, and keep out of their memory", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const f = yield* compile(({ x }) => Tensor.add(x, 1), { x: spec("f32", ["N"]) })
      const given = Array.from({ length: 6 }, (_, i) => HostArray.fromNumbers("f32", [3], [i, i, i]))
      yield* f({ x: given[0] as HostArray.HostArray })
      const before = watched.buffersCreated()
      // All are under way before the first is read; each has a staging buffer of its own, and one buffer for the input serves all.
      const round = Effect.all(
        given.map((x) => f({ x })),
        { concurrency: "unbounded" }
      )
      for (let i = 0; i < 3; i++) {
        const results = yield* round
        expect(results.map((r) => [...r.data])).toEqual(given.map((_, n) => [n + 1, n + 1, n + 1]))
      }
      expect(watched.buffersCreated() - before).toBeLessThanOrEqual(15)
      const settled = watched.buffersCreated()
      yield* round
      expect(watched.buffersCreated()).toBe(settled)
    })
  )
  expect(watched.buffersAlive()).toBe(0)
})

test("memory that runs out once: idle buffers go, the call is made again, and the next ones find their way", async () => {
  const watched = await watchedGpu()
  await on(
    watched,
    Effect.gen(function* () {
      const backend = yield* Backend
      const f = yield* chain
      const w = yield* upload(HostArray.fromNumbers("f32", [4, 4], new Float64Array(16).fill(0.5)))
      const small = yield* upload(rows(3))
      const large = yield* upload(rows(2_000))
      const expected = yield* f({ x: small, w })
      const device = watched.device()
      const popErrorScope = device.popErrorScope
      let scopes = 0
      // The software device always has memory: once it says that it has not, as a device does.
      device.popErrorScope = async () => {
        const error = await popErrorScope.call(device)
        return ++scopes === 2 ? new GPUOutOfMemoryError("no memory") : error
      }
      const [alive, created] = [watched.buffersAlive(), watched.buffersCreated()]
      yield* Effect.scoped(f.onDevice({ x: large, w }))
      device.popErrorScope = popErrorScope
      // Two buffers that got no memory, two that did; those of the small call are gone.
      expect(watched.buffersCreated() - created).toBe(4)
      expect(watched.buffersAlive()).toBeLessThan(alive + 2)
      const counts = yield* during(watched, Effect.scoped(f.onDevice({ x: small, w })))
      expect(counts).toMatchObject({ createBuffer: 2, createBindGroup: kernels, submit: 1 })
      expect((yield* f({ x: small, w })).data).toEqual(expected.data)
      expect(backend.buffersAlive()).toBe(3)
    }).pipe(Effect.scoped)
  )
  expect(watched.buffersAlive()).toBe(0)
  expect(watched.uncaptured).toEqual([])
})
