/** A mask of one's own inside a layer: `npx node examples/maskInLayer.ts`. */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { Auto, compile, Mask, spec, Tensor } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"

/** Rotary positions, grouped heads and norms of heads; who sees whom is said by each call. */
export const layer = nn.attention({ features: 32, heads: 4, kvHeads: 2, rope: {}, qkNorm: "rms" })

/** Several texts in one row: a position sees earlier ones of its own text, the row's first 2 are seen by all. */
const mask = (texts: Tensor.Tensor) => {
  const sameText = Tensor.eq(Tensor.expandDims(texts, -1), Tensor.expandDims(texts, -2))
  const own = Mask.fromTensor(Tensor.expandDims(sameText, 1) as Tensor.Tensor<"bool">)
  return Mask.and(Mask.causal, Mask.or(own, Mask.prefix(2)))
}

export const attention = nn.define(
  layer,
  { x: spec("f32", ["B", "T", 32]), texts: spec("i32", ["B", "T"]) },
  (apply, { x, texts }) => apply({ query: x, mask: mask(texts) }).out,
  { requireFused: true }
)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const data = Float32Array.from({ length: 8 * 32 }, (_, n) => Math.sin(n))
  const program = Effect.gen(function* () {
    const f = yield* compile(attention.fn, attention.signature, attention.options)
    const texts = { dtype: "i32", shape: [1, 8], data: Int32Array.of(0, 0, 1, 1, 1, 2, 2, 2) } as const
    const x = { dtype: "f32", shape: [1, 8, 32], data } as const
    const out = yield* f(attention.inputs(layer.init(1), { x, texts }))
    return { shape: out.shape, said: f.explain() }
  })
  const { shape, said } = await Effect.runPromise(program.pipe(Effect.provide(Auto.layer)))
  console.log(said)
  console.log(shape)
}
