import { describe, expect, test } from "vitest"
import {
  names as doubleNames,
  laneF64,
  loadF64,
  loadLaneF64,
  operandsOf,
  splatF64,
  storeF64,
  wide as wideOp,
  withLaneF64
} from "../../../backends/wasm/assembler/doubles.ts"
import { encode } from "../../../backends/wasm/assembler/encode.ts"
import { halve } from "../../../backends/wasm/assembler/halve.ts"
import {
  call,
  type Expr,
  f32,
  get,
  i32,
  interleave,
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
  storeLane,
  words
} from "../../../backends/wasm/assembler/Instruction.ts"
import {
  laneLoads,
  laneStores,
  lanes,
  loads,
  plain,
  type ValueType
} from "../../../backends/wasm/assembler/instructions.ts"
import { calleeOf, type Func, type Module } from "../../../backends/wasm/assembler/Module.ts"
import { print } from "../../../backends/wasm/assembler/print.ts"
import { scalarise } from "../../../backends/wasm/assembler/scalarise.ts"
import { type Engine, engine } from "../../../backends/wasm/runtime/engine.ts"

const host = engine() as Engine

type V = Expr<"v128">

const numbers = [
  ...[0, -0, 1, -1, 0.5, -1.5, 2.5, 3.25, 1e-40, -1e-42, 2 ** 31, 2 ** 32, -(2 ** 31), 3e9, -3e9, 65535.5],
  ...[Infinity, -Infinity, Number.NaN, 1e30, -7.75]
]
const integers = [0, -1, 1, 31, 32, 65535, 65536, -65536, 2 ** 31 - 1, -(2 ** 31), 0x7fc01234, 12345, -77]

/** Floats and integers as words, each before each other one often enough; NaN among them. */
const content = (): Int32Array<ArrayBuffer> => {
  const all = [...new Int32Array(Float32Array.from(numbers).buffer), ...integers]
  return Int32Array.from({ length: 1024 }, (_, n) => all[(n * n + (n >> 5)) % all.length] as number)
}

const run = async (module: Module): Promise<Int32Array> => {
  const memory = new host.Memory({ initial: 1, maximum: 1 })
  new Int32Array(memory.buffer).set(content())
  const { exports } = await host.instantiate(await host.compile(encode(module)), { env: { memory } })
  exports["f"]?.(0, 0, 1024)
  return new Int32Array(memory.buffer).slice()
}

const untouched = (): Int32Array => {
  const all = new Int32Array(16384)
  all.set(content())
  return all
}

/** One NaN is as good as another: which of two an addition gives is the engine's affair. */
const plainNaN = (all: Int32Array): Int32Array =>
  all.map((w) => ((w & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : w))

const vector = /v128|x4|x8|x16/

/** The same memory after both. */
const same = async (
  f: Func,
  helpers: ReadonlyArray<Func> = [],
  seen = (w: Int32Array) => w
): Promise<void> => {
  const functions = [...helpers, f]
  const scalar = { imports: [], functions: functions.map(scalarise) }
  expect(print(scalar)).not.toMatch(vector)
  const expected = await run({ imports: [], functions: functions.map(halve) })
  expect(expected).not.toEqual(untouched())
  expect(seen(await run(scalar))).toEqual(seen(expected))
}

const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
const n: Local<"i32"> = { type: "i32", name: "n" }
const again = { name: "again" }

const at = 16384
const here = op("i32.shl", get(n), i32(2))

/** Statements for each word of the content, at most 8 more behind it. */
const each = (body: ReadonlyArray<Statement>): Func => ({
  name: "f",
  exported: true,
  params,
  body: [
    set(n, get(params[1] as Local<"i32">)),
    {
      _tag: "loop",
      label: again,
      body: [
        ...body,
        set(n, op("i32.add", get(n), i32(1))),
        { _tag: "branch", label: again, condition: op("i32.lt_s", get(n), i32(1000)) }
      ]
    }
  ]
})

const keep = (value: V): Statement => store("v128.store", op("i32.shl", get(n), i32(4)), value, at)
const wide = load("v128.load", here, 0)
const next = load("v128.load", here, 20)
const third = load("v128.load", here, 60)

const locals = (count: number): ReadonlyArray<Local<"v128">> =>
  Array.from({ length: count }, (_, k) => ({ type: "v128", name: `v${k}` }))

const given: { readonly [T in ValueType]: ReadonlyArray<Expr> } = {
  v128: [wide, next, third],
  v256: [0, 40, 80].map((offset) => loadF64("v256.load", here, offset)),
  i32: [load("i32.load", here), load("i32.load", here, 40)],
  i64: [],
  f32: [load("f32.load", here), load("f32.load", here, 40)],
  f64: [load("f64.load", here)]
}

const result = (type: ValueType | undefined, value: Expr): Statement =>
  type === "v128"
    ? keep(value as V)
    : keep(type === "i32" ? op("i32x4.splat", value as Expr<"i32">) : op("f32x4.splat", value as Expr<"f32">))

const make = op as (name: string, ...operands: ReadonlyArray<Expr>) => Expr
const namesOf = <K extends string>(table: { readonly [N in K]: unknown }): ReadonlyArray<K> =>
  Object.keys(table) as unknown as ReadonlyArray<K>

/** What stands in kernels; two doubles come of four. */
const written = <K extends string>(names: ReadonlyArray<K>): ReadonlyArray<K> =>
  names.filter((name) => !/64x2|128.*64_(splat|lane)/.test(name) || name === "v128.store64_lane")

const vectors = written(namesOf(plain)).filter((name) => vector.test(name))

describe("the same bits as with vectors", () => {
  test.each(vectors.filter((name) => !name.includes("relaxed")))("%s", async (name) => {
    const [, operands, type] = plain[name]
    const direct = operands.map((t, k) => given[t][k] as Expr)
    const seen = name.startsWith("f32x4.") ? plainNaN : undefined
    await same(each([result(type, make(name, ...direct))]), [], seen)
    // From locals, into one of them, and from what another instruction made.
    const [x, y, z] = locals(3) as [Local<"v128">, Local<"v128">, Local<"v128">]
    const bound = operands.map((t, k) => (t === "v128" ? get([x, y, z][k] as Local) : (given[t][k] as Expr)))
    const value = make(name, ...bound)
    const first = type === "v128" ? [set(x, value as V), keep(get(x))] : [result(type, value)]
    const before = [set(x, wide), set(y, next), set(z, op("i32x4.lt_s", get(x), get(y)))]
    await same(each([...before, ...first]), [], seen)
  })
  test.each(written(namesOf(lanes)))("%s", async (name) => {
    const of = lane as (name: string, index: number, ...operands: ReadonlyArray<Expr>) => Expr
    const [, operands, type] = lanes[name]
    for (const k of [0, 1, 2, 3])
      await same(each([result(type, of(name, k, ...operands.map((t, i) => given[t][i] as Expr)))]))
  })
  test.each(written(namesOf(loads)).filter((name) => name !== "f64.load"))("%s", async (name) => {
    const value = load(name, here, 8)
    await same(each([result(value.type, value)]))
  })
  test.each(written(namesOf(laneLoads)))("%s", async (name) => {
    for (const k of name === "v128.load16_lane" ? [0, 1, 2, 5, 7] : [0, 3])
      await same(each([keep(loadLane(name, op("i32.add", here, i32(40)), wide, k))]))
  })
  test.each(namesOf(laneStores))("%s", async (name) => {
    const most = { "v128.store16_lane": 8, "v128.store32_lane": 4, "v128.store64_lane": 2 }[name]
    const to = op("i32.add", op("i32.shl", get(n), i32(4)), i32(at))
    for (let k = 0; k < most; k++) await same(each([storeLane(name, to, wide, k)]))
  })
  test("masks that are no masks, conditions that are no instruction", async () => {
    await same(each([keep(op("v128.bitselect", wide, next, op("f32x4.lt", third, wide)))]))
    await same(each([keep(select(wide, next, op("i32.and", get(n), i32(1))))]))
    await same(each([keep(words(1, -1, 0x7f800001, 0x3f800000))]))
  })
  test("words that change places within their local, and those that are made from others", async () => {
    const [x] = locals(1) as [Local<"v128">]
    const swap = (from: readonly [number, number, number, number]) => shuffle(get(x), next, from)
    await same(each([set(x, wide), set(x, swap([3, 0, 1, 6])), set(x, swap([1, 0, 0, 7])), keep(get(x))]))
    const first = lane("f32x4.extract_lane", 0, get(x))
    const grown = op("f32x4.add", get(x), lane("f32x4.replace_lane", 2, get(x), first))
    await same(
      each([set(x, wide), set(x, op("f32x4.add", op("f32x4.splat", first), grown)), keep(get(x))]),
      [],
      plainNaN
    )
  })
  test.each(["first", "last"] as const)("halves of words in turns, the %s", (which) => {
    const [x] = locals(1) as [Local<"v128">]
    const own = interleave(get(x), next, which)
    return same(each([set(x, wide), set(x, own), keep(op("f32x4.abs", interleave(next, get(x), which)))]))
  })
  test("what is stored is read before, where they overlap", () =>
    same(each([store("v128.store", here, op("v128.or", load("v128.load", here, 4), splat(1)), 8)])))
  test("ifs, and branches on vectors", () =>
    same(
      each([
        {
          _tag: "if",
          condition: op("v128.any_true", op("f32x4.gt", wide, next)),
          body: [keep(next)],
          otherwise: [keep(wide)]
        }
      ])
    ))
  test("functions of vectors, lane by lane", async () => {
    const [x, y] = locals(2) as [Local<"v128">, Local<"v128">]
    const [t] = [{ type: "v128", name: "t" }] as [Local<"v128">]
    const helper: Func = {
      name: "helper",
      exported: false,
      params: [x, y],
      body: [set(t, op("i32x4.mul", get(x), get(y)))],
      result: op("i32x4.add", get(t), splat(3))
    }
    const callee = { ...calleeOf(helper), result: "v128" as const }
    await same(each([keep(call(callee, call(callee, wide, next), third))]), [helper])
  })
})

/** One NaN of doubles is as good as another, too. */
const plainNaNs = (all: Int32Array): Int32Array =>
  plainNaN(all).map((w, n, words) => {
    const upper = words[n | 1] as number
    return (upper & 0x7fffffff) >= 0x7ff00000 ? (n % 2 === 1 ? upper & 0x7ff00000 : 0) : w
  })

describe("four doubles, as two and as one by one", () => {
  const to = op("i32.add", op("i32.shl", get(n), i32(5)), i32(at))
  const keepAll = (value: Expr): Statement =>
    value.type === "v256" ? storeF64(to, value as Expr<"v256">) : store("v128.store", to, value as V)
  const four = (name: string, count: number): ReadonlyArray<Local<"v256">> =>
    Array.from({ length: count }, (_, k) => ({ type: "v256", name: `${name}${k}` }))

  test.each(doubleNames.filter((name) => !name.includes("relaxed")))("%s", async (name) => {
    const any = wideOp as (name: string, ...operands: ReadonlyArray<Expr>) => Expr
    const types = operandsOf(name)
    const mask = op("i32x4.lt_s", wide, next)
    const magnitude = wideOp("f64x4.abs", given.v256[0] as Expr<"v256">)
    const direct = types.map((t, k) =>
      name === "f64x4.select" && k === 2
        ? mask
        : name === "f64x4.eq" && k === 1
          ? magnitude
          : (given[t][k] as Expr)
    )
    await same(each([keepAll(any(name, ...direct))]), [], plainNaNs)
    // From locals, into one of them.
    const [x, y] = four("x", 2) as [Local<"v256">, Local<"v256">]
    const bound = types.map((t, k) => (t === "v256" ? get([x, y][k] as Local) : (direct[k] as Expr)))
    const value = any(name, ...bound)
    const last = value.type === "v256" ? [set(x, value), keepAll(get(x))] : [keepAll(value)]
    const before = [
      set(x, given.v256[0] as Expr),
      set(y, name === "f64x4.eq" ? magnitude : (given.v256[1] as Expr))
    ]
    await same(each([...before, ...last]), [], plainNaNs)
  })
  test.each([0, 1, 2, 3])("lane %i", async (k) => {
    const all = given.v256[0] as Expr<"v256">
    await same(each([storeF64(to, all, { lane: k })]))
    await same(each([keepAll(loadLaneF64(op("i32.add", here, i32(40)), all, k))]))
    await same(each([keepAll(withLaneF64(k, all, laneF64(3 - k, all)))]))
    await same(each([keepAll(loadF64("v256.load64_splat", here, 8))]))
    await same(each([keepAll(splatF64(k - 1.1))]))
  })
  test("comparisons and choices, where they are bound and where they are not", async () => {
    const [a, b, c] = given.v256 as ReadonlyArray<Expr<"v256">> as [Expr<"v256">, Expr<"v256">, Expr<"v256">]
    const m: Local<"v128"> = { type: "v128", name: "m" }
    const less = wideOp("f64x4.lt", a, b)
    await same(each([keepAll(wideOp("f64x4.select", a, c, less))]))
    await same(each([set(m, less), keepAll(wideOp("f64x4.select", a, c, get(m)))]))
    await same(each([keepAll(select(a, b, op("i32.and", get(n), i32(1))))]))
    await same(each([keepAll(op("v128.bitselect", wide, next, less))]))
  })
  test("what is stored is read before, where they overlap", () =>
    same(each([storeF64(here, wideOp("f64x4.neg", loadF64("v256.load", here, 8)))])))
  test("functions of doubles, half by half", async () => {
    const [x, y] = four("x", 2) as [Local<"v256">, Local<"v256">]
    const k: Local<"v128"> = { type: "v128", name: "k" }
    const helper: Func = {
      name: "helper",
      exported: false,
      params: [x, y],
      body: [set(k, op("v128.xor", wideOp("i32x4.high_f64x4", get(x)), wideOp("f64x4.lt", get(x), get(y))))],
      result: wideOp("f64x4.join_i32x4", wideOp("i32x4.low_f64x4", get(y)), get(k))
    }
    const callee = { ...calleeOf(helper), result: "v256" as const }
    const [a, b] = given.v256 as ReadonlyArray<Expr<"v256">> as [Expr<"v256">, Expr<"v256">]
    await same(each([keepAll(call(callee, call(callee, a, b), b))]), [helper])
  })
})

describe("what has no form without vectors is refused by its name", () => {
  test.each(vectors.filter((name) => name.includes("relaxed")))("%s", (name) => {
    const relaxed = make(name, splat(0), splat(1), splat(2)) as V
    expect(() => scalarise(each([keep(relaxed)]))).toThrow(`${name} has no form without vectors`)
  })
  test("words that change places in a function of one word", () => {
    const [x] = locals(1) as [Local<"v128">]
    const turned = shuffle(get(x), get(x), [1, 0, 3, 2])
    const helper: Func = { name: "h", exported: false, params: [x], body: [], result: turned }
    expect(() => scalarise(helper)).toThrow("i8x16.shuffle has no form without vectors")
  })
})

test("without vectors nothing changes", () => {
  const f = each([store("f32.store", here, f32(1))])
  expect(scalarise(f)).toEqual(f)
})
