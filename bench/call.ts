/**
 * What a call costs the thread that makes it: a program of 12 kernels on arrays that are on the device.
 *
 *     npm run bench:call
 *
 * First on a device whose methods do nothing, which leaves what Effuse and Effect compute; then on this machine's WebGPU, where the
 * methods cost what they cost. Times are of this thread's processor, so that a device that computes beside it does not count.
 */
import { Effect } from "effect"
import { table } from "../src/cli/table.ts"
import { compile } from "../src/compile.ts"
import { spec } from "../src/spec.ts"
import * as Tensor from "../src/Tensor.ts"
import { upload } from "../src/transfer.ts"
import * as WebGpu from "../src/WebGpu.ts"
import { idleGpu } from "./idleGpu.ts"

const kernels = 12
const calls = 2_000

const chain = compile(
  ({ x, w }) => {
    let y = x as Tensor.Tensor
    for (let i = 0; i < kernels; i++) y = i % 2 === 0 ? Tensor.matmul(y, w) : Tensor.rmsNorm(y)
    return y
  },
  { x: spec("f32", ["T", 16]), w: spec("f32", [16, 16]) }
)

const rows = (t: number) =>
  ({ dtype: "f32", shape: [t, 16], data: new Float32Array(16 * t).fill(1) }) as const

/** Microseconds of this thread's processor for each of many runs. */
const cost = <A, E, R>(run: (i: number) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    for (let i = 0; i < calls; i++) yield* run(i)
    const before = process.threadCpuUsage()
    for (let i = 0; i < calls; i++) yield* run(i)
    const { user, system } = process.threadCpuUsage(before)
    return (user + system) / calls
  })

const measured = (layer: ReturnType<typeof WebGpu.layerWith>) =>
  Effect.gen(function* () {
    const f = yield* chain
    const { dispatches } = f.stats({ T: 8 })
    const w = yield* upload({ dtype: "f32", shape: [16, 16], data: new Float32Array(256).fill(0.1) })
    const xs = yield* Effect.forEach(
      Array.from({ length: 200 }, (_, i) => i + 1),
      (t) => upload(rows(t))
    )
    /** So many lengths in turn; sizes are kept of 64. */
    const turns = (lengths: number) =>
      cost((i) => Effect.scoped(f.onDevice({ x: xs[i % lengths] as (typeof xs)[number], w })))
    return [dispatches, yield* turns(1), yield* turns(8), yield* turns(xs.length)] as const
  }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise)

const results = [
  ["idle device: our own part", await measured(WebGpu.layerWith({ gpu: idleGpu() }))],
  ["this machine's WebGPU", await measured(WebGpu.layer)]
] as const
console.log(
  table(
    [
      ["", "kernels", "one length", "8 in turn", "new ones"],
      ...results.map(([name, [dispatches, ...times]]) => [
        name,
        String(dispatches),
        ...times.map((t) => `${t.toFixed(0)} µs`)
      ])
    ],
    [1, 2, 3, 4]
  )
)
