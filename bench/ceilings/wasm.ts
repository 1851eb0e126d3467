/** What this processor does at best in WebAssembly, on one thread, in loops of one thing each. */
import { encode } from "../../backends/wasm/assembler/encode.ts"
import {
  type Expr,
  get,
  i32,
  type Local,
  load,
  op,
  splatF32,
  store
} from "../../backends/wasm/assembler/Instruction.ts"
import * as Emitter from "../../backends/wasm/emit/Emitter.ts"
import { madd } from "../../backends/wasm/emit/math.ts"
import * as Unit from "../../backends/wasm/emit/Unit.ts"
import { detect } from "../../backends/wasm/features.ts"
import { type Engine, engine } from "../../backends/wasm/runtime/engine.ts"

type Run = (args: number, begin: number, end: number) => void

/** A function of `begin` and `end`, over a memory of so many pages. */
const made = async (
  pages: number,
  body: (e: Emitter.Emitter, begin: Expr<"i32">, end: Expr<"i32">) => void
): Promise<Run> => {
  const host = engine() as Engine
  const unit = Unit.make(detect(host))
  const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
  const e = Emitter.make(unit, params, () => i32(0))
  body(e, get(params[1] as Local<"i32">) as Expr<"i32">, get(params[2] as Local<"i32">) as Expr<"i32">)
  const module = unit.module([{ name: "f", exported: true, params, body: e.statements() }])
  const memory = new host.Memory({ initial: pages, maximum: pages })
  // Pages that nobody has written are all the same page. As a float, these bytes are about 3/4.
  new Uint8Array(memory.buffer).fill(63)
  const { exports } = await host.instantiate(await host.compile(encode(module)), { env: { memory } })
  return exports["f"] as Run
}

const fastest = (run: () => void): number => {
  let best = Infinity
  for (let n = 0; n < 7; n++) {
    const start = performance.now()
    run()
    best = Math.min(best, performance.now() - start)
  }
  return best
}

/** What one call of a loop does, in multiplications and additions or in bytes. */
export interface Loop {
  readonly run: () => void
  readonly work: number
}

/** Multiply-adds in eight registers. */
export const inRegisters = async (): Promise<Loop> => {
  const run = await made(1, (e, _, end) => {
    const sums = Array.from({ length: 8 }, (_, n) => e.variable(splatF32(n)))
    const [a, b] = [e.variable(splatF32(0.999)), e.variable(splatF32(0.001))]
    e.loop(i32(0), end, 1, () => {
      for (let n = 0; n < 4; n++) for (const s of sums) s.set(madd(e, s.value, a.value, b.value))
    })
    for (const [n, s] of sums.entries()) e.line(store("v128.store", i32(16 * n), s.value))
  })
  const rounds = 1_000_000
  return { run: () => run(0, 0, rounds), work: rounds * 4 * 8 * 8 }
}

/** The same: a call gives billions of multiplications and additions a second. */
export const multiplyAdds = async (clock: () => number = () => performance.now()): Promise<() => number> => {
  const { run, work } = await inRegisters()
  return () => {
    const start = clock()
    run()
    return work / (clock() - start) / 1e6
  }
}

/** A tile of 4 by 8 sums in registers, its operands read from the nearest cache: what a matrix product can reach. */
export const tile = async (): Promise<Loop> => {
  const [depth, rounds, rows, columns] = [256, 200, 4, 2] as const
  const run = await made(1, (e, _, end) => {
    const sums = Array.from({ length: rows * columns }, () => e.variable(splatF32(0)))
    e.loop(i32(0), end, 1, () => {
      e.loop(i32(0), i32(depth * 16), 16, (at) => {
        const right = Array.from({ length: columns }, (_, n) =>
          e.now(load("v128.load", at, 16384 + n * 4096))
        )
        for (let row = 0; row < rows; row++) {
          const left = e.now(load("v128.load32_splat", at, 4 * row))
          for (const [n, b] of right.entries()) {
            const s = sums[row * columns + n] as (typeof sums)[number]
            s.set(madd(e, left, b, s.value))
          }
        }
      })
    })
    for (const [n, s] of sums.entries()) e.line(store("v128.store", i32(32768 + 16 * n), s.value))
  })
  return { run: () => run(0, 0, rounds), work: rounds * depth * rows * columns * 8 }
}

/** Loads and additions over a memory of so many bytes, again and again. */
export const reading = async (bytes: number): Promise<Loop> => {
  const run = await made(Math.ceil(bytes / 65536) + 1, (e, begin, end) => {
    const sums = Array.from({ length: 8 }, () => e.variable(splatF32(0)))
    e.loop(begin, end, 128, (at) => {
      for (const [n, s] of sums.entries()) s.set(op("f32x4.add", s.value, load("v128.load", at, 16 * n)))
    })
    for (const [n, s] of sums.entries()) e.line(store("v128.store", i32(16 * n), s.value))
  })
  return { run: () => run(0, 1024, 1024 + bytes), work: bytes }
}

/** Billions of bytes a second that are read of a memory of so many. */
const reads = async (bytes: number): Promise<number> => {
  const { run } = await reading(bytes)
  const times = Math.max(1, Math.round(2 ** 27 / bytes))
  const time = fastest(() => {
    for (let n = 0; n < times; n++) run()
  })
  return (times * bytes) / time / 1e6
}

export interface WasmCeilings {
  /** Multiplications and additions a second, in registers, in billions. */
  readonly flops: number
  /** The same of a tile whose operands are read from the nearest cache. */
  readonly tile: number
  /** Bytes read a second, in billions: of 256 KiB, of 4 MiB, of 256 MiB. */
  readonly cached: number
  readonly large: number
  readonly memory: number
}

export const wasmCeilings = async (): Promise<WasmCeilings> => {
  const top = await multiplyAdds()
  const { run, work } = await tile()
  return {
    flops: Math.max(...Array.from({ length: 9 }, top)),
    tile: work / fastest(run) / 1e6,
    cached: await reads(2 ** 18),
    large: await reads(2 ** 22),
    memory: await reads(2 ** 28)
  }
}
