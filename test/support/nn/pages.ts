import { Effect, Result } from "effect"
import type { Plan } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import type { Limits } from "../../../ir/Limits.ts"
import type { MemoryPlan } from "../../../ir/MemoryPlan.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import { trace } from "../../../src/trace.ts"
import * as Arrays from "../arrays.ts"

/** Two sequences of 4 and 9 filled positions whose first page is one: pages of 4 rows, of which there are 7. */
export const [pageRows, filled] = [4, [4, 9]] as const
export const table = [
  [3, 0, 6],
  [3, 4, 1]
] as const
const [B, M, P, W] = [2, 2, 7, 3]

/** A layer over a cache of pages, and over one that lies whole and holds the same, `count` new rows each: the results of both. */
export const onPagesAndWhole = (dtype: "f32" | "f16", headSize: number, count: number) =>
  Effect.gen(function* () {
    const layer = nn.attention({ features: 16, heads: 4, kvHeads: M, headSize, causal: true, dtype })
    const from = Arrays.random(5)
    const pool = () => Arrays.array(from, dtype, [P, pageRows, M, headSize])
    const [keys, values] = [pool(), pool()]
    /** [B, M, W·R, D] of a pool. */
    const whole = (pages: HostArray.HostArray): HostArray.HostArray => {
      const all = HostArray.toNumbers(pages)
      const rows = Array.from({ length: B * M * W * pageRows * headSize }, (_, n) => {
        const [d, j] = [n % headSize, Math.floor(n / headSize) % (W * pageRows)]
        const m = Math.floor(n / (headSize * W * pageRows)) % M
        const page = table[Math.floor(n / (headSize * W * pageRows * M))]?.[
          Math.floor(j / pageRows)
        ] as number
        return all[((page * pageRows + (j % pageRows)) * M + m) * headSize + d] as number
      })
      return HostArray.fromNumbers(dtype, [B, M, W * pageRows, headSize], rows)
    }
    const run = (paged: boolean) =>
      Effect.gen(function* () {
        const cache = spec(dtype, paged ? ["P", pageRows, M, headSize] : ["B", M, "C", headSize])
        const signature = {
          ...nn.Params.signature(layer.params),
          ...{ x: spec(dtype, ["B", "T", 16]), key: cache, value: cache, length: spec("i32", ["B"]) },
          ...(paged ? { table: spec("i32", ["B", "W"]) } : {})
        }
        const f = yield* compile(
          ({ x, key, value, length, table: places, ...p }) =>
            layer.apply(nn.Params.nest(layer.params, p), {
              query: x,
              cache: { key, value, length, table: places } as nn.Cache
            }).out,
          signature,
          { requireFused: true }
        )
        return yield* f({
          ...nn.Params.flatten(layer.init(3)),
          x: Arrays.array(Arrays.random(9), dtype, [B, count, 16]),
          ...(paged ? { key: keys, value: values } : { key: whole(keys), value: whole(values) }),
          length: HostArray.fromNumbers("i32", [B], filled),
          ...(paged ? { table: HostArray.fromNumbers("i32", [B, W], table.flat()) } : {})
        } as never)
      })
    return { paged: yield* run(true), whole: yield* run(false) }
  })

/** Rows of a page of `cachePlan`. */
export const planRows = 8

/** The plan of a layer with a cache of pages, or of one that lies whole; caches are donated. */
export const cachePlan = (paged: boolean, limits: Limits): Plan => {
  const layer = nn.attention({ features: 48, heads: 4, kvHeads: 2, causal: true })
  const cache = spec("f32", paged ? ["P", planRows, 2, 12] : ["B", 2, "C", 12])
  const signature = {
    ...nn.Params.signature(layer.params),
    ...{ x: spec("f32", ["B", "T", 48]), key: cache, value: cache, length: spec("i32", ["B"]) },
    ...(paged ? { table: spec("i32", ["B", "W"]) } : {})
  }
  const fn = ({ x, key, value, table, length, ...p }: { readonly [name: string]: Tensor.Tensor }) => {
    const given = { key, value, length, table } as nn.Cache
    const after = layer.apply(nn.Params.nest(layer.params, p), { query: x as Tensor.Tensor, cache: given })
    return { out: after.out, ...(after.cache && { key: after.cache.key, value: after.cache.value }) }
  }
  const { graph } = Result.getOrThrow(trace(fn as never, signature))
  const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const donated = new Set(["key", "value"])
  const made = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits, donated }))
  return { graph: made.graph, schedules: made.schedules, memory: made.memory as MemoryPlan }
}
