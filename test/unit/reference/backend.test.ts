import { Effect, Exit, Result, Scope } from "effect"
import { describe, expect, it } from "vitest"
import type { Plan } from "../../../backends/Backend.ts"
import * as ReferenceBackend from "../../../backends/reference/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as MemoryPlan from "../../../ir/MemoryPlan.ts"
import { graphOf } from "../../support/evaluate.ts"

const planOf = (text: string): Plan => ({
  graph: graphOf(text),
  schedules: new Map(),
  memory: MemoryPlan.none
})

const double = planOf(
  `%0: f32[T] = input {name = "x"}\n%1: f32[T] = exp %0\n%2: f32[T] = add %0, %1\nreturn %2`
)
const x = HostArray.fromNumbers("f32", [2], [0, 0])
const nothing = { donated: new Set<number>() }

describe("device arrays", () => {
  it("live as long as their scope, and are counted", () =>
    Effect.gen(function* () {
      const backend = ReferenceBackend.make()
      const scope = yield* Scope.make()
      const executable = yield* backend.compile(double)
      const uploaded = yield* Scope.provide(backend.upload(x), scope)
      const [result] = yield* Scope.provide(executable.run([uploaded], { T: 2 }, nothing), scope)
      expect(backend.buffersAlive()).toBe(2)
      const downloaded = yield* backend.download(result as NonNullable<typeof result>)
      expect([...downloaded.data]).toEqual([1, 1])
      yield* Scope.close(scope, Exit.void)
      expect(backend.buffersAlive()).toBe(0)
      const late = yield* Effect.result(backend.download(uploaded))
      expect(Result.isFailure(late) && late.failure._tag).toBe("InvalidArray")
      expect(Result.isFailure(late) && late.failure.message).toContain("scope had closed")
    }).pipe(Effect.runPromise))

  it("are gone after donation, and only after success", () =>
    Effect.gen(function* () {
      const backend = ReferenceBackend.make()
      const executable = yield* backend.compile(double)
      const uploaded = yield* backend.upload(x)
      const failed = yield* Effect.result(executable.run([uploaded], { T: 3 }, { donated: new Set([0]) }))
      expect(Result.isFailure(failed)).toBe(true)
      expect([...(yield* backend.download(uploaded)).data]).toEqual([0, 0])
      yield* executable.run([uploaded], { T: 2 }, { donated: new Set([0]) })
      expect(backend.buffersAlive()).toBe(1)
      const late = yield* Effect.result(executable.run([uploaded], { T: 2 }, nothing))
      expect(Result.isFailure(late) && late.failure.message).toContain("donated")
    }).pipe(Effect.scoped, Effect.runPromise))

  it("are not donated and read by the same call", () =>
    Effect.gen(function* () {
      const backend = ReferenceBackend.make()
      const executable = yield* backend.compile(
        planOf(
          `%0: f32[T] = input {name = "x"}\n%1: f32[T] = input {name = "y"}\n%2: f32[T] = add %0, %1\nreturn %2`
        )
      )
      const uploaded = yield* backend.upload(x)
      const refused = yield* Effect.result(
        executable.run([uploaded, uploaded], { T: 2 }, { donated: new Set([0]) })
      )
      expect(Result.isFailure(refused) && refused.failure.message).toContain('input "x" is donated, but')
      expect([...(yield* backend.download(uploaded)).data]).toEqual([0, 0])
    }).pipe(Effect.scoped, Effect.runPromise))

  it("belong to the backend that made them", () =>
    Effect.gen(function* () {
      const foreign = yield* ReferenceBackend.make().upload(x)
      const refused = yield* Effect.result(ReferenceBackend.make().download(foreign))
      expect(Result.isFailure(refused) && refused.failure._tag).toBe("InvalidArray")
    }).pipe(Effect.scoped, Effect.runPromise))

  it("share no memory with the host", () =>
    Effect.gen(function* () {
      const backend = ReferenceBackend.make()
      const source = HostArray.fromNumbers("i32", [1], [1])
      const uploaded = yield* backend.upload(source)
      source.data[0] = 2
      const downloaded = yield* backend.download(uploaded)
      expect(downloaded.data[0]).toBe(1)
      downloaded.data[0] = 3
      expect((yield* backend.download(uploaded)).data[0]).toBe(1)
    }).pipe(Effect.scoped, Effect.runPromise))
})

it("refuses a tensor that it could not address before it computes anything", () =>
  Effect.gen(function* () {
    const backend = ReferenceBackend.make()
    const huge = planOf(`%0: f32[] = input {name = "x"}\n%1: f32[N, N] = broadcast %0\nreturn %1`)
    const executable = yield* backend.compile(huge)
    const refused = yield* Effect.result(
      executable.run([HostArray.scalar("f32", 1)], { N: 100_000 }, nothing)
    )
    expect(Result.isFailure(refused) && refused.failure._tag).toBe("OutOfMemory")
    expect(backend.buffersAlive()).toBe(0)
  }).pipe(Effect.scoped, Effect.runPromise))

it("computes in float64 on request", () =>
  Effect.gen(function* () {
    const text = `%0: f32[1] = input {name = "x"}\n%1: f32[] = constant {values = [16777216]}
      %2: f32[1] = add %0, %1\n%3: f32[1] = sub %2, %1\nreturn %3`
    const result = (backend: ReturnType<typeof ReferenceBackend.make>) =>
      Effect.gen(function* () {
        const executable = yield* backend.compile(planOf(text))
        const [out] = yield* executable.run([HostArray.fromNumbers("f32", [1], [1])], {}, nothing)
        return [...(yield* backend.download(out as NonNullable<typeof out>)).data]
      })
    expect(yield* result(ReferenceBackend.make())).toEqual([0])
    expect(yield* result(ReferenceBackend.make({ precision: "f64" }))).toEqual([1])
  }).pipe(Effect.scoped, Effect.runPromise))

describe("counted costs", () => {
  const statsOf = (text: string, sizes: Record<string, number>) =>
    Effect.runSync(ReferenceBackend.make().compile(planOf(text))).stats(sizes)

  it("counts nodes that compute and the bytes between them", () => {
    const text = `%0: f32[T, S] = input {name = "x"}\n%1: f32[S, T] = transpose %0 {perm = [1, 0]}
      %2: f32[S, T] = exp %1\n%3: f32[S] = reduce_sum %2 {axes = [1]}\nreturn %3`
    const stats = statsOf(text, { T: 3, S: 5 })
    expect(stats).toEqual({ dispatches: 2, scratchBytes: 2 * 15 * 4, keyValueBytesRead: 0, pipelines: 0 })
  })

  it("reads keys and values once for each query row, in attention and in contractions", () => {
    const inputs = `%q: f32[1, 4, T, 8] = input {name = "q"}\n%k: f32[1, 2, S, 8] = input {name = "k"}\n%v: f32[1, 2, S, 8] = input {name = "v"}`
    const score = `score = {%l: f32[] = input {name = "l"}\n%b: i32[] = input {name = "b"}\n%h: i32[] = input {name = "h"}
      %i: i32[] = input {name = "i"}\n%j: i32[] = input {name = "j"}\nreturn %l}`
    const stats = statsOf(
      `${inputs}\n%o: f32[1, 4, T, 8] = flash_attention %q, %k, %v {${score}, fill = -inf, output = "result"}\nreturn %o`,
      { T: 3, S: 5 }
    )
    expect(stats.dispatches).toBe(1)
    expect(stats.scratchBytes).toBe(0)
    expect(stats.keyValueBytesRead).toBe(4 * 3 * 5 * (8 + 8) * 4)
  })
})
