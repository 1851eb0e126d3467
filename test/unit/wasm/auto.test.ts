import { Effect } from "effect"
import { afterEach, expect, test, vi } from "vitest"
import { Backend } from "../../../backends/Backend.ts"
import * as Auto from "../../../src/Auto.ts"

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
