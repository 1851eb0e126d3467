import {
  type Expr,
  get,
  type Local,
  lane,
  load,
  loadLane,
  op,
  type Statement,
  select,
  set,
  shuffle,
  store,
  storeLane,
  words
} from "./Instruction.ts"
import { type Func, localsOf } from "./Module.ts"
import { reads, rewritten } from "./rewritten.ts"

type V = Expr<"v128">
type I = Expr<"i32">

/**
 * A function without vectors of four doubles: each becomes two halves, which engines have. A function that takes such vectors treats their lanes
 * alike and apart (`emit/library.ts`), so it becomes a function of one half, which is called for each; of other vectors it then has two lanes.
 *
 * Expressions have no effects, so what both halves need is computed before the statement.
 */
export const halve = (f: Func): Func => {
  const numbers = f.params.some((p) => p.type === "v256") ? [0] : [0, 1]
  const pieces = new Map(
    [...f.params, ...localsOf(f)].flatMap((local) =>
      local.type === "v256"
        ? [
            [
              local,
              numbers.map((n): Local<"v128"> => ({ type: "v128", name: `${local.name}_${n}` }))
            ] as const
          ]
        : []
    )
  )
  const piecesOf = (local: Local): ReadonlyArray<Local<"v128">> => {
    const found = pieces.get(local)
    if (found === undefined) throw new Error(`${f.name} reads ${local.name}, which nothing sets`)
    return found
  }

  let names = 0
  let before: Array<Statement> = []
  const copy = <E extends Expr>(e: E): E => {
    const local: Local = { type: e.type, name: `h${names++}` }
    before.push(set(local, e))
    return get(local) as Expr as E
  }
  const bind = <E extends Expr>(e: E): E => (e.operands.length === 0 ? e : copy(e))

  /** An expression that is no vector of doubles. */
  const plain = (e: Expr): Expr => {
    const [x, y] = e.operands as [Expr, Expr]
    const halves = (): ReadonlyArray<V> => given(x as Expr<"v256">)
    switch (e.name) {
      case "f64x4.extract_lane":
        return lane(
          "f64x2.extract_lane",
          laneOf(e) % 2,
          halves()[numbers.length === 1 ? 0 : laneOf(e) >> 1] as V
        )
      case "i32x4.low_f64x4":
        return joined(halves(), 0)
      case "i32x4.high_f64x4":
        return joined(halves(), 1)
      case "f32x4.demote_f64x4":
        return packed(halves().map((h) => op("f32x4.demote_f64x2_zero", h)))
      case "i32x4.trunc_sat_f64x4_s":
        return packed(halves().map((h) => op("i32x4.trunc_sat_f64x2_s_zero", h)))
      case "i32x4.trunc_sat_f64x4_u":
        return packed(halves().map((h) => op("i32x4.trunc_sat_f64x2_u_zero", h)))
    }
    if (x?.type !== "v256")
      return e.operands.length === 0 ? e : { ...e, operands: e.operands.map((o) => plain(o)) }
    if (e.immediate?._tag === "call") return packed(called(e))
    // A comparison: lanes of words.
    const compared = tests(e, halves(), given(y as Expr<"v256">))
    return joined(compared, 0)
  }
  /** Of each half the lower, or the upper words. */
  const joined = ([a, b]: ReadonlyArray<V>, n: 0 | 1): V => {
    if (b !== undefined) return shuffle(a as V, b, [n, 2 + n, 4 + n, 6 + n])
    const own = bind(a as V)
    return shuffle(own, own, [n, 2 + n, n, 2 + n])
  }
  /** Of each half the first two words. */
  const packed = ([a, b]: ReadonlyArray<V>): V =>
    b === undefined ? (a as V) : shuffle(a as V, b, [0, 1, 4, 5])
  const named = (e: Expr): Parameters<typeof op>[0] => e.name.replace("f64x4", "f64x2") as never
  const tests = (e: Expr, xs: ReadonlyArray<V>, ys: ReadonlyArray<V>): ReadonlyArray<V> =>
    xs.map((x, n) => (op as Untyped)(named(e), x, ys[n] as V))
  const called = (e: Expr): ReadonlyArray<V> => {
    if (e.immediate?._tag !== "call") throw new Error(`${e.name} is no call`)
    const callee = {
      ...e.immediate.callee,
      params: e.immediate.callee.params.map(half),
      result: "v128" as const
    }
    const operands = e.operands.map((o) => given(o as Expr<"v256">))
    return numbers.map((n) => ({
      ...e,
      type: "v128",
      operands: operands.map((o) => o[n] as V),
      immediate: { _tag: "call", callee }
    }))
  }

  /** The halves of a vector of doubles. */
  const given = (e: Expr<"v256">): ReadonlyArray<V> => {
    if (e?.type !== "v256") throw new Error(`${f.name}: ${e?.name} is no vector of doubles`)
    const [x, y, z] = e.operands as [Expr, Expr, Expr]
    const how = e.immediate
    if (how?._tag === "local") return piecesOf(how.local).map(get)
    if (how?._tag === "call") return called(e)
    switch (e.name) {
      case "v256.load": {
        const address = bind(plain(x) as I)
        const { offset } = how as { readonly offset: number }
        return numbers.map((n) => load("v128.load", address, offset + 16 * n))
      }
      case "v256.load64_splat":
        return all(load("v128.load64_splat", plain(x) as I, (how as { readonly offset: number }).offset))
      case "v256.load64_lane":
        return replaced(given(y as Expr<"v256">), laneOf(e), (h, n) =>
          loadLane("v128.load64_lane", plain(x) as I, h, n)
        )
      case "f64x4.replace_lane":
        return replaced(given(x as Expr<"v256">), laneOf(e), (h, n) =>
          lane("f64x2.replace_lane", n, h, plain(y) as Expr<"f64">)
        )
      case "f64x4.splat":
        return x.immediate?._tag === "f64"
          ? numbers.map(() => constant((x.immediate as { readonly value: number }).value))
          : all(op("f64x2.splat", plain(x) as Expr<"f64">))
      case "f64x4.swap1":
        return given(x as Expr<"v256">)
          .map(bind)
          .map((h) => shuffle(h, h, [2, 3, 0, 1]))
      case "f64x4.swap2":
        return given(x as Expr<"v256">).toReversed()
      case "f64x4.promote_f32x4":
        return low(x).map((v) => op("f64x2.promote_low_f32x4", v))
      case "f64x4.convert_i32x4_s":
        return low(x).map((v) => op("f64x2.convert_low_i32x4_s", v))
      case "f64x4.convert_i32x4_u":
        return low(x).map((v) => op("f64x2.convert_low_i32x4_u", v))
      case "f64x4.join_i32x4": {
        const [l, h] = [bind(plain(x) as V), bind(plain(y) as V)]
        return numbers.map((n) => shuffle(l, h, n === 0 ? [0, 4, 1, 5] : [2, 6, 3, 7]))
      }
      case "f64x4.select": {
        const [then, otherwise] = [given(x as Expr<"v256">), given(y as Expr<"v256">)]
        return masks(z).map((mask, n) => op("v128.bitselect", then[n] as V, otherwise[n] as V, mask))
      }
      case "select": {
        const [then, otherwise] = [given(x as Expr<"v256">), given(y as Expr<"v256">)]
        const condition = bind(plain(z) as I)
        return numbers.map((n) => select(then[n] as V, otherwise[n] as V, condition))
      }
    }
    const operands = e.operands.map((o) => given(o as Expr<"v256">))
    return numbers.map((n) => (op as Untyped)(named(e), ...operands.map((o) => o[n] as V)))
  }
  const all = (one: V): ReadonlyArray<V> => {
    const own = numbers.length === 1 ? one : bind(one)
    return numbers.map(() => own)
  }
  /** A lane that a half does not have stays away. */
  const replaced = (halves: ReadonlyArray<V>, index: number, by: (h: V, n: number) => V): ReadonlyArray<V> =>
    halves.map((h, n) => (index >> 1 === n ? by(h, index % 2) : h))
  /** The words that belong to each half, as the first two. */
  const low = (e: Expr): ReadonlyArray<V> => {
    if (numbers.length === 1) return [plain(e) as V]
    const own = bind(plain(e) as V)
    return [own, shuffle(own, own, [2, 3, 2, 3])]
  }
  /** Lanes of words as lanes of doubles. */
  const masks = (e: Expr): ReadonlyArray<V> => {
    const [x, y] = e.operands
    if (x?.type === "v256" && y?.type === "v256" && e.immediate === undefined)
      return tests(e, given(x as Expr<"v256">), given(y as Expr<"v256">))
    const own = numbers.length === 1 ? (plain(e) as V) : bind(plain(e) as V)
    return numbers.map((n) => op(n === 0 ? "i64x2.extend_low_i32x4_s" : "i64x2.extend_high_i32x4_s", own))
  }

  const effect = (s: Statement & { readonly _tag: "effect" }): ReadonlyArray<Statement> => {
    const [to, value] = s.operands as [Expr, Expr]
    const how = s.immediate
    if (value?.type !== "v256" || how?._tag !== "memory") return [{ ...s, operands: s.operands.map(plain) }]
    const address = bind(plain(to) as I)
    // What is stored is read before anything is written.
    const halves = given(value as Expr<"v256">).map(bind)
    return how.lane === undefined
      ? numbers.map((n) => store("v128.store", address, halves[n] as V, how.offset + 16 * n))
      : [storeLane("v128.store64_lane", address, halves[how.lane >> 1] as V, how.lane % 2)]
  }
  const assigned = (local: Local, value: Expr): ReadonlyArray<Statement> => {
    if (local.type !== "v256") return [set(local, plain(value))]
    const targets = piecesOf(local)
    const halves = given(value as Expr<"v256">)
    // The second is set when the first has its new value.
    const crossed = halves.some((h, n) => targets.some((t, m) => m < n && reads(h, t)))
    const ready = crossed ? halves.map(copy) : halves
    return targets.map((t, n) => set(t, ready[n] as V))
  }
  const after = (make: () => ReadonlyArray<Statement>): ReadonlyArray<Statement> => {
    const made = make()
    const both = [...before, ...made]
    before = []
    return both
  }
  const statements = rewritten({
    assigned,
    effect,
    condition: (e) => plain(e) as Expr<"i32">,
    after
  })

  const params = f.params.flatMap((p): ReadonlyArray<Local> => pieces.get(p) ?? [p])
  const body = statements(f.body)
  const { result } = f
  if (result === undefined) return { ...f, params, body }
  const value = result.type === "v256" ? (given(result as Expr<"v256">)[0] as V) : plain(result)
  return { ...f, params, body: [...body, ...after(() => [])], result: value }
}

type Untyped = (name: string, ...operands: ReadonlyArray<Expr>) => V

const half = <T>(type: T): T | "v128" => (type === "v256" ? "v128" : type)

const laneOf = (e: Expr): number => (e.immediate as { readonly lane: number }).lane

const double = new Float64Array(1)
const halfWords = new Int32Array(double.buffer)

const constant = (x: number): V => {
  double[0] = x
  const [low, high] = halfWords as unknown as readonly [number, number]
  return words(low, high, low, high)
}
