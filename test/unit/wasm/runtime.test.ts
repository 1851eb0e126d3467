/** Calls on WebAssembly: results that stay, what is refused, and what is given away. */
import { Effect, type Scope } from "effect"
import { describe, expect, test } from "vitest"
import type { DeviceArray } from "../../../backends/Backend.ts"
import type { BackendError } from "../../../backends/errors.ts"
import * as Reference from "../../../backends/reference/Reference.ts"
import * as WasmBackend from "../../../backends/wasm/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { cacheUpdate, type Donated, scattered } from "../../support/donated.ts"
import { graphOf } from "../../support/evaluate.ts"
import { double, withWasm } from "../../support/onWasm.ts"
import { planOf } from "../../support/plans.ts"

const failure = (effect: Effect.Effect<unknown, BackendError, Scope.Scope>) =>
  Effect.orDie(Effect.flip(effect))

const none = { donated: new Set<number>() }

test("results that stay are arguments of the next call, and go with their scope", () =>
  withWasm((backend) =>
    Effect.gen(function* () {
      const f = yield* backend.compile(planOf(graphOf(double)))
      const sizes = { T: 1, S: 2 }
      const alive = backend.buffersAlive()
      let left: DeviceArray | undefined
      const out = yield* Effect.scoped(
        Effect.gen(function* () {
          const x = yield* backend.upload(HostArray.fromNumbers("f32", [1, 2], Float64Array.of(1, 5)))
          const [y] = yield* f.run([x], sizes, none)
          left = y
          const [z] = yield* f.run([y as DeviceArray], sizes, none)
          return yield* backend.download(z as DeviceArray)
        })
      )
      expect([...out.data]).toEqual([4, 20])
      expect(backend.buffersAlive()).toBe(alive)
      const error = yield* failure(f.call([left as DeviceArray], sizes, none))
      expect(error._tag).toBe("InvalidArray")
    })
  ))

test("an array of another backend is refused", () =>
  withWasm((backend) =>
    Effect.gen(function* () {
      const other = yield* Effect.flatMap(WasmBackend.make(), (b) => b.upload(HostArray.scalar("f32", 1)))
      const error = yield* failure(backend.download(other))
      expect(error._tag).toBe("InvalidArray")
    })
  ))

test("what cannot be had is refused by name before anything runs, and leaves nothing behind", () =>
  withWasm((backend) =>
    Effect.gen(function* () {
      const f = yield* backend.compile(
        planOf(
          graphOf(`
%s: f32[] = input {name = "s"}
%x: f32[N] = broadcast %s
return "large": %x`)
        )
      )
      const s = HostArray.scalar("f32", 1)
      const alive = backend.buffersAlive()
      const past = yield* failure(f.call([s], { N: 2 ** 30 }, none))
      expect([past._tag, past.message]).toEqual([
        "UnsupportedByDevice",
        expect.stringContaining(`"large" f32[N] takes ${2 ** 32} bytes`)
      ])
      const between = yield* backend.compile(
        planOf(
          graphOf(`
%s: f32[] = input {name = "s"}
%x: f32[N] = broadcast %s
%y: f32[] = reduce_sum %x {axes = [0]}
return %y`)
        )
      )
      const slot = yield* failure(between.call([s], { N: 2 ** 29 }, none))
      expect([slot._tag, slot.message]).toEqual([
        "UnsupportedByDevice",
        expect.stringContaining(`intermediate value 0 takes ${2 ** 31} bytes`)
      ])
      const large = { dtype: "f32", shape: [2 ** 29], data: new Float32Array(0) } as const
      const array = yield* failure(backend.upload(large))
      expect([array._tag, array.message]).toEqual([
        "UnsupportedByDevice",
        expect.stringContaining(`the array takes ${2 ** 31} bytes`)
      ])
      const two = yield* backend.compile(
        planOf(
          graphOf(`
%s: f32[] = input {name = "s"}
%x: f32[N] = broadcast %s
%y: f32[N] = neg %x
%z: f32[N] = exp %x
return "first": %x, "second": %y, "third": %z`)
        )
      )
      // Each could be, and two of them; not all.
      const both = yield* failure(two.call([s], { N: 3 * 2 ** 27 }, none))
      expect([both._tag, both.message]).toEqual([
        "OutOfMemory",
        expect.stringMatching(new RegExp(`output "(second|third)" f32\\[N\\] takes ${3 * 2 ** 29} bytes`))
      ])
      expect(backend.buffersAlive()).toBe(alive)
    })
  ))

describe("an input that is given away", () => {
  /** Called with it kept, which copies it, then with it given: the same result, in its place. */
  const takesOver = ({ plan, values, sizes }: Donated) =>
    withWasm((backend) =>
      Effect.gen(function* () {
        const f = yield* backend.compile(plan)
        expect(f.program).toContain("in place of input 0 where that is donated")
        const [expected] = Reference.evaluate(plan.graph, values, sizes)
        const alive = backend.buffersAlive()
        const given = yield* backend.upload(values[0])
        const [copied] = yield* f.call([given, ...values.slice(1)], sizes, none)
        expect(copied?.data).toEqual(expected?.data)
        const before = backend.buffersAlive()
        const [kept] = yield* f.run([given, ...values.slice(1)], sizes, { donated: new Set([0]) })
        // The result has taken the argument's memory.
        expect(backend.buffersAlive()).toBe(before)
        expect((yield* backend.download(kept as DeviceArray)).data).toEqual(expected?.data)
        const error = yield* failure(backend.download(given))
        expect(error._tag).toBe("InvalidArray")
        yield* backend.free(kept as DeviceArray)
        expect(backend.buffersAlive()).toBe(alive)
      })
    )

  describe.each(["f64", "f32", "f16", "bool"] as const)("of %s", (d) => {
    test.each([false, true])("is updated, wrap %s", (wrap) => takesOver(cacheUpdate(d, wrap)))
    test("takes scattered entries", () => takesOver(scattered(d)))
  })
})
