/** The promise face and the fp-ts face, end to end on both backends. */
import { either as E, taskEither as TE } from "fp-ts"
import { afterAll, describe, expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as FpTs from "../../../src/fp-ts.ts"
import * as Promised from "../../../src/promise.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { sharedGpu } from "../../support/dawn.ts"
import { watchedGpu } from "../../support/watchedGpu.ts"

const gpu = await sharedGpu()
const x = spec("f32", ["N"])
const f32 = (...values: ReadonlyArray<number>) => HostArray.fromNumbers("f32", [values.length], values)
const both = ({ x }: { readonly x: Tensor.Tensor<"f32"> }) => ({ sum: Tensor.add(x, x), _tag: Tensor.neg(x) })

describe.each([
  ["reference", await Promised.reference()],
  ["webgpu", await Promised.webgpu({ gpu })]
] as const)("promises on %s", (name, engine) => {
  afterAll(() => engine.close())

  test("compile, call, and read about it", async () => {
    const f = await engine.compile(both, { x })
    const { sum, _tag } = await f({ x: f32(1, 2) })
    expect([...sum.data, ..._tag.data]).toEqual([2, 4, -1, -2])
    expect(f.explain()).toContain("attention: 0 fused")
    expect(f.ir("traced")).toContain("neg")
    expect(f.program).not.toBe("")
    expect(f.stats({ N: 5 }).dispatches).toBeGreaterThan(0)
    expect(engine.description).not.toBe("")
    const { kernels, clock } = await f.profile({ x: f32(1, 2) })
    expect(kernels.length).toBe(f.stats({ N: 2 }).dispatches)
    expect(clock).toBe(name === "webgpu" ? "device" : "thread")
  })

  test("reject with the tagged errors", async () => {
    await expect(engine.compile(() => 3 as never, { x })).rejects.toMatchObject({ _tag: "TraceError" })
    await expect(engine.compile(both, { x }, { requireFused: true })).rejects.toMatchObject({
      _tag: "FusionRequired"
    })
    await expect(
      engine.compile(({ x }) => Tensor.matmul(x as Tensor.Tensor, Tensor.zeros([3, 2])), {
        x: spec("f32", [2, 2])
      })
    ).rejects.toMatchObject({ _tag: "ShapeError" })
    const f = await engine.compile(both, { x })
    await expect(f({} as never)).rejects.toMatchObject({ _tag: "SignatureError", input: "x" })
    await expect(f.onDevice({ x: 1 as never })).rejects.toMatchObject({ _tag: "SignatureError" })
    await expect(engine.upload(null as never)).rejects.toMatchObject({ _tag: "SignatureError" })
    await expect(engine.download(f32(1) as never)).rejects.toMatchObject({ _tag: "InvalidArray" })
    expect([...(await f({ x: f32(1) })).sum.data]).toEqual([2])
  })

  test("arrays stay on the device until each is given back", async () => {
    const f = await engine.compile(both, { x })
    const held = await engine.upload(f32(1, 2))
    const out = await f.onDevice({ x: held })
    await engine.free(held)
    await expect(engine.download(held)).rejects.toMatchObject({ _tag: "InvalidArray" })
    await engine.free(out.sum, out.sum)
    await expect(f({ x: out.sum })).rejects.toMatchObject({ _tag: "InvalidArray" })
    expect([...(await engine.download(out._tag)).data]).toEqual([-1, -2])
    await engine.free(out._tag, out._tag)
    await expect(engine.download(out._tag)).rejects.toMatchObject({ _tag: "InvalidArray" })
  })
})

test.each([
  ["reference", () => Promised.reference()],
  ["webgpu", () => Promised.webgpu({ gpu })]
] as const)("a closed engine on %s refuses everything and stays closed", async (_, open) => {
  const engine = await open()
  const f = await engine.compile(both, { x })
  const held = await engine.upload(f32(1))
  const under = f({ x: held }).then(
    () => "done",
    (e) => e._tag
  )
  await engine.close()
  await engine.close()
  expect(["done", "DeviceLost"]).toContain(await under)
  for (const use of [
    () => f({ x: f32(1) }),
    () => f.onDevice({ x: held }),
    () => engine.upload(f32(1)),
    () => engine.download(held),
    () => engine.compile(both, { x })
  ]) {
    await expect(use()).rejects.toMatchObject({ _tag: "DeviceLost", what: "the engine is closed" })
  }
  await engine.free(held)
})

test("an engine that is closed leaves nothing on its device", async () => {
  const watched = await watchedGpu()
  const engine = await Promised.webgpu({ gpu: watched.gpu })
  const f = await engine.compile(({ x }) => Tensor.add(x, Tensor.fromValues([1, 2])), {
    x: spec("f32", ["N", 2])
  })
  const array = HostArray.zeros("f32", [3, 2])
  const held = [await engine.upload(array), await f.onDevice({ x: array })]
  await engine.free(...held)
  const alive = watched.buffersAlive()
  for (let i = 0; i < 5; i++) await engine.free(await f.onDevice({ x: array }))
  expect(watched.buffersAlive()).toBe(alive)
  await f.onDevice({ x: array })
  await engine.close()
  expect(watched.buffersAlive()).toBe(0)
  expect((await watched.device().lost).reason).toBe("destroyed")
})

describe.each([
  ["reference", FpTs.reference],
  ["webgpu", FpTs.webgpu({ gpu })]
] as const)("TaskEither on %s", (_, open) => {
  const right = <A>(e: E.Either<unknown, A>): A => {
    if (E.isLeft(e)) throw e.left
    return e.right
  }

  test("results on the right, errors with their tags on the left", async () => {
    const engine = right(await open())
    const compiled = engine.compile(both, { x })
    const f = right(await compiled())
    const calls = await TE.map((out: { readonly sum: HostArray.HostArray }) => [...out.sum.data])(
      f({ x: f32(4) })
    )()
    expect(calls).toEqual(E.right([8]))
    expect(await f({ x: 3 as never })()).toMatchObject({ _tag: "Left", left: { _tag: "SignatureError" } })
    expect(await engine.compile(() => 3 as never, { x })()).toMatchObject({
      _tag: "Left",
      left: { _tag: "TraceError" }
    })
    const held = right(await engine.upload(f32(5))())
    const out = right(await f.onDevice({ x: held })())
    expect(right(await engine.download(out.sum)()).data[0]).toBe(10)
    expect(await engine.free(held)()).toEqual(E.right(undefined))
    expect(await engine.download(held)()).toMatchObject({ _tag: "Left", left: { _tag: "InvalidArray" } })
    expect(f.stats({ N: 1 }).dispatches).toBeGreaterThan(0)
    const profile = await f.profile({ x: f32(1) })()
    expect(right(profile).kernels.length).toBe(f.stats({ N: 1 }).dispatches)
    expect(await engine.close()).toEqual(E.right(undefined))
    expect(await f({ x: f32(4) })()).toMatchObject({ _tag: "Left", left: { _tag: "DeviceLost" } })
  })

  test("nothing runs before the task does", () => {
    let asked = 0
    const requestAdapter = async () => {
      asked++
      return null
    }
    const task = FpTs.webgpu({ gpu: { requestAdapter } as unknown as GPU })
    expect(asked).toBe(0)
    return task().then((e) => {
      expect(asked).toBe(1)
      expect(e).toMatchObject({ _tag: "Left", left: { _tag: "UnsupportedByDevice" } })
    })
  })
})
