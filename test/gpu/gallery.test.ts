import { Result } from "effect"
import { describe, test } from "vitest"
import type { HostArray } from "../../ir/HostArray.ts"
import { trace } from "../../src/trace.ts"
import { enlarged, pieces, randomised } from "../support/gallery.ts"
import { agreesOnGpu } from "../support/onGpu.ts"

describe("the gallery on the GPU", () => {
  for (const [name, exhibit] of pieces) {
    test(name, async () => {
      const { graph } = Result.getOrThrow(trace(exhibit.fn as Parameters<typeof trace>[0], exhibit.signature))
      const large = enlarged(exhibit)
      const given = (inputs: typeof large.inputs) =>
        graph.inputs.map(({ attrs }) => inputs[attrs.name] as HostArray)
      await agreesOnGpu(graph, exhibit.lengths, given(randomised(exhibit)))
      await agreesOnGpu(graph, large.lengths, given(large.inputs))
    })
  }
})
