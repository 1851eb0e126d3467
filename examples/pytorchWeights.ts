/** Weights of a PyTorch attention layer, from a file of safetensors to the device, and to Flax' layout: `npx node examples/pytorchWeights.ts`. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { Auto, compile, type HostArray, spec } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"

const [E, H] = [16, 4]
const torch = nn.torch.MultiheadAttention(E, H, { batchFirst: true })
const flax = nn.flax.MultiHeadAttention({ numHeads: H, inFeatures: E })
const x = spec("f32", [1, "T", E])

/** What `safetensors.torch.save_file(model.state_dict(), path)` writes of a model with one such layer; here the numbers are drawn. */
export const save = async (path: string): Promise<void> => {
  await writeFile(path, nn.safetensors({ encoder: { self_attn: torch.init(3) } }))
}

/** The layer with the file's weights, and Flax' layer with the same in its own layout. */
export const both = (path: string, input: HostArray<"f32">, onProgress: (line: string) => void) =>
  Effect.gen(function* () {
    const weights = yield* nn.openWeights([yield* nn.fileSource(path)])
    const names = { rename: (name: string) => `encoder.self_attn.${name}` }
    const onDevice = yield* nn.loaded(nn.load(weights, torch.params, names), (step) =>
      onProgress(nn.progressLine(step))
    )
    const call = nn.define(
      torch,
      { x },
      (apply, inputs) => apply({ query: inputs.x, key: inputs.x, value: inputs.x, needWeights: false }).out,
      { requireFused: true }
    )
    const own = yield* compile(call.fn, call.signature, call.options)

    const state = Object.fromEntries(
      yield* Effect.forEach(weights.names, (name) =>
        Effect.map(weights.read(name), (value) => [name.replace("encoder.self_attn.", ""), value] as const)
      )
    )
    const converted = nn.convert(state, "torch", "flax", { heads: H })
    const same = nn.define(flax, { x }, (apply, inputs) => apply({ inputsQ: inputs.x }).out, {
      requireFused: true
    })
    const other = yield* compile(same.fn, same.signature, same.options)
    return [
      yield* own(call.inputs(onDevice, { x: input })),
      yield* other(same.inputs(converted, { x: input }))
    ] as const
  }).pipe(Effect.scoped)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = await mkdtemp(join(tmpdir(), "effuse-"))
  const path = join(folder, "model.safetensors")
  await save(path)
  const data = Float32Array.from({ length: 5 * E }, (_, n) => Math.sin(n))
  const input = { dtype: "f32", shape: [1, 5, E], data } as const
  const [a, b] = await Effect.runPromise(both(path, input, console.log).pipe(Effect.provide(Auto.layer)))
  const apart = Math.max(...[...a.data].map((value, n) => Math.abs(Number(value) - Number(b.data[n]))))
  console.log(`PyTorch's layout and Flax' give the same: ${apart < 1e-5}`)
  await rm(folder, { recursive: true })
}
