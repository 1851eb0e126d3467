import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../src/Reference.ts"
import { cases, missing } from "../support/conformance/load.ts"
import { fusedOnce, type Outcome, run } from "../support/conformance/run.ts"
import { sharedLayer } from "../support/webgpu.ts"

const absent = missing()

describe("published cases", () => {
  if (absent !== undefined) {
    test("give what was published", (context) => context.skip(absent))
    return
  }
  const published = cases()
  const attention = published.filter((c) => c.attention)
  const refused = new Map<string, string>()
  const note = (name: string, { attention: nodes, refusals }: Outcome): void => {
    refused.set(name, refusals.join("; ") || `${nodes} attention nodes`)
  }

  test.each(published.map((c) => [c.name, c] as const))("%s", async (name, c) => {
    const onReference = await Effect.runPromise(Effect.provide(run(c), Reference.layer))
    expect(onReference.failure).toBeUndefined()
    if (c.attention && !fusedOnce(onReference)) note(name, onReference)
    const onWebGpu = await Effect.runPromise(Effect.provide(run(c), await sharedLayer()))
    expect(onWebGpu.failure).toBeUndefined()
    // What fuses is decided before a backend sees it.
    expect(fusedOnce(onWebGpu)).toBe(fusedOnce(onReference))
  })

  test(`all ${attention.length} that hold attention become one node`, () => {
    expect(attention.length).toBeGreaterThan(0)
    expect(Object.fromEntries(refused)).toEqual({})
  })
})
