/** How schedules are measured, on a device and a clock of the test's own. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { afterEach, describe, expect, test } from "vitest"
import type { BackendShape, Plan } from "../../../backends/Backend.ts"
import { DeviceLost } from "../../../backends/errors.ts"
import type { Graph } from "../../../ir/Graph.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as MemoryPlan from "../../../ir/MemoryPlan.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { compileGraph } from "../../../src/compile.ts"
import * as Reference from "../../../src/Reference.ts"
import * as ScheduleCache from "../../../src/ScheduleCache.ts"
import { type Trial, tune } from "../../../src/tune.ts"
import { graphOf } from "../../support/evaluate.ts"
import { causal, flashText } from "../../support/flashText.ts"

const limits = { ...Limits.portable, maxComputeWorkgroupStorageSize: 32768, kind: "gpu" } as const
const sizes = { T: 512, S: 512 }

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule"))
const planOf = (graph: Graph): Plan => {
  const planned = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  const memory = MemoryPlan.none
  return { graph: planned.graph, schedules: planned.schedules, memory }
}
const attention = { ...causal, heads: [2, 1], head: [64, 64] } as const
const graph = graphOf(flashText(attention))
const plan = planOf(graph)

const flashOf = (schedules: Plan["schedules"]): Flash =>
  [...schedules.values()].find((s) => s.kind === "flash") as Flash

/** A device on which every call takes what `cost` says, in milliseconds, and the first `compiling` more. */
const device = (
  cost: (schedule: Flash) => number | undefined | DeviceLost,
  compiling = 0,
  source = "kernels"
) => {
  let calls = 0
  const backend = {
    name: "webgpu",
    limits,
    description: "a test's",
    source: () => source,
    compile: ({ schedules }: Plan) => {
      const time = cost(flashOf(schedules))
      let pipelines = compiling
      const call = () => {
        calls++
        if (typeof time !== "number") return Effect.fail(time ?? "refused")
        const waited = pipelines
        pipelines = 0
        return Effect.as(TestClock.adjust(waited + time), [])
      }
      return Effect.succeed({ call })
    }
  } as unknown as BackendShape
  return { backend, calls: () => calls }
}

/** What is told, and the schedule that is chosen; the clock begins at 0. */
const tuned = (
  { backend }: ReturnType<typeof device>,
  cache: ScheduleCache.ScheduleCache,
  milliseconds?: number,
  of: Plan = plan
) =>
  Effect.gen(function* () {
    const trials: Array<Trial> = []
    const progress = (trial: Trial): void => void trials.push(trial)
    const clock = yield* Effect.clockWith(Effect.succeed)
    const began = clock.monotonicTimeNanosUnsafe()
    const options = { sizes, cache, progress, ...(milliseconds === undefined ? {} : { milliseconds }) }
    const schedules = yield* tune(backend, of, options)
    const took = Number(clock.monotonicTimeNanosUnsafe() - began) / 1e6
    return { numbers: trials.map((t) => t.number), trials, chosen: flashOf(schedules), took }
  }).pipe(Effect.provide(TestClock.layer()), Effect.scoped, Effect.runPromise)

const steady = device(() => 10)
const all = (await tuned(steady, ScheduleCache.inMemory())).trials
const count = all.length

/** Each schedule has a number: that of its trial. */
const numberOf = (schedule: Flash): number => {
  const known = [...numbers.entries()].find(([text]) => text === JSON.stringify(schedule))
  const number = known?.[1] ?? numbers.size + 1
  numbers.set(JSON.stringify(schedule), number)
  return number
}
const numbers = new Map<string, number>()
await tuned(
  device((s) => numberOf(s)),
  ScheduleCache.inMemory()
)

interface Spoilt {
  readonly best: Flash
}

const best = 3
const cost = (schedule: Flash) => (numberOf(schedule) === best ? 5 : 10)

describe("tuning", () => {
  test("measures every schedule in turn, keeps the fastest, and asks the cache the next time", async () => {
    expect(count).toBeGreaterThan(4)
    const cache = ScheduleCache.inMemory()
    const first = await tuned(device(cost), cache)
    expect(first.numbers).toEqual(Array.from({ length: count }, (_, n) => n + 1))
    expect(first.trials.every((t) => t.of === count)).toBe(true)
    expect(first.trials.map((t) => t.milliseconds)).toEqual(first.numbers.map((n) => (n === best ? 5 : 10)))
    expect(numberOf(first.chosen)).toBe(best)
    const idle = device(cost)
    const again = await tuned(idle, cache)
    expect([again.numbers, numberOf(again.chosen), idle.calls(), again.took]).toEqual([[], best, 0, 0])
  })

  test("what is as fast as what is chosen without measuring is not preferred to it", async () => {
    const near = device((s) => (numberOf(s) === best ? 9.8 : 10))
    expect(numberOf((await tuned(near, ScheduleCache.inMemory())).chosen)).toBe(1)
  })

  test("ends when its time does, inside a call too, and goes on there the next time", async () => {
    const cache = ScheduleCache.inMemory()
    // Four calls of ten milliseconds and six to compile.
    const part = await tuned(device(cost, 6), cache, 100)
    expect([part.numbers, part.took]).toEqual([[1, 2], 100])
    expect(numberOf(part.chosen)).toBe(1)
    // The best so far, once more, and what is open.
    const next = await tuned(device(cost, 6), cache, 100)
    expect([next.numbers, numberOf(next.chosen)]).toEqual([[1, 3], best])
    const rest = await tuned(device(cost, 6), cache)
    expect(rest.numbers).toEqual([best, ...Array.from({ length: count - 3 }, (_, n) => n + 4)])
    expect((await tuned(device(cost, 6), cache)).numbers).toEqual([])
  })

  test("one that is far slower is called once more only, after the call that waits for its pipelines", async () => {
    const slow = device((s) => (numberOf(s) === 2 ? 1000 : 10))
    const { trials } = await tuned(slow, ScheduleCache.inMemory())
    expect([trials[1]?.milliseconds, slow.calls()]).toEqual([1000, 4 * (count - 1) + 2])
  })

  test("pipelines that take long are no part of what is measured", async () => {
    const { trials } = await tuned(device(cost, 300), ScheduleCache.inMemory())
    expect(trials.map((t) => t.milliseconds)).toEqual(all.map((_, n) => (n + 1 === best ? 5 : 10)))
  })

  test("one that alone takes all the time is passed over the next time", async () => {
    const cache = ScheduleCache.inMemory()
    const stuck = device((s) => (numberOf(s) === 2 ? 9000 : 10))
    expect((await tuned(stuck, cache)).numbers).toEqual([1])
    expect((await tuned(stuck, cache)).numbers).toEqual([
      1,
      ...Array.from({ length: count - 2 }, (_, n) => n + 3)
    ])
  })

  test("a program that takes longer than all the time is not measured again, unless there is more time", async () => {
    const cache = ScheduleCache.inMemory()
    const slow = device(() => 2000)
    const first = await tuned(slow, cache)
    expect([first.numbers, first.took, numberOf(first.chosen)]).toEqual([[], 5000, 1])
    expect((await tuned(slow, cache)).took).toBe(0)
    expect((await tuned(slow, cache, 20_000)).numbers).toEqual([1, 2])
  })

  test("schedules that the device refuses are told as such, and none that runs none is kept", async () => {
    const some = device((s) => (numberOf(s) % 2 === 1 ? 10 : undefined))
    const { trials } = await tuned(some, ScheduleCache.inMemory())
    expect(trials.map((t) => t.milliseconds)).toEqual(all.map((_, n) => (n % 2 === 0 ? 10 : undefined)))
    const cache = ScheduleCache.inMemory()
    await tuned(
      device(() => undefined),
      cache
    )
    expect(await cache.read()).toBeUndefined()
  })

  test("where the device goes away nothing is kept, also of what was measured before", async () => {
    const cache = ScheduleCache.inMemory()
    const lost = new DeviceLost({ message: "gone", hint: "open another" })
    const { numbers, chosen } = await tuned(
      device((s) => (numberOf(s) > best ? lost : cost(s))),
      cache
    )
    expect([numbers, numberOf(chosen), await cache.read()]).toEqual([[1, 2, 3], 1, undefined])
  })

  test("lengths that are none, or none of the program's, are refused by name", () =>
    Effect.gen(function* () {
      for (const wrong of [{ T: -1 }, { T: 1.5 }, { T: Number.NaN }, { Z: 3 }]) {
        const error = yield* Effect.flip(compileGraph(graph, { tune: { sizes: wrong as never } }))
        expect([error._tag, error.message]).toEqual([
          "SignatureError",
          expect.stringContaining(`cannot tune for ${Object.keys(wrong)[0]} = `)
        ])
        expect(error.message).toContain("S, T")
      }
    }).pipe(Effect.provide(Reference.layer), Effect.runPromise))

  const array = (shape: ReadonlyArray<number>, dtype: "f32" | "i32" = "f32") => HostArray.zeros(dtype, shape)
  const wrong: ReadonlyArray<readonly [what: unknown, message: string, hint: string]> = [
    ["yes", 'tune is "yes"', "pass true, false or { sizes, inputs, milliseconds, progress, cache }"],
    [1, "tune is 1", "true, false"],
    [null, "tune is null", "true, false"],
    [[], "tune is a list", "true, false"],
    [() => {}, "tune is a function", "true, false"],
    [{ milisecond: 3 }, 'no option "milisecond"', "did you mean milliseconds?"],
    [{ zzz: 3 }, 'no option "zzz"', "there are sizes, inputs"],
    [{ milliseconds: "5" }, 'tune.milliseconds is "5"', "a number of 0 or more"],
    [{ milliseconds: -1 }, "tune.milliseconds is -1", "0 or more"],
    [{ milliseconds: Number.NaN }, "tune.milliseconds is NaN", "0 or more"],
    [{ progress: "console.log" }, 'tune.progress is "console.log"', "a function"],
    [{ cache: {} }, "tune.cache is", "{ read, write }"],
    [{ cache: { read: async () => undefined } }, "tune.cache is", "both functions"],
    [{ sizes: 512 }, "tune.sizes is 512", "lengths by name"],
    [{ inputs: [array([1])] }, "tune.inputs is a list", "arguments by name"],
    [{ inputs: { Q: array([1]) } }, '"Q": there is no such input', "the inputs are q, k, v"],
    [{ inputs: { q: 3 } }, 'input "q": number is not a tensor', "{ dtype, shape, data }"],
    [{ inputs: { q: array([1, 2, 3, 64]) } }, "it is f32[1, 2, 3, 64], and f32[1, 2, 512, 64]", "sizes"],
    [{ inputs: { k: array([1, 1, 512, 64], "i32") } }, "it is i32", "sizes"]
  ]
  test.each(wrong)("what is no way to tune is refused where it is passed: %o", (what, message, hint) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(compileGraph(graph, { tune: what as never }))
      expect(error._tag).toBe("SignatureError")
      expect(error.message).toContain(message)
      expect("hint" in error ? error.hint : "").toContain(hint)
    }).pipe(Effect.provide(Reference.layer), Effect.runPromise)
  )

  test("what is one is taken", () =>
    Effect.gen(function* () {
      const q = HostArray.zeros("f32", [1, 2, 7, 64])
      const options = {
        sizes: { T: 7 },
        inputs: { q },
        milliseconds: 0,
        progress: undefined,
        cache: undefined
      }
      for (const tune of [undefined, true, false, {}, options])
        yield* compileGraph(graph, { pipeline: "fuse-elementwise", tune: tune as never })
    }).pipe(Effect.provide(Reference.layer), Effect.runPromise))

  test("what the cache holds is a suggestion: schedules that do not fit, or are none, are measured anew", async () => {
    const cache = ScheduleCache.inMemory()
    await tuned(device(cost), cache)
    const [[key, kept] = []] = Object.entries<Spoilt>(JSON.parse((await cache.read()) as string))
    const { best: schedule } = kept as Spoilt
    const spoilt = [
      { best: { ...schedule, prefill: { rows: 7, keys: 3, threads: 4, tiles: "workgroup" } }, tried: count },
      { best: { ...schedule, prefill: null }, tried: count },
      { best: { ...schedule, short: null }, tried: count },
      { best: { ...schedule, decodeRows: null }, tried: count },
      { best: { ...schedule, decodeRows: schedule.decodeRows / 2 }, tried: count },
      { best: { ...schedule, decode: { ...schedule.decode, tiles: 0 } }, tried: count },
      { best: schedule, tried: 0 },
      { best: schedule, tried: "all" },
      { best: schedule, tried: count, stuck: {} },
      { best: schedule },
      { tried: count },
      schedule,
      null,
      3
    ]
    for (const answer of spoilt) {
      await cache.write(JSON.stringify({ [key as string]: answer }))
      expect((await tuned(device(cost), cache)).numbers).toHaveLength(count)
    }
    const broken: ScheduleCache.ScheduleCache = {
      read: () => Promise.reject(new Error("unreadable")),
      write: () => Promise.reject(new Error("full"))
    }
    expect((await tuned(device(cost), broken)).numbers).toHaveLength(count)
  })

  test("kernels that read more buffers have an answer of their own: a device may not have as many for every schedule", async () => {
    const cache = ScheduleCache.inMemory()
    const score = ["%term: f32[] = load %bias, %i, %j", "%biased: f32[] = add %logit, %term"]
    const biased = planOf(graphOf(flashText({ ...attention, captures: { bias: "f32[T, S]" }, score })))
    const lengths = []
    for (const of of [plan, biased, plan])
      lengths.push((await tuned(device(cost), cache, undefined, of)).numbers.length)
    expect(lengths).toEqual([count, count, 0])
  })

  test("what was measured of other kernels is no answer, and stays for those who have them", async () => {
    const cache = ScheduleCache.inMemory()
    const counts = []
    for (const source of ["kernels", "better kernels", "kernels", "better kernels"])
      counts.push((await tuned(device(cost, 0, source), cache)).numbers.length)
    expect(counts).toEqual([count, count, 0, 0])
  })

  test("attention of no rows, or no keys, has nothing to learn", async () => {
    for (const empty of [{ T: 0 }, { S: 0 }]) {
      const cache = ScheduleCache.inMemory()
      const idle = device(cost)
      const options = { sizes: { ...sizes, ...empty }, cache }
      const schedules = await Effect.runPromise(tune(idle.backend, plan, options))
      expect([idle.calls(), await cache.read(), numberOf(flashOf(schedules))]).toEqual([0, undefined, 1])
    }
  })

  test("answers that others wrote meanwhile stay", async () => {
    const cache = ScheduleCache.inMemory()
    const other = device((s) => {
      void cache.write('{"of another process": 1}')
      return cost(s)
    })
    await tuned(other, cache)
    const kept = JSON.parse((await cache.read()) as string)
    expect(Object.keys(kept)).toHaveLength(2)
    expect(kept["of another process"]).toBe(1)
  })

  test("a backend that is not WebGPU has nothing to measure", () =>
    Effect.gen(function* () {
      let asked = 0
      const progress = (): void => void asked++
      yield* compileGraph(graph, { pipeline: "fuse-elementwise", tune: { progress } })
      expect(asked).toBe(0)
    }).pipe(Effect.provide(Reference.layer), Effect.runPromise))
})

describe("the file that keeps answers", () => {
  const folders: Array<string> = []
  const before = process.env["XDG_CACHE_HOME"]
  afterEach(async () => {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"]
    else process.env["XDG_CACHE_HOME"] = before
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
  })
  const cacheHome = async (): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "effuse-"))
    folders.push(folder)
    process.env["XDG_CACHE_HOME"] = folder
    return folder
  }

  test("is made with its folder, and read by the next process", async () => {
    const home = await cacheHome()
    expect((await tuned(device(cost), ScheduleCache.standard())).numbers).toHaveLength(count)
    const file = join(home, "effuse", "schedules.json")
    expect(Object.values(JSON.parse(await readFile(file, "utf8")))).toMatchObject([{ tried: count }])
    expect((await tuned(device(cost), ScheduleCache.standard())).numbers).toEqual([])
  })

  test.each([
    "",
    "[",
    "null",
    "3",
    '"text"',
    "[1, 2]",
    "\u0000\u0001",
    '{"__proto__": {"tried": 9}}',
    '{"theirs": {"best": 3}}'
  ])("spoilt or somebody else's (%j) it is as good as none", async (text) => {
    const home = await cacheHome()
    await tuned(device(cost), ScheduleCache.standard(), 30)
    const file = join(home, "effuse", "schedules.json")
    await writeFile(file, text)
    const { numbers, chosen } = await tuned(device(cost), ScheduleCache.standard())
    expect([numbers.length, numberOf(chosen)]).toEqual([count, best])
    expect((await tuned(device(cost), ScheduleCache.standard())).numbers).toEqual([])
  })

  test("that cannot be written is done without", async () => {
    const home = await cacheHome()
    await writeFile(join(home, "effuse"), "a file where the folder would be")
    for (const _ of [1, 2]) {
      const { numbers, chosen } = await tuned(device(cost), ScheduleCache.standard())
      expect([numbers.length, numberOf(chosen)]).toEqual([count, best])
    }
  })
})
