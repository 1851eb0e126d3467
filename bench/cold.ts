/**
 * Where the time of a first call goes: causal attention of 512 queries, 8 heads of 64, from nothing to the result.
 *
 *     npm run bench:cold [-- --cpu]     --cpu: WebAssembly
 *
 * Run it in a process of its own, as this is: what one call leaves compiled, the next does not pay for.
 */
import { Effect } from "effect"
import { table } from "../src/cli/table.ts"
import { Attention, Backend, compile, spec, Wasm, WebGpu } from "../src/index.ts"

const [T, heads, size] = [512, 8, 64]
const shape = ["B", heads, "T", size] as const

const cpu = process.argv.includes("--cpu")

const started = performance.now()

const rows: Array<readonly [string, number]> = [["start Node, import the library", started]]

/** Notes how many milliseconds an effect takes. */
const timed = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.tap(effect, () => Effect.sync(() => rows.push([name, performance.now() - started])))
  })

const program = Effect.gen(function* () {
  const backend = yield* Backend
  rows.push([cpu ? "open the backend" : "open the device", performance.now() - started])
  const compiling = compile(
    ({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }),
    {
      q: spec("f32", shape),
      k: spec("f32", shape),
      v: spec("f32", shape)
    }
  )
  const f = yield* timed("compile", compiling)
  const array = {
    dtype: "f32",
    shape: [1, heads, T, size],
    data: new Float32Array(heads * T * size)
  } as const
  const run = f({ q: array, k: array, v: array })
  yield* timed(cpu ? "first call" : "first call, with its pipelines", run)
  yield* timed("second call", run)
  const passes = f.snapshots.reduce((sum, { milliseconds }) => sum + milliseconds, 0)
  return { passes, device: backend.description }
})

const { passes, device } = await Effect.runPromise(Effect.provide(program, cpu ? Wasm.layer : WebGpu.layer))
const sum = rows.slice(2, 4).reduce((total, [, time]) => total + time, 0)
const all = rows.flatMap(
  ([name, time]): ReadonlyArray<readonly [string, number]> =>
    name === "compile"
      ? [
          [name, time],
          ["  passes", passes],
          [`  tracing, kernels${cpu ? ", module" : ""}`, time - passes]
        ]
      : [[name, time]]
)
console.log(
  `${device}\n${table(
    all.map(([name, time]) => [name, `${time.toFixed(0)} ms`]),
    [1]
  )}`
)
console.log(`\ncold: compile and first call ${sum.toFixed(0)} ms`)
