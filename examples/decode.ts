import { Effect } from "effect"
import { compile, define, download, type HostArray, Mask, spec, Tensor, upload } from "../src/index.ts"

/**
 * One step of decoding with a cache of keys and values. `keys` and `values` have room for C positions, of which `length` are
 * filled; the step writes its T new positions there and attends to all of them. The caches are donated: on a GPU the
 * step writes into their memory and copies nothing. 4 query heads share 2 key/value heads of size 8.
 */
export const step = define(
  ({ q, k, v, keys, values, length }) => {
    const [allKeys, allValues] = [
      Tensor.updateSlice(keys, k, length, { axis: 2 }),
      Tensor.updateSlice(values, v, length, { axis: 2 })
    ]
    const out = Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(allKeys, 2))).pipe(
      Tensor.mul(1 / Math.sqrt(8)),
      // Position i of the step is position length + i of the text, and sees what is filled up to itself.
      Mask.apply(Mask.causalFrom(length)),
      Tensor.softmax(-1),
      Tensor.matmul(Tensor.repeatHeads(allValues, 2))
    )
    return { out, keys: allKeys, values: allValues }
  },
  {
    q: spec("f32", [1, 4, "T", 8]),
    k: spec("f32", [1, 2, "T", 8]),
    v: spec("f32", [1, 2, "T", 8]),
    keys: spec("f32", [1, 2, "C", 8]),
    values: spec("f32", [1, 2, "C", 8]),
    length: spec("i32", [])
  },
  { donate: ["keys", "values"], requireFused: true }
)

/** Queries, keys and values of the positions that one step adds. */
export interface Added {
  readonly q: HostArray<"f32">
  readonly k: HostArray<"f32">
  readonly v: HostArray<"f32">
}

/** Feeds a text step by step: the prompt first, then token by token. The caches never leave the device. */
export const decode = (steps: ReadonlyArray<Added>, capacity: number) =>
  Effect.gen(function* () {
    const run = yield* compile(step.fn, step.signature, step.options)
    const shape = [1, 2, capacity, 8]
    const empty = { dtype: "f32", shape, data: new Float32Array(2 * capacity * 8) } as const
    let [keys, values] = [yield* upload(empty), yield* upload(empty)]
    let filled = 0
    const outputs: Array<HostArray> = []
    for (const { q, k, v } of steps) {
      const length = { dtype: "i32", shape: [], data: Int32Array.of(filled) } as const
      const result = yield* run.onDevice({ q, k, v, keys, values, length })
      outputs.push(yield* download(result.out))
      keys = result.keys
      values = result.values
      filled += q.shape[2] ?? 0
    }
    return outputs
  }).pipe(Effect.scoped)
