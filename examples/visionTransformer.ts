/** A Vision Transformer on an image drawn here: `npx node examples/visionTransformer.ts`. Its weights are drawn too, so the label means nothing. */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { Auto, compile, type HostArray, spec } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"

const side = 24

export const model = nn.vit({
  ...{ image: [side, side], patch: 6, channels: 3 },
  ...{ features: 32, hidden: 64, layers: 2, heads: 4, labels: 5 }
})

/** A bright disc on a slope of colours, [1, 3, 24, 24]. */
export const image = (): HostArray<"f32"> => {
  const data = new Float32Array(3 * side * side)
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const inside = Math.hypot(x - 14, y - 10) < 7
        data[(c * side + y) * side + x] = inside ? 1 : (x * (c + 1) + y) / (5 * side) - 0.5
      }
  return { dtype: "f32", shape: [1, 3, side, side], data }
}

export const classify = nn.define(
  model,
  { pixels: spec("f32", ["B", 3, side, side]) },
  (apply, { pixels }) => apply(pixels).logits,
  { requireFused: true }
)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pixels = image()
  for (let y = 0; y < side; y += 2) {
    const row = pixels.data.subarray(y * side, (y + 1) * side)
    console.log([...row].map((v) => " .:-=+*#%@"[Math.min(9, Math.floor(5 * (v + 0.6)))]).join(""))
  }
  const program = Effect.gen(function* () {
    const f = yield* compile(classify.fn, classify.signature, classify.options)
    return yield* f(classify.inputs(model.init(4), { pixels }))
  })
  const logits = await Effect.runPromise(program.pipe(Effect.provide(Auto.layer)))
  const scores = [...logits.data].map(Number)
  console.log(scores.map((s, n) => `label ${n}: ${s.toFixed(3)}`).join("\n"))
  console.log(`the likeliest is label ${scores.indexOf(Math.max(...scores))}`)
}
