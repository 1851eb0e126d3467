import { describe, expect, test } from "vitest"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import {
  type Expr,
  get,
  i32,
  type Local,
  load,
  op,
  store
} from "../../../backends/wasm/assembler/Instruction.ts"
import * as Emitter from "../../../backends/wasm/emit/Emitter.ts"
import * as M from "../../../backends/wasm/emit/math.ts"
import * as Unit from "../../../backends/wasm/emit/Unit.ts"
import { detect, type Features } from "../../../backends/wasm/features.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"

const host = engine() as Engine

type OnVectors = (e: Emitter.Emitter, x: Expr<"v128">) => Expr<"v128">

const most = 1 << 20

/** A function that maps so many floats in place. */
const compiled = async (f: OnVectors, features: Features): Promise<(data: Float32Array) => Float32Array> => {
  const unit = Unit.make(features)
  const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
  const [, , end] = params.map(get) as [Expr<"i32">, Expr<"i32">, Expr<"i32">]
  const e = Emitter.make(unit, params, () => i32(0))
  e.loop(i32(0), end, 4, (n) => {
    const address = e.bind(op("i32.shl", n, i32(2)))
    e.line(store("v128.store", address, f(e, e.now(load("v128.load", address)))))
  })
  const module = unit.module([{ name: "map", exported: true, params, body: e.statements() }])
  const memory = new host.Memory({ initial: (most * 4) / 65536, maximum: (most * 4) / 65536 })
  const { exports } = await host.instantiate(await host.compile(encode(module)), {
    env: { memory },
    Math
  })
  return (data) => {
    const view = new Float32Array(memory.buffer, 0, data.length)
    view.set(data)
    exports["map"]?.(0, 0, data.length)
    return view.slice()
  }
}

/** The distance of neighbours at a number, in f32; that of the smallest normal number below it. */
const unitAt = (x: number): number => 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 23)

/** The largest error of `f` on `x`, in units of the last place of the exact value. */
const worst = (
  f: (data: Float32Array) => Float32Array,
  exact: (x: number) => number,
  x: Float32Array
): number => {
  const found = f(x)
  let most = 0
  for (let i = 0; i < x.length; i++) {
    const wanted = exact(x[i] as number)
    most = Math.max(most, Math.abs((found[i] as number) - wanted) / unitAt(wanted))
  }
  return most
}

/** All floats from `low` to twice that, in pieces. */
function* binade(low: number): Generator<Float32Array> {
  const first = new Float32Array([low])
  const start = new Uint32Array(first.buffer)[0] as number
  for (let at = 0; at < 2 ** 23; at += most) {
    yield new Float32Array(Uint32Array.from({ length: most }, (_, i) => start + at + i).buffer)
  }
}

const spread = (low: number, high: number): Float32Array =>
  Float32Array.from({ length: most }, (_, i) => low + ((high - low) * i) / (most - 1))

const engines: ReadonlyArray<readonly [string, Features]> = [
  ["plain SIMD", { simd: true, relaxed: false }],
  ...(detect(host).relaxed ? ([["relaxed SIMD", { simd: true, relaxed: true }]] as const) : [])
]

describe.each(engines)("functions on vectors, %s", (_, features) => {
  test("powers of two below 0: at most 2 units in the last place, on every float of [-1, -1/2]", async () => {
    const f = await compiled(M.exp2Below, features)
    let most = 0
    for (const x of binade(-0.5))
      most = Math.max(
        most,
        worst(f, (y) => 2 ** y, x)
      )
    for (const low of [-2, -30, -125.9])
      most = Math.max(
        most,
        worst(f, (y) => 2 ** y, spread(low, 0))
      )
    expect(most).toBeLessThanOrEqual(2)
    expect([...f(Float32Array.of(0, -126.5, -Infinity, Number.NaN))]).toEqual([1, 0, 0, Number.NaN])
    // Beside the smallest number that is normal, what is smaller is as good as 0.
    const small = spread(-127, -126)
    const off = f(small).map((y, i) => Math.abs(y - 2 ** (small[i] as number)))
    expect(off.reduce((a, b) => Math.max(a, b))).toBeLessThan(2 ** -126.4)
    const payloads = Uint32Array.of(0x7f800001, 0x7fc00001, 0x7fffffff, 0xffffffff)
    expect([...f(new Float32Array(payloads.buffer))]).toEqual(Array(4).fill(Number.NaN))
  })

  test.each([
    ["exp2", M.exp2, (x: number) => 2 ** x, [-126, 127.9]],
    ["exp", M.exp, Math.exp, [-87, 88]],
    ["log", M.log, Math.log, [1.5, 1e30]],
    ["log near 0", M.log, Math.log, [1e-30, 0.5]],
    ["tanh", M.tanh, Math.tanh, [-10, 10]],
    ["sigmoid", M.sigmoid, (x: number) => 1 / (1 + Math.exp(-x)), [-80, 80]]
  ] as const)("%s: at most 4 units", async (_, f, exact, [low, high]) => {
    expect(worst(await compiled(f, features), exact, spread(low, high))).toBeLessThanOrEqual(4)
  })

  test.each([
    ["exp", M.exp, Math.exp],
    ["exp2", M.exp2, (x: number) => 2 ** x],
    ["log", M.log, Math.log],
    ["tanh", M.tanh, Math.tanh],
    ["erf", M.erf, (x: number) => (Number.isNaN(x) ? x : Math.sign(x))],
    ["sigmoid", M.sigmoid, (x: number) => 1 / (1 + Math.exp(-x))]
  ] as const)("%s of infinities, NaN and 0", async (name, f, exact) => {
    const x = [Infinity, -Infinity, Number.NaN, 0]
    const [a, b, c, d] = (await compiled(f, features))(Float32Array.from(x))
    expect([a, b, c], name).toEqual(x.slice(0, 3).map(exact))
    expect(d).toBe(Math.fround(exact(0)))
  })

  test.each([
    ["sine", M.sin, Math.sin],
    ["cosine", M.cos, Math.cos]
  ] as const)("%s: at most 2 units of 2^-24, whatever the angle", async (_, f, exact) => {
    const all = await compiled(f, features)
    const everywhere = Float32Array.from({ length: most }, (_, i) => (-1) ** i * 2 ** ((128 * i) / most))
    // Small angles beside large ones, which a vector computes in another way.
    const mixed = Float32Array.from({ length: most }, (_, i) => (i % 4 === 0 ? i / 8 : i))
    for (const x of [spread(-1000, 1000), spread(12800, 12900), mixed, everywhere]) {
      const found = all(x)
      let most = 0
      for (let i = 0; i < x.length; i++)
        most = Math.max(most, Math.abs((found[i] as number) - exact(x[i] as number)))
      expect(most * 2 ** 24).toBeLessThan(2)
    }
    expect([...all(Float32Array.of(Infinity, -Infinity, NaN, 1e6))]).toEqual([
      NaN,
      NaN,
      NaN,
      Math.fround(exact(1e6))
    ])
  })
})
