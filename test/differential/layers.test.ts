import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../src/Reference.ts"
import { layerCases, missing } from "../support/conformance/load.ts"
import { run } from "../support/conformance/run.ts"
import { sharedLayer } from "../support/webgpu.ts"

const absent = missing()

describe("published literals through layers", () => {
  if (absent !== undefined) {
    test("give what was published", (context) => context.skip(absent))
    return
  }
  test.each(layerCases().map((c) => [c.kind, c.name, c] as const))("%s: %s", async (_kind, _name, c) => {
    for (const layer of [Reference.layer, await sharedLayer()]) {
      const { failure, attention, softmax } = await Effect.runPromise(Effect.provide(run(c), layer))
      expect(failure).toBeUndefined()
      // Returned scores are computed beside the attention, statistics of rows included.
      if (c.expected["scores"] === undefined) expect(attention).toBe(c.nodes)
      else expect([Math.min(attention, 1), softmax]).toEqual([c.nodes, 1 - c.nodes])
    }
  })
})
