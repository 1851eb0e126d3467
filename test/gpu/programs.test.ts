import { describe, expect, test } from "vitest"
import { onWebgpu } from "../support/programs/onWebgpu.ts"
import { draw, describe as print } from "../support/programs/Program.ts"

/** A software driver takes seconds for the kernels of one program. */
const seeds = Array.from({ length: 24 }, (_, i) => 1000 + i)

describe("attention programs drawn along the axes of spelling, on WebGPU", () => {
  test.each(seeds.map((seed) => [print(draw(seed)), draw(seed)] as const))("%s", async (_, p) => {
    const { outcome, why } = await onWebgpu(p)
    expect(outcome, why).toBe("fused")
  })

  // The kernels of the parts, which attention that is refused runs by.
  test.each([2, 77].map((seed) => [print(draw(seed)), draw(seed)] as const))("unfused: %s", async (_, p) => {
    const { outcome, why } = await onWebgpu(p, { pipeline: "canonicalize" })
    expect(outcome, why).toBe("fused")
  })
})
