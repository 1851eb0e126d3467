import { expect, test } from "vitest"
import {
  type Expr,
  get,
  i32,
  type Local,
  load,
  op,
  store
} from "../../../backends/wasm/assembler/Instruction.ts"
import { needed } from "../../../backends/wasm/assembler/needed.ts"
import { apart } from "../../../backends/wasm/emit/apart.ts"
import * as Emitter from "../../../backends/wasm/emit/Emitter.ts"
import * as Unit from "../../../backends/wasm/emit/Unit.ts"
import { firstAddress } from "../../../backends/wasm/limits.ts"

const params = (["p", "k"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
const [p, k] = params.map(get) as [Expr<"i32">, Expr<"i32">]
const emitter = () => Emitter.make(Unit.make({ simd: true, relaxed: true }), params, () => i32(0))

test("constants of an address become the distance of an instruction", () => {
  const e = emitter()
  const element = (n: number): Expr<"i32"> => e.add(p, e.mul(e.add(k, i32(n)), i32(4)))
  const { base } = apart(e, element(0))
  for (const n of [0, 1, 4, 100]) expect(apart(e, element(n))).toEqual({ base, offset: 4 * n })
  // Less something, times what is no power of two, and on both sides of a sum.
  const other = e.add(e.mul(e.sub(e.add(k, i32(2)), p), i32(12)), e.add(p, i32(8)))
  expect(apart(e, other)).toEqual({ base: e.add(e.mul(e.sub(k, p), i32(12)), p), offset: 32 })
})

test("what could make an address less than none stays in it", () => {
  const e = emitter()
  for (const n of [-4, firstAddress, 2 ** 30]) {
    const address = e.add(p, i32(n))
    expect(apart(e, address)).toEqual({ base: address, offset: 0 })
  }
})

test("values that nobody reads are left out, and what only they read", () => {
  const e = emitter()
  const sum = e.variable(i32(0))
  e.loop(i32(0), k, 1, (n) => {
    const unread = e.now(load("i32.load", e.now(op("i32.add", p, n))))
    e.now(op("i32.mul", unread, n))
    sum.set(op("i32.add", sum.value, e.now(load("i32.load", p))))
  })
  e.line(store("i32.store", p, sum.value))
  const f = { name: "f", exported: true, params, body: e.statements() }
  const text = JSON.stringify(needed(f).body)
  expect(text).not.toContain("i32.mul")
  expect(text.match(/i32\.load"/g)).toHaveLength(1)
  expect(needed(needed(f))).toEqual(needed(f))
})
