import { describe, expect, test } from "vitest"
import { loadF64, splatF64, storeF64 } from "../../../backends/wasm/assembler/doubles.ts"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { type Expr, get, i32, type Local, op, store } from "../../../backends/wasm/assembler/Instruction.ts"
import * as Emitter from "../../../backends/wasm/emit/Emitter.ts"
import * as M from "../../../backends/wasm/emit/mathF64.ts"
import * as Unit from "../../../backends/wasm/emit/Unit.ts"
import { detect, type Features } from "../../../backends/wasm/features.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"
import { mod } from "../../../ir/ops/elementwise.ts"
import * as Exactly from "../../support/exactly.ts"

const host = engine() as Engine

type D = Expr<"v256">

/** A function that maps doubles, or makes words of them. */
const compiled = async (f: (e: Emitter.Emitter, x: D) => D | Expr<"v128">, features: Features) => {
  const unit = Unit.make(features, true)
  const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
  const [, , end] = params.map(get) as [Expr<"i32">, Expr<"i32">, Expr<"i32">]
  const e = Emitter.make(unit, params, () => i32(0))
  e.loop(i32(0), end, 4, (n) => {
    const address = e.bind(op("i32.shl", n, i32(3)))
    const value = f(e, e.now(loadF64("v256.load", address)))
    e.line(
      value.type === "v256"
        ? storeF64(address, value as D)
        : store("v128.store", address, value as Expr<"v128">)
    )
  })
  const module = unit.module([{ name: "map", exported: true, params, body: e.statements() }])
  const memory = new host.Memory({ initial: 4, maximum: 4 })
  const { exports } = await host.instantiate(await host.compile(encode(module)), { env: { memory }, Math })
  return (data: Float64Array): Float64Array => {
    const view = new Float64Array(memory.buffer, 0, data.length)
    view.set(data)
    exports["map"]?.(0, 0, data.length)
    return view.slice()
  }
}

const count = 4000

/** Evenly, with digits down to the last. */
const spread = (low: number, high: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.37)) / count)

/** Evenly by magnitude. */
const magnitudes = (low: number, high: number): Float64Array =>
  Float64Array.from(spread(Math.log(low), Math.log(high)), Math.exp)

const engines: ReadonlyArray<readonly [string, Features]> = [
  ["plain SIMD", { simd: true, relaxed: false }],
  ["no SIMD", { simd: false, relaxed: false }],
  ...(detect(host).relaxed ? ([["relaxed SIMD", { simd: true, relaxed: true }]] as const) : [])
]

const small = magnitudes(1e-300, 1)

describe.each(engines)("functions of doubles, %s", (_, features) => {
  test.each([
    ["exp", M.exp, Exactly.exp, [spread(-745, 709.7), spread(-1, 1), small], 1],
    ["exp2", M.exp2, Exactly.exp2, [spread(-1074, 1023.9), spread(-1, 1)], 1],
    ["log", M.log, Exactly.log, [magnitudes(1e-320, 1e308), spread(0.5, 2)], 1],
    ["tanh", M.tanh, Exactly.tanh, [spread(-20, 20), spread(-1, 1), magnitudes(1e-15, 1)], 2],
    ["sigmoid", M.sigmoid, Exactly.sigmoid, [spread(-100, 100), spread(-1, 1)], 2],
    ["erf", M.erf, Exactly.erf, [spread(-6, 6), spread(-1, 1), magnitudes(1e-15, 1)], 2]
  ] as const)("%s: within its units in the last place", async (name, f, exact, ranges, most) => {
    const map = await compiled(f, features)
    const worst = ranges.map((x) =>
      map(x).reduce((w, found, i) => Math.max(w, Exactly.unitsOff(found, exact(x[i] as number))), 0)
    )
    expect(Math.max(...worst), name).toBeLessThan(most)
  })

  test.each([
    ["exp", M.exp, Math.exp],
    ["exp2", M.exp2, (x: number) => 2 ** x],
    ["log", M.log, Math.log],
    ["tanh", M.tanh, Math.tanh],
    ["erf", M.erf, (x: number) => (Number.isFinite(x) ? x : Math.sign(x))],
    ["sigmoid", M.sigmoid, (x: number) => 1 / (1 + Math.exp(-x))]
  ] as const)("%s of infinities, NaN and zeros", async (_, f, exact) => {
    const x = Float64Array.of(Infinity, -Infinity, Number.NaN, 0, -0, 0, 0, 0)
    const found = (await compiled(f, features))(x)
    expect([...found].slice(0, 5)).toEqual([...x].slice(0, 5).map(exact))
  })

  test.each([3, 0.1, -7, 1e305, 1e-310, 5e-324, Infinity, 0])(
    "what is left after multiples of %d",
    async (y) => {
      const x = [
        1e300,
        -1e300,
        1.5e305,
        1e17,
        -(2 ** 53),
        12345678901234,
        7.5,
        -7.5,
        1e-310,
        0,
        Number.NaN,
        Infinity
      ]
      const found = (await compiled((e, x) => M.mod(e, x, splatF64(y)), features))(Float64Array.from(x))
      expect([...found]).toEqual(x.map((number) => mod.scalar?.(number, y)))
    }
  )

  test("rounding to odd: what was not exact ends in a one, and no half is made", async () => {
    const map = await compiled((e, x) => M.toOdd(e, x), features)
    const [one, next] = [1, 1 + 2 ** -23]
    const x = Float64Array.of(1 + 2 ** -24 + 2 ** -50, 1 + 2 ** -24 - 2 ** -50, -next + 2 ** -50, one)
    expect([...new Float32Array(map(x).buffer).slice(0, 4)]).toEqual([next, next, -next, one])
    const even = Float64Array.of(1 + 2 ** -22 + 2 ** -30, 1 + 2 ** -22 - 2 ** -30, 1 + 2 ** -22, Infinity)
    const odd = [1 + 3 * 2 ** -23, 1 + 2 ** -23, 1 + 2 ** -22, Infinity]
    expect([...new Float32Array(map(even).buffer).slice(0, 4)]).toEqual(odd)
  })
})
