import { Effect } from "effect"
import { either as E } from "fp-ts"
import { expect, test } from "vitest"
import { compile } from "../../../src/compile.ts"
import * as FpTs from "../../../src/fp-ts.ts"
import * as Promised from "../../../src/promise.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"

const f32 = (...data: ReadonlyArray<number>) => ({
  dtype: "f32" as const,
  shape: [data.length],
  data: Float32Array.from(data)
})

/** 1 in float64; in float32 the sum loses it. */
const lost = ({ x }: { readonly [name: string]: Tensor.Tensor }) =>
  Tensor.sub(Tensor.add(x as Tensor.Tensor, 2 ** 25), 2 ** 25)

test("the reference computes in float64 on request", async () => {
  const run = (options: Reference.Options) =>
    Effect.gen(function* () {
      const f = yield* compile(lost, { x: spec("f32", ["N"]) })
      return [...(yield* f({ x: f32(1) })).data]
    }).pipe(Effect.provide(Reference.layerWith(options)), Effect.runPromise)
  expect(await run({})).toEqual([0])
  expect(await run({ precision: "f64" })).toEqual([1])
  const engine = await Promised.reference({ precision: "f64" })
  const f = await engine.compile(lost, { x: spec("f32", ["N"]) })
  expect([...(await f({ x: f32(1) })).data]).toEqual([1])
  await engine.close()
})

test("jit with promises compiles for the first call and once more for lengths", async () => {
  const engine = await Promised.reference()
  const f = engine.jit(({ x }) => Tensor.mul(x as Tensor.Tensor, 2))
  for (const data of [[1], [1, 2], [1, 2, 3]]) {
    expect([...(await f({ x: f32(...data) })).data]).toEqual(data.map((v) => 2 * v))
  }
  expect([f.compilations(), f.cached()]).toEqual([2, 2])
  await expect(f({ x: 3 as never })).rejects.toMatchObject({ _tag: "SignatureError", input: "x" })
  await engine.close()
})

test("jit with TaskEither has errors on the left", async () => {
  const opened = await FpTs.reference()
  if (E.isLeft(opened)) throw new Error("the reference opens")
  const f = opened.right.jit(({ x }) => Tensor.mul(x as Tensor.Tensor, 2))
  const right = await f({ x: f32(1, 2) })()
  expect(E.isRight(right) && [...right.right.data]).toEqual([2, 4])
  expect(await f({ x: 3 as never })()).toMatchObject({ _tag: "Left", left: { _tag: "SignatureError" } })
  expect(f.compilations()).toBe(1)
  await opened.right.close()
})
