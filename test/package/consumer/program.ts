/** What a person writes who has installed the package: attention over names and sizes, run on the reference. */
import { Effect } from "effect"
import { Attention, compile, Reference, spec, Tensor } from "effuse"
import { wasm } from "effuse/promise"

export const program = Effect.gen(function* () {
  const f = yield* compile(
    ({ q, k, v }) =>
      Tensor.matmul(q, Tensor.transpose(k)).pipe(
        Tensor.mul(1 / Math.sqrt(2)),
        Tensor.softmax(-1),
        Tensor.matmul(v)
      ),
    { q: spec("f32", ["T", 2]), k: spec("f32", ["S", 2]), v: spec("f32", ["S", 2]) }
  )
  const array = (...data: ReadonlyArray<number>) =>
    ({ dtype: "f32", shape: [data.length / 2, 2], data: Float32Array.from(data) }) as const
  // A query of zeros weighs all keys alike, so the result is the mean of the values.
  const out = yield* f({ q: array(0, 0), k: array(1, 2, 3, 4), v: array(1, 3, 5, 11) })
  return [...out.data]
})

export const run = (): Promise<ReadonlyArray<number>> =>
  Effect.runPromise(program.pipe(Effect.provide(Reference.layer)))

/** Attention on two threads, which come out of the package without a file of their own. */
export const onThreads = async (): Promise<readonly [backend: string, value: number]> => {
  const engine = await wasm({ threads: 2 })
  const f = await engine.compile(({ q }) => Attention.scaledDotProductAttention(q, q, q), {
    q: spec("f32", [1, 1, "T", 64])
  })
  const q = { dtype: "f32", shape: [1, 1, 500, 64], data: new Float32Array(500 * 64).fill(3) } as const
  await f({ q })
  const { data } = await f({ q })
  return [engine.description, Math.round(data[0] ?? 0)]
}
