import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import type { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { jit } from "../../../src/jit.ts"
import * as Reference from "../../../src/Reference.ts"
import * as Tensor from "../../../src/Tensor.ts"

const zeros = (...shape: ReadonlyArray<number>): HostArray.HostArray => HostArray.zeros("f32", shape)
const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, Reference.layer))

describe("jit", () => {
  it("compiles for the first sizes, then for lengths, then never again", () =>
    Effect.gen(function* () {
      const f = jit(({ x }) => Tensor.exp(x as Tensor.Tensor))
      const counts: Array<number> = []
      for (const length of [3, 3, 5, 7, 3, 0, 11]) {
        const out = yield* f({ x: zeros(2, length) })
        expect(out.shape).toEqual([2, length])
        counts.push(f.compilations())
      }
      expect(counts).toEqual([1, 1, 2, 2, 2, 2, 2])
    }).pipe(run))

  it("keeps lengths apart that only agreed by chance", () =>
    Effect.gen(function* () {
      const f = jit(({ x, y }) => [Tensor.exp(x as Tensor.Tensor), Tensor.exp(y as Tensor.Tensor)] as const)
      for (const [x, y] of [
        [3, 3],
        [5, 5],
        [5, 7],
        [1, 9]
      ] as const) {
        const [a, b] = yield* f({ x: zeros(x), y: zeros(y) })
        expect([a.shape, b.shape]).toEqual([[x], [y]])
      }
      expect(f.compilations()).toBe(3)
    }).pipe(run))

  it("does not care for the order in which inputs are written", () =>
    Effect.gen(function* () {
      const f = jit(({ x, y }) => Tensor.sub(x as Tensor.Tensor, y as Tensor.Tensor))
      const [one, two] = [HostArray.scalar("f32", 1), HostArray.scalar("f32", 2)]
      expect((yield* f({ x: one, y: two })).data[0]).toBe(-1)
      expect((yield* f({ y: two, x: one })).data[0]).toBe(-1)
      expect(f.compilations()).toBe(1)
    }).pipe(run))

  it("compiles a function that needs the number of a length for each number", () =>
    Effect.gen(function* () {
      const halves = jit(({ x }) =>
        Tensor.reshape(x as Tensor.Tensor, [2, ((x as Tensor.Tensor).shape[0] as number) / 2])
      )
      for (const length of [4, 6, 8, 6]) {
        expect((yield* halves({ x: zeros(length) })).shape).toEqual([2, length / 2])
      }
      expect(halves.compilations()).toBe(3)
    }).pipe(run))

  it("takes no length's name for a number", () =>
    Effect.gen(function* () {
      const mean = jit(({ x }) =>
        Tensor.mul(x as Tensor.Tensor, 1 / Math.sqrt((x as Tensor.Tensor).shape[0] as number))
      )
      const longer = jit(({ x }) =>
        Tensor.concat([x as Tensor.Tensor, Tensor.zeros([((x as Tensor.Tensor).shape[0] as number) + 1])], 0)
      )
      for (const length of [4, 9, 16]) {
        const x = HostArray.fromNumbers("f32", [length], new Float64Array(length).fill(1))
        expect((yield* mean({ x })).data[0]).toBeCloseTo(1 / Math.sqrt(length), 6)
        expect((yield* longer({ x })).shape).toEqual([2 * length + 1])
      }
    }).pipe(run))

  it("keeps so many signatures and forgets the one unused for longest", () =>
    Effect.gen(function* () {
      const f = jit(({ x }) => Tensor.exp(x as Tensor.Tensor), { cacheSize: 2 })
      const ranks = (rank: number) => f({ x: zeros(...new Array<number>(rank).fill(1)) })
      yield* ranks(1)
      yield* ranks(2)
      yield* ranks(1)
      yield* ranks(3)
      expect([f.compilations(), f.cached()]).toEqual([3, 2])
      yield* ranks(1)
      expect(f.compilations()).toBe(3)
      yield* ranks(2)
      expect([f.compilations(), f.cached()]).toEqual([4, 2])
    }).pipe(run))

  it("keeps backends and dtypes apart", async () => {
    const f = jit(({ x }) => Tensor.neg(x as Tensor.Tensor))
    await run(f({ x: zeros(1) }))
    await run(f({ x: zeros(1) }))
    expect(f.compilations()).toBe(2)
    await run(
      Effect.gen(function* () {
        yield* f({ x: zeros(1) })
        const out = yield* f({ x: HostArray.zeros("i32", [1]) })
        expect(out.dtype).toBe("i32")
        expect(f.compilations()).toBe(4)
      })
    )
  })

  it("refuses what is not a tensor, and works afterwards", () =>
    Effect.gen(function* () {
      const f = jit(({ x }) => Tensor.neg(x as Tensor.Tensor))
      const bad: ReadonlyArray<unknown> = [
        undefined,
        null,
        3,
        { x: 3 },
        { x: { dtype: "f32", shape: [-1], data: new Float32Array(0) } },
        { x: { dtype: "f32", shape: ["T"], data: new Float32Array(0) } },
        { x: { dtype: "f32", shape: [2], data: new Float32Array(3) } },
        { y: zeros(1) }
      ]
      for (const inputs of bad) {
        const error = yield* Effect.flip(f(inputs as never))
        expect(["SignatureError", "TraceError", "DTypeError"]).toContain(error._tag)
      }
      expect((yield* f({ x: zeros(1) })).shape).toEqual([1])
    }).pipe(run))
})
