/**
 * Models of eight kinds against another engine: seeded weights are saved, loaded back and run here; the same weights run there in a graph that is
 * written operator by operator. `npm run parity`, `npm run parity -- --backend webgpu`.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect, type Layer } from "effect"
import type { Backend } from "../backends/Backend.ts"
import * as HostArray from "../ir/HostArray.ts"
import * as Safetensors from "../src/files/Safetensors.ts"
import { compile, Reference, spec, WebGpu } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"
import { onnxruntime } from "./engines.ts"
import { type Input, type Model, models } from "./parity/models.ts"

const backends: { readonly [name: string]: Layer.Layer<Backend, unknown> } = {
  reference: Reference.layer,
  webgpu: WebGpu.layer
}

const { values: flags } = parseArgs({ options: { backend: { type: "string", default: "reference" } } })
const backend = Object.hasOwn(backends, flags.backend) ? backends[flags.backend] : undefined
if (backend === undefined) {
  console.error(
    `there is no backend ${JSON.stringify(flags.backend)}: use ${Object.keys(backends).join(" or ")}`
  )
  process.exit(2)
}

/** Largest difference in units of the largest logit that counts as equal. */
const allowed = 1e-4

const numbersOf = (input: Input, seed: number): HostArray.HostArray => {
  const next = nn.Key.uniforms(nn.Key.make(seed))
  const values = Float64Array.from({ length: HostArray.sizeOf(input.shape) }, () =>
    input.below === undefined ? 2 * next() - 1 : Math.floor(next() * input.below)
  )
  return HostArray.fromNumbers(input.below === undefined ? "f32" : "i32", input.shape, values)
}

/** Starting values, larger than they are drawn, so that no layer is nearly the identity. */
const weightsOf = ({ layer }: Model, seed: number): nn.State => {
  const flat = nn.Params.flatten(nn.Params.init(layer.params as nn.Params.Param, seed))
  const next = nn.Key.normals(nn.Key.make(seed))
  for (const [name, value] of Object.entries(flat)) {
    const norm = /norm|ln_/i.test(name) && name.endsWith("weight")
    for (let n = 0; n < value.data.length; n++) value.data[n] = (norm ? 1 : 0) + next() * 0.15
  }
  return flat
}

/** Ours: from a file, through `load`. */
const ours = (model: Model, file: string, arrays: { readonly [name: string]: HostArray.HostArray }) =>
  Effect.gen(function* () {
    const weights = yield* nn.openWeights([yield* nn.fileSource(file)])
    const params = yield* nn.loaded(nn.load(weights, model.layer.params))
    const signature = {
      ...nn.Params.signature(model.layer.params, "params."),
      ...Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, spec(x.dtype, x.shape)]))
    }
    const run = yield* compile(
      (inputs) =>
        model.logits(
          nn.Params.nest(model.layer.params as nn.Params.Param, inputs, "params.") as never,
          inputs as never
        ) as never,
      signature
    )
    const named = Object.fromEntries(Object.entries(params).map(([name, x]) => [`params.${name}`, x]))
    const fused = run.diagnostics.filter((d) => d.outcome === "fused").length
    const out = (yield* run({ ...named, ...arrays } as never)) as HostArray.HostArray
    return { out: HostArray.toNumbers(out), fused }
  }).pipe(Effect.scoped)

const folder = mkdtempSync(join(tmpdir(), "effuse-parity-"))
const ort = onnxruntime()
const rows: Array<readonly [name: string, parameters: number, fused: number, error: number]> = []
for (const [seed, model] of models.entries()) {
  const state = weightsOf(model, seed + 1)
  const file = join(folder, `${seed}.safetensors`)
  writeFileSync(file, Safetensors.write(new Map(Object.entries(state))))
  const arrays = Object.fromEntries(
    Object.entries(model.inputs).map(([name, input], n) => [name, numbersOf(input, 100 * seed + n)])
  )
  const session = await ort.InferenceSession.create(model.onnx(state), { graphOptimizationLevel: "disabled" })
  const feeds = Object.fromEntries(
    Object.entries(arrays).map(([name, x]) => [
      name,
      x.dtype === "f32"
        ? new ort.Tensor("float32", x.data as Float32Array, x.shape)
        : new ort.Tensor("int64", BigInt64Array.from([...x.data].map(BigInt)), x.shape)
    ])
  )
  const expected = Object.values(await session.run(feeds))[0]?.data as Float32Array
  const { out, fused } = await Effect.runPromise(
    Effect.provide(ours(model, file, arrays), backend) as never as Effect.Effect<{
      out: Float64Array
      fused: number
    }>
  )
  const scale = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  const error = out.reduce(
    (most, x, n) => {
      const difference = Math.abs(x - (expected[n] as number)) / scale
      return Number.isNaN(difference) ? Infinity : Math.max(most, difference)
    },
    out.length === expected.length ? 0 : Infinity
  )
  const parameters = Object.values(state).reduce((sum, x) => sum + x.data.length, 0)
  rows.push([model.name, parameters, fused, error])
  const verdict = error <= allowed ? "equal" : "DIFFERENT"
  console.log(
    `${model.name.padEnd(8)} ${String(parameters).padStart(7)} parameters, ${fused} attention fused, relative error ${error.toExponential(1)}  ${verdict}`
  )
}
rmSync(folder, { recursive: true, force: true })
const worst = Math.max(...rows.map(([, , , error]) => error))
const equal = rows.filter(([, , , error]) => error <= allowed).length
console.log(`parity: ${rows.length} models, ${equal} equal, worst relative error ${worst.toExponential(1)}`)
process.exit(equal === rows.length ? 0 : 1)
