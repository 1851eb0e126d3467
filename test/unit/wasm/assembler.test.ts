import { describe, expect, test } from "vitest"
import { splatF64 } from "../../../backends/wasm/assembler/doubles.ts"
import { encode, signed, unsigned } from "../../../backends/wasm/assembler/encode.ts"
import { hoist } from "../../../backends/wasm/assembler/hoist.ts"
import {
  call,
  type Expr,
  f32,
  f64,
  get,
  i32,
  type Label,
  type Local,
  lane,
  load,
  loadLane,
  op,
  type Statement,
  select,
  set,
  shuffle,
  splat,
  store,
  storeLane
} from "../../../backends/wasm/assembler/Instruction.ts"
import {
  laneLoads,
  laneStores,
  lanes,
  loads,
  plain,
  stores,
  type ValueType
} from "../../../backends/wasm/assembler/instructions.ts"
import { calleeOf, type Func, type Module } from "../../../backends/wasm/assembler/Module.ts"
import { print } from "../../../backends/wasm/assembler/print.ts"
import { detect } from "../../../backends/wasm/features.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"

const host = engine() as Engine

const moduleOf = (...functions: ReadonlyArray<Func>): Module => ({ imports: [], functions })

const func = (body: ReadonlyArray<Statement>, result?: Expr): Func => ({
  name: "f",
  exported: true,
  params: [],
  body,
  ...(result === undefined ? {} : { result })
})

const zero: { readonly [T in ValueType]: Expr } = {
  i32: i32(0),
  f32: f32(0),
  i64: op("i64.extend_i32_u", i32(0)),
  f64: f64(0),
  v128: splat(0),
  v256: splatF64(0)
}

const instructionsOf = <K extends string>(table: { readonly [N in K]: unknown }): ReadonlyArray<K> =>
  Object.keys(table) as unknown as ReadonlyArray<K>

describe("the engine takes what the tables say", () => {
  const validates = (f: Func): void => expect(host.validate(encode(moduleOf(f)))).toBe(true)

  test.each(instructionsOf(plain))("%s", (name) => {
    const make = op as (name: string, ...operands: ReadonlyArray<Expr>) => Expr
    validates(func([], make(name, ...plain[name][1].map((t) => zero[t]))))
  })
  test.each(instructionsOf(lanes))("%s", (name) => {
    const make = lane as (name: string, index: number, ...operands: ReadonlyArray<Expr>) => Expr
    validates(func([], make(name, name.startsWith("f64") ? 1 : 3, ...lanes[name][1].map((t) => zero[t]))))
  })
  test.each(instructionsOf(loads))("%s", (name) => validates(func([], load(name, i32(0), 8))))
  test.each(instructionsOf(stores))("%s", (name) =>
    validates(func([store(name, i32(0), zero[stores[name][2]] as never, 8)]))
  )
  test.each(instructionsOf(laneLoads))("%s", (name) =>
    validates(func([], loadLane(name, i32(0), splat(0), 1)))
  )
  test.each(instructionsOf(laneStores))("%s", (name) =>
    validates(func([storeLane(name, i32(0), splat(0), 1)]))
  )
  test("a wrong operand is refused: validation is not idle", () => {
    const wrong = { ...op("i32.add", i32(1), i32(2)), operands: [f32(1), i32(2)] } as Expr
    expect(host.validate(encode(moduleOf(func([], wrong))))).toBe(false)
  })
})

test("LEB128 of the numbers in the specification and of those at the ends", () => {
  expect(unsigned(624485)).toEqual([0xe5, 0x8e, 0x26])
  expect(unsigned(0)).toEqual([0])
  expect(unsigned(2 ** 32 - 1)).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f])
  expect(signed(-123456)).toEqual([0xc0, 0xbb, 0x78])
  expect(signed(63)).toEqual([0x3f])
  expect(signed(64)).toEqual([0xc0, 0x00])
  expect(signed(-64)).toEqual([0x40])
  expect(signed(-(2 ** 31))).toEqual([0x80, 0x80, 0x80, 0x80, 0x78])
})

/** Counts up to its argument by odd numbers, and gives n² where it is not negative. */
const square = (): Func => {
  const n: Local<"i32"> = { type: "i32", name: "n" }
  const [k, sum]: [Local<"i32">, Local<"i32">] = [
    { type: "i32", name: "k" },
    { type: "i32", name: "sum" }
  ]
  const [end, next]: [Label, Label] = [{ name: "end" }, { name: "next" }]
  return {
    name: "square",
    exported: true,
    params: [n],
    body: [
      {
        _tag: "if",
        condition: op("i32.lt_s", get(n), i32(0)),
        body: [set(n, op("i32.sub", i32(0), get(n)))],
        otherwise: []
      },
      {
        _tag: "block",
        label: end,
        body: [
          { _tag: "branch", label: end, condition: op("i32.eqz", get(n)) },
          {
            _tag: "loop",
            label: next,
            body: [
              set(sum, op("i32.add", get(sum), op("i32.add", op("i32.shl", get(k), i32(1)), i32(1)))),
              set(k, op("i32.add", get(k), i32(1))),
              { _tag: "branch", label: next, condition: op("i32.lt_s", get(k), get(n)) }
            ]
          }
        ]
      }
    ],
    result: get(sum)
  }
}

const instantiate = async (
  module: Module
): Promise<{ readonly [name: string]: (...args: Array<number>) => number }> => {
  const memory = new host.Memory({ initial: 1, maximum: 1 })
  const { exports } = await host.instantiate(await host.compile(encode(module)), { env: { memory } })
  return exports as never
}

test("loops, branches, blocks and calls compute", async () => {
  const inner = square()
  const x: Local<"i32"> = { type: "i32", name: "x" }
  const outer: Func = {
    name: "twice",
    exported: true,
    params: [x],
    body: [],
    result: call({ ...calleeOf(inner), result: "i32" }, call({ ...calleeOf(inner), result: "i32" }, get(x)))
  }
  const { square: f, twice } = await instantiate(moduleOf(inner, outer))
  expect([0, 1, 5, -7, 300].map((n) => f?.(n))).toEqual([0, 1, 25, 49, 90000])
  expect(twice?.(3)).toBe(81)
})

test("words move between lanes as `shuffle` says", async () => {
  const [a, b] = [splat(1), op("i32x4.add", splat(1), splat(6))]
  const picked = shuffle(a, b, [0, 5, 2, 7])
  const sum = [0, 1, 2, 3].reduce<Expr<"i32">>(
    (all, n) => op("i32.add", op("i32.mul", all, i32(10)), lane("i32x4.extract_lane", n, picked)),
    i32(0)
  )
  const { f } = await instantiate(moduleOf(func([], select(sum, i32(-1), i32(1)))))
  expect(f?.()).toBe(1717)
})

test("the text form", () => {
  expect(print(moduleOf(square()))).toBe(`(module
  (import "env" "memory" (memory 1))
  (func $square (export "square") (param $n i32) (result i32)
    (local $sum i32)
    (local $k i32)
    (if (i32.lt_s (local.get $n) (i32.const 0))
      (then
        (local.set $n (i32.sub (i32.const 0) (local.get $n)))
      )
    )
    (block $end
      (br_if $end (i32.eqz (local.get $n)))
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.add (i32.shl (local.get $k) (i32.const 1)) (i32.const 1))))
        (local.set $k (i32.add (local.get $k) (i32.const 1)))
        (br_if $next (i32.lt_s (local.get $k) (local.get $n)))
      )
    )
    (local.get $sum)
  )
)`)
})

test("features are what the engine validates", () => {
  expect(detect({ validate: () => false })).toEqual({ simd: false, relaxed: false })
  expect(detect(host).simd).toBe(true)
  // Relaxed instructions come with Node 22; Node 20 has them behind a flag.
  const major = Number(process.versions.node.split(".")[0])
  expect(detect(host).relaxed).toBe(major >= 22)
})

test("a module meets memory of the kind that it is encoded for", async () => {
  const of = async (module: boolean, shared: boolean) => {
    const size = { initial: 1, maximum: 65536, shared } as ConstructorParameters<Engine["Memory"]>[0]
    const compiled = await host.compile(encode(moduleOf(square()), { shared: module }))
    return host.instantiate(compiled, { env: { memory: new host.Memory(size) } })
  }
  await of(true, true)
  await of(false, false)
  await expect(of(true, false)).rejects.toThrow(/shared/)
  await expect(of(false, true)).rejects.toThrow(/shared/)
})

test("constants leave loops, those that cost nothing stay", () => {
  const [x, n]: [Local<"v128">, Local<"i32">] = [
    { type: "v128", name: "x" },
    { type: "i32", name: "n" }
  ]
  const loop = (body: ReadonlyArray<Statement>): Statement => ({
    _tag: "loop",
    label: { name: "again" },
    body
  })
  const step = (by: number): Statement => set(x, op("i32x4.add", get(x), splat(by)))
  const before = func([
    step(1),
    loop([step(2), loop([step(2), step(3), step(-1)])]),
    { _tag: "if", condition: get(n), body: [loop([step(2)])], otherwise: [] }
  ])
  expect(print(moduleOf({ ...hoist(before), params: [n] }))).toBe(`(module
  (import "env" "memory" (memory 1))
  (func $f (export "f") (param $n i32)
    (local $x v128)
    (local $c2 v128)
    (local $c3 v128)
    (local.set $x (i32x4.add (local.get $x) (v128.const i32x4 0x1 0x1 0x1 0x1)))
    (local.set $c2 (v128.const i32x4 0x2 0x2 0x2 0x2))
    (local.set $c3 (v128.const i32x4 0x3 0x3 0x3 0x3))
    (loop $again
      (local.set $x (i32x4.add (local.get $x) (local.get $c2)))
      (loop $again
        (local.set $x (i32x4.add (local.get $x) (local.get $c2)))
        (local.set $x (i32x4.add (local.get $x) (local.get $c3)))
        (local.set $x (i32x4.add (local.get $x) (v128.const i32x4 0xffffffff 0xffffffff 0xffffffff 0xffffffff)))
      )
    )
    (if (local.get $n)
      (then
        (local.set $c2 (v128.const i32x4 0x2 0x2 0x2 0x2))
        (loop $again
          (local.set $x (i32x4.add (local.get $x) (local.get $c2)))
        )
      )
    )
  )
)`)
})
