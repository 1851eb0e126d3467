import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import type { Profile } from "../../backends/Profile.ts"
import { withPage } from "../support/browser.ts"

interface Compared {
  readonly ok: boolean
  readonly message: string
  readonly error: number
  readonly shape: ReadonlyArray<number>
  readonly zeros: number
}

interface Layers {
  readonly runs: ReadonlyArray<Compared>
  readonly compiled: number
  readonly compiledLater: number
  readonly kernels: number
  readonly alive: number
  readonly attention: number
}

const entry = fileURLToPath(new URL("pages/attention.ts", import.meta.url))

test("a page compiles attention once and runs it at any lengths", async () => {
  const lengths = [
    { B: 1, T: 5, S: 5 },
    { B: 2, T: 37, S: 37 },
    { B: 1, T: 1, S: 19 },
    { B: 1, T: 1, S: 200 }
  ]
  await withPage(entry, async (evaluate) => {
    const { runs, kernels, ...counts } = (await evaluate("layers", lengths)) as Layers
    expect(counts).toEqual({ compiled: kernels, compiledLater: 0, alive: 0, attention: 1 })
    expect(kernels).toBeGreaterThan(1)
    for (const [i, run] of runs.entries()) {
      expect(run.ok, run.message).toBe(true)
      expect(run.error).toBeLessThan(1e-2)
      expect(run.shape).toEqual([lengths[i]?.B, 8, lengths[i]?.T, 16])
      expect(run.zeros).toBeLessThan(0.1)
    }
  })
})

test("a page learns what its kernels take", async () => {
  await withPage(entry, async (evaluate) => {
    const told = (await evaluate("profile", { B: 1, T: 40, S: 40 })) as Profile
    expect(told.kernels.map(({ name }) => name)).toEqual(["flash_prefill"])
    expect(told.host.wait).toBeGreaterThan(0)
    // Pages get rounded timestamps, but where a flag asks for unsafe ones, as here.
    expect(told.clock).toBe("device")
    expect(told.kernels[0]?.end).toBeGreaterThan(0)
  })
})

test("large arguments of a page go through mapped buffers", async () => {
  await withPage(entry, async (evaluate) => {
    // The lengths are all that the queue writes.
    expect(await evaluate("large")).toEqual({ right: true, written: 16 })
  })
})

test("a page that uses promises gets the same, and errors with their tags", async () => {
  await withPage(entry, async (evaluate) => {
    const run = (await evaluate("promises", { B: 1, T: 9, S: 9 })) as Compared & { readonly wrong: string }
    expect(run.ok, run.message).toBe(true)
    expect(run.zeros).toBeLessThan(0.1)
    expect(run.wrong).toMatch(/^SignatureError: axis 1 of "q" is 2, but the signature says 8/)
  })
})
