/**
 * Times the WebAssembly kernels on this machine: attention of B 1, D 64, f32, and a matrix product.
 *
 *     node bench/wasm.ts [--threads N] [words of a case's name]
 *
 * Arguments and results stay in memory. On one thread the least processor time of several runs counts, beside the ceiling: multiply-adds
 * in registers, timed in turns. On more it is the least time by the clock, beside that ceiling for each thread.
 */
import { Effect } from "effect"
import { Backend, type DeviceArray } from "../backends/Backend.ts"
import * as Attention from "../src/Attention.ts"
import { compile } from "../src/compile.ts"
import { spec } from "../src/spec.ts"
import * as Tensor from "../src/Tensor.ts"
import * as Wasm from "../src/Wasm.ts"
import * as arrays from "../test/support/arrays.ts"
import { multiplyAdds } from "./ceilings/wasm.ts"

type Signature = { readonly [name: string]: ReturnType<typeof spec> }

interface Case {
  readonly signature: Signature
  readonly build: (inputs: never) => Tensor.Tensor
  /** Multiplications and additions that the definition needs. */
  readonly flops: number
  readonly shapes: { readonly [name: string]: ReadonlyArray<number> }
  readonly dtype: "f32" | "f16"
}

type Options = {
  readonly causal?: boolean
  readonly heads?: readonly [number, number]
  readonly window?: number
  readonly D?: number
  readonly dtype?: "f32" | "f16"
}

const attention = (T: number, S: number, options: Options = {}): Case => {
  const [Hq, Hkv] = options.heads ?? [8, 8]
  const { causal = false, window, D = 64, dtype = "f32" } = options
  const pairs = window !== undefined ? T * Math.min(window, S) : causal ? (T * (T + 1)) / 2 : T * S
  return {
    dtype,
    signature: {
      q: spec(dtype, [1, Hq, "T", D]),
      k: spec(dtype, [1, Hkv, "S", D]),
      v: spec(dtype, [1, Hkv, "S", D])
    },
    build: ({
      q,
      k,
      v
    }: {
      readonly q: Tensor.Tensor
      readonly k: Tensor.Tensor
      readonly v: Tensor.Tensor
    }) =>
      Attention.scaledDotProductAttention(
        q as never,
        k as never,
        v as never,
        {
          ...(causal ? { mask: "causal" as const } : {}),
          ...(window === undefined ? {} : { window: window - 1 })
        } as never
      ) as never,
    flops: 4 * Hq * D * pairs,
    shapes: { q: [1, Hq, T, D], k: [1, Hkv, S, D], v: [1, Hkv, S, D] }
  }
}

const product = (M: number, N: number, K: number): Case => ({
  dtype: "f32",
  signature: { a: spec("f32", ["M", K]), b: spec("f32", [K, N]) },
  build: ({ a, b }: { readonly a: Tensor.Tensor; readonly b: Tensor.Tensor }) => Tensor.matmul(a, b) as never,
  flops: 2 * M * N * K,
  shapes: { a: [M, K], b: [K, N] }
})

/** An op on a matrix: multiplications and additions are counted as those of its elements. */
const op = (rows: number, columns: number, apply: (x: Tensor.Tensor) => Tensor.Tensor): Case => ({
  dtype: "f32",
  signature: { x: spec("f32", ["R", columns]) },
  build: ({ x }: { readonly x: Tensor.Tensor }) => apply(x) as never,
  flops: rows * columns,
  shapes: { x: [rows, columns] }
})

const cases: { readonly [name: string]: Case } = {
  "prefill 512 causal": attention(512, 512, { causal: true }),
  "prefill 512 full": attention(512, 512),
  "prefill 2048 causal": attention(2048, 2048, { causal: true }),
  "prefill 2048 full": attention(2048, 2048),
  "prefill 512 causal 8:2": attention(512, 512, { causal: true, heads: [8, 2] }),
  "prefill 512 causal D128": attention(512, 512, { causal: true, D: 128 }),
  "prefill 512 causal f16": attention(512, 512, { causal: true, dtype: "f16" }),
  "window 256 at 8192": attention(8192, 8192, { causal: true, window: 256 }),
  "decode 1x4096 8:2": attention(1, 4096, { heads: [8, 2] }),
  "decode 1x16384 8:2": attention(1, 16384, { heads: [8, 2] }),
  "decode 1x4096 8:8": attention(1, 4096),
  "decode 1x16384 8:8": attention(1, 16384),
  "decode 1x16384 8:2 f16": attention(1, 16384, { heads: [8, 2], dtype: "f16" }),
  "matmul 1024": product(1024, 1024, 1024),
  "matmul 1x1024": product(1, 1024, 1024),
  "sum of rows 1024": op(1024, 1024, (x) => Tensor.sum(x as never, -1) as never),
  "sum of columns 1024": op(1024, 1024, (x) => Tensor.sum(x as never, 0) as never),
  "softmax of rows 1024": op(1024, 1024, (x) => Tensor.softmax(x as never, -1) as never),
  "softmax of columns 1024": op(1024, 1024, (x) => Tensor.softmax(x as never, 0) as never),
  "layer norm 1024": op(1024, 1024, (x) => Tensor.layerNorm(x as never) as never)
}

const words = process.argv.slice(2)
const option = words.indexOf("--threads")
const threads = option < 0 ? 1 : Number(words.splice(option, 2)[1])

/** Milliseconds that the processor has spent on this process: what others do on the machine is not in it. */
const busy = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The time that counts. */
const clock = threads === 1 ? busy : () => performance.now()

const chosen = Object.entries(cases).filter(([name]) => words.every((w) => name.includes(w)))

const program = Effect.gen(function* () {
  const backend = yield* Backend
  const top = yield* Effect.promise(() => multiplyAdds(busy))
  console.log(backend.description)
  for (const [name, c] of chosen) {
    const started = performance.now()
    const f = yield* compile(c.build as never, c.signature)
    const compiled = performance.now() - started
    const from = arrays.random(1)
    const inputs: { [name: string]: DeviceArray } = {}
    for (const [input, shape] of Object.entries(c.shapes))
      inputs[input] = yield* backend.upload(arrays.array(from, c.dtype, shape, "uniform"))
    const call = () => Effect.scoped(f.onDevice(inputs as never))
    const before = performance.now()
    yield* call()
    const first = performance.now() - before
    let [best, most, times] = [Infinity, 0, 1]
    const until = performance.now() + 2000
    for (let n = 0; n < 100 && (n < 5 || performance.now() < until); n++) {
      most = Math.max(most, n % 4 === 0 ? top() : 0)
      const start = clock()
      for (let k = 0; k < times; k++) yield* call()
      const took = clock() - start
      best = Math.min(best, took / times)
      // Times below 20 ms are those of several calls.
      times = Math.max(1, Math.round(20 / best))
    }
    const speed = c.flops / best / 1e6
    console.log(
      `${name.padEnd(24)} ${best.toFixed(2).padStart(8)} ms  ${speed.toFixed(1).padStart(6)} GFLOP/s, ${((100 * speed) / (most * threads)).toFixed(0)} % of ${(most * threads).toFixed(0)};  ${/module of (\d+) bytes/.exec(f.program)?.[1]} bytes compiled in ${compiled.toFixed(0)} ms, first call ${first.toFixed(0)} ms`
    )
  }
})

await Effect.runPromise(Effect.scoped(Effect.provide(program, Wasm.layerWith({ threads }))))
