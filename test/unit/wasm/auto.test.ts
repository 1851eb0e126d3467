import { Effect } from "effect"
import { afterEach, expect, test, vi } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Auto from "../../../src/Auto.ts"
import * as fpTs from "../../../src/fp-ts.ts"
import * as promised from "../../../src/promise.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { effuse } from "../../support/cli.ts"
import { nullGpu } from "../../support/dawn.ts"

afterEach(() => void vi.unstubAllGlobals())

const described = () =>
  Effect.runPromise(
    Effect.provide(
      Effect.map(Backend, ({ name, description }) => ({ name, description })),
      Auto.layer
    )
  )

/** A host whose WebGPU has no adapter. */
const withoutAdapter = (): void => {
  vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => null } })
}

test("without an adapter programs run on WebAssembly, and it says why", async () => {
  withoutAdapter()
  const { name, description } = await described()
  expect(name).toBe("wasm")
  expect(description).toMatch(/^WebAssembly, .*; .*adapter/)
})

test("without WebAssembly either, on the reference", async () => {
  withoutAdapter()
  vi.stubGlobal("WebAssembly", undefined)
  const { name, description } = await described()
  expect(name).toBe("reference")
  expect(description).toContain("no WebAssembly")
})

test("an adapter that is no software is taken", async () => {
  vi.stubGlobal("navigator", { gpu: await nullGpu() })
  const { name, description } = await described()
  expect(name).toBe("webgpu")
  expect(description).toMatch(/; the WebGPU adapter is hardware$/)
})

test("explain and doctor say which, and why", async () => {
  withoutAdapter()
  const here = /WebAssembly, .*threads?.*\n? *;? *there is no WebGPU adapter on this machine/
  const explained = await effuse(["explain", "examples/slidingWindow.ts"])
  expect(explained.out).toMatch(new RegExp(`runs on\\n  ${here.source}`))
  const json = JSON.parse((await effuse(["explain", "examples/slidingWindow.ts", "--json"])).out)
  expect(json.backend).toEqual({ name: "wasm", description: expect.stringMatching(here) })
  const { code, out } = await effuse(["doctor"])
  expect(code).toBe(4)
  expect(out).toMatch(new RegExp(`✓ +auto +${here.source}`))
  expect(out).toMatch(
    /✓ +WebAssembly +WebAssembly, .*\n *✓ +causal attention is a module of \d+ bytes, compiled in \d+ ms/
  )
})

const softmax = [
  ({ x }: { readonly x: Tensor.Tensor }) => Tensor.softmax(x, -1),
  { x: spec("f32", ["N"]) }
] as const
const input = { x: { dtype: "f32", shape: [2], data: Float32Array.of(0, 0) } } as const

test("the faces for promises and fp-ts open it", async () => {
  const engine = await promised.wasm()
  const f = await engine.compile(softmax[0] as never, softmax[1])
  expect([...((await f(input as never)) as HostArray).data]).toEqual([0.5, 0.5])
  await engine.close()
  const opened = await fpTs.wasm({ relaxed: false })()
  if (opened._tag === "Left") throw opened.left
  expect(opened.right.description).toContain("WebAssembly, SIMD")
  await opened.right.close()
  withoutAdapter()
  const first = await promised.auto()
  expect(first.description).toMatch(/^WebAssembly/)
  await first.close()
  const second = await fpTs.auto()
  if (second._tag === "Left") throw second.left
  expect(second.right.description).toMatch(/^WebAssembly/)
  await second.right.close()
})
