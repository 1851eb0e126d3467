import { Effect } from "effect"
import { expect, test } from "vitest"
import type { Backend } from "../../backends/Backend.ts"
import { choose } from "../../ir/chooseFlash.ts"
import { alternatives } from "../../ir/flashAlternatives.ts"
import { illegal } from "../../ir/flashSchedules.ts"
import * as HostArray from "../../ir/HostArray.ts"
import * as Limits from "../../ir/Limits.ts"
import { compileGraph } from "../../src/compile.ts"
import * as ScheduleCache from "../../src/ScheduleCache.ts"
import type { Trial, TuneOptions } from "../../src/tune.ts"
import { graphOf } from "../support/evaluate.ts"
import { causal, flashText } from "../support/flashText.ts"
import { on, watchedGpu } from "../support/watchedGpu.ts"
import { sharedLayer } from "../support/webgpu.ts"

const graph = graphOf(flashText({ ...causal, heads: [2, 1], head: [8, 8] }))
const sizes = { T: 9, S: 9 }
/** The graph has its attention already. */
const pipeline = "fuse-elementwise"

const array = (shape: ReadonlyArray<number>, seed: number): HostArray.HostArray => {
  const count = shape.reduce((product, n) => product * n, 1)
  return HostArray.fromNumbers(
    "f32",
    shape,
    Float64Array.from({ length: count }, (_, n) => Math.sin(n * seed))
  )
}
const inputs = { q: array([1, 2, 9, 8], 1.3), k: array([1, 1, 9, 8], 2.1), v: array([1, 1, 9, 8], 0.7) }

const run = async <A>(effect: Effect.Effect<A, unknown, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, await sharedLayer()))

/** Compiles with tuning and calls; gives what was measured and the result. */
const tuned = async (options: TuneOptions) => {
  const trials: Array<Trial> = []
  const progress = (trial: Trial): void => void trials.push(trial)
  const call = Effect.gen(function* () {
    const f = yield* compileGraph(graph, { pipeline, tune: { sizes, progress, ...options } })
    return yield* f(inputs)
  })
  const results = (await run(call)) as { readonly [name: string]: HostArray.HostArray }
  return { trials, result: HostArray.toNumbers(results["result"] as HostArray.HostArray) }
}

test("measures several schedules once, and computes the same", async () => {
  const cache = ScheduleCache.inMemory()
  const first = await tuned({ cache, milliseconds: 60_000 })
  expect(first.trials.length).toBeGreaterThan(3)
  expect(first.trials.map((t) => t.number)).toEqual(first.trials.map((_, n) => n + 1))
  expect(new Set(first.trials.map((t) => t.schedule)).size).toBe(first.trials.length)
  expect(first.trials.every((t) => t.milliseconds !== undefined)).toBe(true)
  const again = await tuned({ cache })
  expect(again.trials).toEqual([])
  const plain = (await run(Effect.flatMap(compileGraph(graph, { pipeline }), (f) => f(inputs)))) as {
    readonly [name: string]: HostArray.HostArray
  }
  const expected = HostArray.toNumbers(plain["result"] as HostArray.HostArray)
  for (const { result } of [first, again])
    result.forEach((x, n) => {
      expect(x).toBeCloseTo(expected[n] as number, 5)
    })
})

test("makes one pipeline for each schedule, of the kernel that the lengths run", async () => {
  const watched = await watchedGpu()
  const trials: Array<Trial> = []
  const progress = (trial: Trial): void => void trials.push(trial)
  const tune = { sizes, progress, cache: ScheduleCache.inMemory(), milliseconds: 60_000 }
  await on(
    watched,
    Effect.gen(function* () {
      const f = yield* compileGraph(graph, { pipeline, tune })
      expect(trials.length).toBeGreaterThan(3)
      expect(watched.pipelines()).toBe(trials.length)
      yield* f(inputs)
      // Those that other lengths run.
      expect(watched.pipelines()).toBe(trials.length + f.stats(sizes).pipelines - 1)
    })
  )
})

test("without time it measures nothing and takes what is chosen without", async () => {
  const cache = ScheduleCache.inMemory()
  const { trials, result } = await tuned({ cache, milliseconds: 0 })
  expect(trials).toEqual([])
  expect(result).toHaveLength(2 * 9 * 8)
  expect(await cache.read()).toBeUndefined()
})

test("a device that is lost teaches nothing", async () => {
  const cache = ScheduleCache.inMemory()
  const watched = await watchedGpu()
  const lost = Effect.gen(function* () {
    watched.device().destroy()
    yield* Effect.promise(() => watched.device().lost)
    return yield* Effect.flip(compileGraph(graph, { pipeline, tune: { sizes, cache } }))
  })
  expect((await on(watched, lost))._tag).toBe("DeviceLost")
  expect(await cache.read()).toBeUndefined()
})

test("one that is lost between two schedules ends the compilation, and teaches nothing", async () => {
  const cache = ScheduleCache.inMemory()
  const watched = await watchedGpu()
  let told = 0
  const progress = (): void => {
    if (++told === 2) watched.device().destroy()
  }
  const lost = Effect.gen(function* () {
    const tune = { sizes, cache, progress, milliseconds: 60_000 }
    return yield* Effect.flip(compileGraph(graph, { pipeline, tune }))
  })
  expect((await on(watched, Effect.timeout(lost, 20_000)))._tag).toBe("DeviceLost")
  expect(told).toBe(2)
  expect(await cache.read()).toBeUndefined()
  expect(watched.uncaptured).toEqual([])
})

test("alternatives are legal, the chosen schedule first, and differ in the variant that the rows take", () => {
  for (const kind of ["cpu", "gpu"] as const) {
    const limits = { ...Limits.portable, kind, maxComputeWorkgroupStorageSize: 32768 }
    for (const [D, E, group] of [
      [64, 64, 1],
      [128, 128, 4],
      [256, 32, undefined]
    ] as const) {
      const chosen = choose(limits, D, E, group)
      for (const [rows, part] of [
        [2048, "prefill"],
        [kind === "gpu" ? 20 : 2048, kind === "gpu" ? "short" : "prefill"],
        [1, "decode"]
      ] as const) {
        const all = alternatives(limits, D, E, group, rows)
        expect(all[0]).toEqual(chosen)
        expect(all.length).toBeGreaterThan(1)
        for (const schedule of all) {
          expect(illegal(schedule, limits, D, E, "f32", group)).toBeUndefined()
          expect({ ...schedule, [part]: chosen[part] }).toEqual(chosen)
        }
      }
    }
  }
})
