import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { withPage } from "../support/browser.ts"

const entry = fileURLToPath(new URL("pages/wasm.ts", import.meta.url))

const isolated = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp"
}

const right = { name: "wasm", wrong: [], alive: 0 }
const lengths = [3, 300, 131, 515]

test("a page that is cross-origin isolated computes on threads", () =>
  withPage(
    entry,
    async (evaluate) => {
      expect(await evaluate("run", { threads: 3, lengths })).toEqual({
        ...right,
        workers: 2,
        description: expect.stringMatching(/^WebAssembly, relaxed SIMD, 3 threads$/)
      })
    },
    undefined,
    { headers: isolated }
  ))

test("a page that is not computes the same on one", () =>
  withPage(entry, async (evaluate) => {
    expect(await evaluate("run", { threads: 3, lengths })).toEqual({
      ...right,
      workers: 0,
      description: expect.stringMatching(/one thread \(the page is not cross-origin isolated\)$/)
    })
  }))

test("without vectors it computes the same, on threads and on one", async () => {
  const scalar = async (headers: Record<string, string>) => {
    let made: unknown
    await withPage(
      entry,
      async (evaluate) => {
        made = await evaluate("run", { threads: 3, simd: false, lengths })
      },
      undefined,
      { headers }
    )
    return made
  }
  expect(await scalar(isolated)).toEqual({
    ...right,
    workers: 2,
    description: "WebAssembly, scalar, 3 threads"
  })
  expect(await scalar({})).toEqual({
    ...right,
    workers: 0,
    description: expect.stringMatching(/^WebAssembly, scalar, one thread \(the page is not/)
  })
})

test("so does one whose policy refuses the script of a thread, and says so", () =>
  withPage(
    entry,
    async (evaluate) => {
      expect(await evaluate("run", { threads: 3, lengths })).toEqual({
        ...right,
        workers: expect.any(Number),
        description: expect.stringMatching(/one thread \(.+\)$/)
      })
    },
    undefined,
    {
      headers: { ...isolated, "content-security-policy": "worker-src 'self'" },
      expected: /Content Security Policy/
    }
  ))

test("auto takes WebAssembly where the adapter is software, and says why", () =>
  withPage(entry, async (evaluate) => {
    expect(await evaluate("run", { auto: true, lengths: [7] })).toEqual({
      ...right,
      workers: 0,
      description: expect.stringMatching(/^WebAssembly, .*; the WebGPU adapter is software: /)
    })
  }))
