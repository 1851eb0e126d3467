import { Result } from "effect"
import { describe, expect, test } from "vitest"
import type * as Graph from "../../../ir/Graph.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { trace } from "../../../src/trace.ts"
import { dispatched } from "../../support/dispatched.ts"
import * as Rotary from "../../support/nn/rotary.ts"

type Stored = "f32" | "f16" | "bf16"

/** Queries, keys and values, turned, of x [B, T, K]. */
const traced = (config: Rotary.Rotary, cached: Stored | undefined): Graph.Graph => {
  const { out: _, ...own } = Rotary.signature(config, "K", cached)
  const fn = ({ x, ...p }: { readonly [name: string]: Tensor.Tensor }) =>
    Rotary.turned(config, p, x as Tensor.Tensor)
  return Result.getOrThrow(trace(fn as never, { x: spec("f32", ["B", "T", "K"]), ...own } as never)).graph
}

const caches = ["keys", "values"]

/** The kernels that calls of these numbers of rows dispatch. */
const kernels = (
  config: Rotary.Rotary,
  kind: "cpu" | "gpu",
  rows: ReadonlyArray<number>,
  cached?: Stored
): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const graph = traced(config, cached)
  const donated =
    cached === undefined ? [] : caches.map((name) => graph.inputs.findIndex((i) => i.attrs.name === name))
  const calls = rows.map((T) => ({ sizes: { B: 2, T, K: 12, C: 40 }, donated }))
  return dispatched(graph, calls, { kind }, cached === undefined ? [] : caches)
}

const one = (config: Partial<Rotary.Rotary>): Rotary.Rotary => ({
  heads: 4,
  kvHeads: 2,
  size: 8,
  turned: 4,
  products: "apart",
  spelling: "halves",
  ...config
})

describe.each(["cpu", "gpu"] as const)(
  "what turns of heads, by kernels for a %s, ends its projection",
  (kind) => {
    test.each([
      [one({})],
      [one({ products: "packed", spelling: "rotateHalf", turned: 8 })],
      [one({ products: "packed", spelling: "neighbours", size: 10, turned: 6, bias: true })],
      [one({ products: "perHead", spelling: "rotateHalf", heads: 3, kvHeads: 3, size: 6 })],
      [one({ products: "perHead", spelling: "strided", heads: 2, kvHeads: 2, bias: true })],
      [one({ products: "packed", spelling: "behind", heads: 3, kvHeads: 1, size: 7 })],
      [one({ spelling: "whole", heads: 2, size: 16, turned: 12 })]
    ] as const)("%o", async (config) => {
      // Where shaders are compiled in software, what turns in part is a kernel of its own.
      const most = kind === "cpu" && config.turned < config.size ? 3 : 1
      for (const names of await kernels(config, kind, [1, 5, 0, 33]))
        expect(names.length).toBeLessThanOrEqual(most)
    })

    test.each(["f32", "f16", "bf16"] as const)("and goes into caches of %s", async (cached) => {
      const config = one({ products: "packed", spelling: "rotateHalf", turned: kind === "cpu" ? 8 : 4 })
      const names = await kernels(config, kind, [1, 6], cached)
      expect(names.map((n) => n.length)).toEqual([1, 1])
    })

    test("where parts of a half would share words with others, too", async () => {
      const config = one({ products: "packed", size: kind === "cpu" ? 6 : 8, turned: 6 })
      for (const names of await kernels(config, kind, [1, 6], "f16")) expect(names).not.toContain("map")
    })
  }
)

describe.each(["cpu", "gpu"] as const)(
  "heads that are normalised turn in the same kernel, on a %s",
  (kind) => {
    test.each([
      [one({ norm: "rms", turned: 8 })],
      [one({ norm: "layer", products: "packed", spelling: "neighbours", size: 10, turned: 6 })],
      [one({ norm: "rms", spelling: "behind", heads: 3, kvHeads: 1, size: 7 })],
      [one({ norm: "layer", products: "perHead", spelling: "strided", heads: 2, kvHeads: 2 })],
      [one({ norm: "rms", spelling: "whole", size: 64, turned: 48 })]
    ] as const)("%o", async (config) => {
      const norm = `${config.norm}_norm`
      const names = await kernels(config, kind, [1, 5, 0, 33])
      expect(names.map((own) => own.filter((name) => !name.startsWith("matmul")))).toEqual([
        [norm],
        [norm],
        [],
        [norm]
      ])
    })

    test("however they are spelled", async () => {
      for (const spelling of ["halves", "rotateHalf", "neighbours", "strided", "behind", "whole"] as const) {
        const [names = []] = await kernels(one({ norm: "rms", spelling }), kind, [3])
        // Cosines that are written twice are a kernel of their own, once for all layers.
        expect(names.filter((name) => name !== "map")).toEqual([
          expect.stringContaining("matmul"),
          "rms_norm"
        ])
      }
    })

    test.each(["f32", "f16", "bf16"] as const)("and go into caches of %s", async (cached) => {
      for (const config of [
        one({ norm: "rms", products: "packed" }),
        one({ norm: "layer", size: 7, spelling: "behind" })
      ]) {
        const names = await kernels(config, kind, [1, 6], cached)
        expect(names.map((n) => n.length)).toEqual([2, 2])
      }
    })
  }
)
