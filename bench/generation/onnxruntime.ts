import type { Ort, Tensor } from "../peers/onnxruntimeApi.ts"
import { type Generation, generate, sizes } from "./model.ts"
import { caches, maskOf, onnx, variants } from "./onnx.ts"

const { keyHeads, size } = sizes

const largest = (values: Float32Array): number => {
  let at = 0
  for (let n = 1; n < values.length; n++) if ((values[n] as number) > (values[at] as number)) at = n
  return at
}

/**
 * Caches go in and come out. Where they are on a GPU they stay there; on the processor they are the caller's, and a call copies them in and
 * out of the engine.
 */
const run = async (
  ort: Ort,
  options: { readonly [name: string]: unknown },
  variant: (typeof variants)[number],
  onGpu: boolean
): Promise<Generation> => {
  const { bytes: file, results: names } = onnx(variant)
  const [logits, ...presents] = names
  // Logits come back, caches stay.
  const locations = Object.fromEntries(presents.map((name) => [name, "gpu-buffer"]))
  const session = await ort.InferenceSession.create(file, {
    ...options,
    ...(onGpu ? { preferredOutputLocation: locations } : {})
  })
  const int64 = (values: ReadonlyArray<number>): Tensor =>
    new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length])
  const int32 = (value: number): Tensor => new ort.Tensor("int32", Int32Array.of(value), [1])
  try {
    return await generate(variant, async () => {
      let held = caches.map(() => new ort.Tensor("float32", new Float32Array(0), [1, keyHeads, 0, size]))
      return async (tokens, position) => {
        const total = position + tokens.length
        const mask = maskOf(tokens.length, position)
        const small =
          variant === "GroupQueryAttention"
            ? { last: int32(total - 1), total: int32(total) }
            : {
                places: int64(tokens.map((_, n) => position + n)),
                mask: new ort.Tensor("float32", mask.data, mask.shape)
              }
        const feeds = { tokens: int64(tokens), ...small }
        const past = Object.fromEntries(caches.map((name, n) => [name, held[n] as Tensor]))
        const results = await session.run({ ...feeds, ...past }, names)
        const out = results[logits] as Tensor
        const token = largest(out.data as Float32Array)
        const next = presents.map((name) => results[name] as Tensor)
        const crossing = [...Object.values(feeds), out, ...(onGpu ? [] : [...held, ...next])]
        const bytes = crossing.reduce((sum, x) => sum + (x.data as Float32Array).byteLength, 0)
        if (position > 0) for (const old of held) old.dispose()
        held = next
        return { token, bytes }
      }
    })
  } finally {
    await session.release()
  }
}

/** Each of the ways to write it. */
export const generations = async (
  ort: Ort,
  options: { readonly [name: string]: unknown },
  onGpu: boolean
): Promise<ReadonlyArray<Generation>> => {
  const made: Array<Generation> = []
  for (const variant of variants) made.push(await run(ort, options, variant, onGpu))
  return made
}
