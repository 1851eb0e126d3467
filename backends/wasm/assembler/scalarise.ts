import {
  type Expr,
  f32,
  get,
  i32,
  type Local,
  load,
  op,
  type Statement,
  select,
  set,
  store
} from "./Instruction.ts"
import type { ValueType } from "./instructions.ts"
import { type Lane, laneOf, saturate, type Word } from "./lanes.ts"
import { type Func, localsOf } from "./Module.ts"
import { reads, rewritten } from "./rewritten.ts"

/**
 * A function without vectors: what is a vector becomes four words, each integer or float as most of its uses want it. A function of
 * vectors treats its lanes alike and apart (`emit/library.ts`), so it becomes a function of one word, which is called for each.
 *
 * Expressions have no effects, so what several lanes need is computed before the statement.
 */
export const scalarise = (f: Func): Func => {
  const lanes = f.params.some(isVector) ? 1 : 4
  const numbers = Array.from({ length: lanes }, (_, n) => n)
  const kinds = kindsOf(f)
  const pieces = new Map(
    [...f.params, ...localsOf(f)].flatMap((local) => {
      if (!isVector(local)) return []
      const type = local.type === "v256" ? "f64" : (kinds.get(local) ?? "f32")
      return [[local, numbers.map((n): Local<Word> => ({ type, name: `${local.name}_${n}` }))] as const]
    })
  )
  const piecesOf = (local: Local): ReadonlyArray<Local<Word>> => {
    const found = pieces.get(local)
    if (found === undefined) throw new Error(`${f.name} reads ${local.name}, which nothing sets`)
    return found
  }

  /** Locals that live as long as one statement. */
  const temporaries: { readonly [T in Word]: Array<Local<Word>> } = { i32: [], f32: [], f64: [] }
  let used = { i32: 0, f32: 0, f64: 0 }
  let before: Array<Statement> = []
  const copy = (e: Lane): Lane => {
    const at = used[e.type]++
    const local = temporaries[e.type][at] ?? { type: e.type, name: `${e.type}_${at}` }
    temporaries[e.type][at] = local
    before.push(set(local, e))
    return get(local)
  }
  const bind = (e: Lane): Lane => (e.operands.length === 0 ? e : copy(e))
  const bindInteger = (e: Expr | undefined): Expr<"i32"> => bind(scalar(e as Expr) as Lane) as Expr<"i32">

  /** The words of a vector, of the type that is wanted. */
  const words = (e: Expr | undefined, type: Word): ReadonlyArray<Lane> => {
    if (e === undefined || !isVector(e)) throw new Error(`${f.name}: ${e?.name} is no vector`)
    return e.type === "v256" ? given(e, "f64") : given(e, type).map((l) => as(l, type))
  }
  const replaced = (all: ReadonlyArray<Lane>, n: number, by: Lane): ReadonlyArray<Lane> =>
    all.map((old, at) => (at === n ? by : old))

  const given = (e: Expr, type: Word): ReadonlyArray<Lane> => {
    const [a, b, c] = e.operands
    const x = e.immediate
    if (x?._tag === "words") return numbers.map((n) => constant(x.words[n] as number, type))
    if (x?._tag === "local") return piecesOf(x.local).map((l) => get(l))
    if (x?._tag === "memory") {
      const address = bindInteger(a)
      const number = x.lane ?? 0
      switch (e.name) {
        case "v128.load":
          return numbers.map((n) => word(type, address, x.offset + 4 * n))
        case "v128.load16x4_u":
          return numbers.map((n) => load("i32.load16_u", address, x.offset + 2 * n))
        case "v128.load32_splat": {
          const value = bind(word(type, address, x.offset))
          return numbers.map(() => value)
        }
        case "v256.load":
          return numbers.map((n) => word("f64", address, x.offset + 8 * n))
        case "v256.load64_splat": {
          const value = bind(word("f64", address, x.offset))
          return numbers.map(() => value)
        }
        case "v256.load64_lane":
          return replaced(words(b, "f64"), number, word("f64", address, x.offset))
        case "v128.load32_lane":
          return replaced(words(b, type), number, word(type, address, x.offset))
        case "v128.load16_lane": {
          const all = words(b, "i32")
          const kept = op("i32.and", all[number >> 1] as Expr<"i32">, i32(number % 2 === 0 ? -65536 : 65535))
          const half = load("i32.load16_u", address, x.offset)
          const moved = number % 2 === 0 ? half : op("i32.shl", half, i32(16))
          return replaced(all, number >> 1, op("i32.or", kept, moved))
        }
      }
    }
    if (x?._tag === "lane" && b !== undefined)
      return replaced(words(a, type), x.lane, bind(as(scalar(b) as Lane, type)))
    if (x?._tag === "bytes" && lanes === 4 && x.bytes.some((byte, n) => byte % 4 !== n % 4)) {
      const all = [...words(a, "i32"), ...words(b, "i32")].map((l) => bind(l) as Expr<"i32">)
      const half = (byte: number): Expr<"i32"> => {
        const word = all[byte >> 2] as Expr<"i32">
        return byte % 4 === 0 ? op("i32.and", word, i32(0xffff)) : op("i32.shr_u", word, i32(16))
      }
      return numbers.map((n) => {
        const [low, high] = [half(x.bytes[4 * n] as number), half(x.bytes[4 * n + 2] as number)]
        return as(op("i32.or", low, op("i32.shl", high, i32(16))), type)
      })
    }
    if (x?._tag === "bytes" && lanes === 4) {
      const all = [...words(a, type), ...words(b, type)].map(bind)
      return numbers.map((n) => all[(x.bytes[4 * n] as number) / 4] as Lane)
    }
    if (x?._tag === "call") {
      const operands = e.operands.map((o) => words(o, "f32"))
      const result: Word = e.type === "v256" ? "f64" : "f32"
      const callee = { ...x.callee, params: x.callee.params.map(wordOf), result }
      return numbers.map((n) => ({
        ...e,
        type: result,
        operands: operands.map((o) => o[n] as Lane),
        immediate: { _tag: "call", callee }
      }))
    }
    if (e.name === "select") {
      const condition = bindInteger(c)
      const [then, otherwise] = [words(a, type), words(b, type)]
      return numbers.map((n) => select(then[n] as Lane, otherwise[n] as Lane, condition))
    }
    if (e.name === "f64x4.swap1" || e.name === "f64x4.swap2") {
      const all = words(a, "f64")
      return numbers.map((n) => all[n ^ (e.name === "f64x4.swap1" ? 1 : 2)] as Lane)
    }
    if (e.name === "i32x4.splat" || e.name === "f32x4.splat" || e.name === "f64x4.splat") {
      const value = bind(scalar(a as Expr) as Lane)
      return numbers.map(() => value)
    }
    if (e.name === "i16x8.narrow_i32x4_u" && lanes === 4) {
      const all = [...words(a, "i32"), ...words(b, "i32")].map((l) => saturate(bind, l))
      return numbers.map((n) =>
        op("i32.or", all[2 * n] as Expr<"i32">, op("i32.shl", all[2 * n + 1] as Expr<"i32">, i32(16)))
      )
    }
    const chooses = e.name === "v128.bitselect" || e.name === "f64x4.select"
    const test = chooses ? laneOf((c as Expr).name) : undefined
    if (test?.test === true) {
      const [then, otherwise, left, right] = [
        words(a, type),
        words(b, type),
        ...(c as Expr).operands.map((o) => words(o, test.takes))
      ] as [ReadonlyArray<Lane>, ReadonlyArray<Lane>, ReadonlyArray<Lane>, ReadonlyArray<Lane>]
      return numbers.map((n) =>
        select(
          then[n] as Lane,
          otherwise[n] as Lane,
          test.of(bind, left[n] as Lane, right[n] as Lane) as Expr<"i32">
        )
      )
    }
    const rule = laneOf(e.name)
    if (rule === undefined) throw new Error(`${e.name} has no form without vectors`)
    const operands = e.operands.map((o) => {
      if (isVector(o)) return words(o, rule.takes)
      const same = bindInteger(o)
      return numbers.map((): Lane => same)
    })
    return numbers.map((n) => {
      const value = rule.of(bind, ...operands.map((o) => o[n] as Lane))
      return rule.test === true ? op("i32.sub", i32(0), value as Expr<"i32">) : value
    })
  }

  /** An expression that is no vector. */
  const scalar = (e: Expr): Expr => {
    if (isVector(e)) throw new Error(`${f.name}: ${e.name} is a vector`)
    if (e.immediate?._tag === "lane") {
      const found = words(e.operands[0], e.type as Word)
      return found[lanes === 1 ? 0 : e.immediate.lane] as Lane
    }
    if (e.name === "v128.any_true") {
      const any = (words(e.operands[0], "i32") as ReadonlyArray<Expr<"i32">>).reduce((x, y) =>
        op("i32.or", x, y)
      )
      return op("i32.ne", any, i32(0))
    }
    return e.operands.length === 0 ? e : { ...e, operands: e.operands.map(scalar) }
  }

  const assigned = (local: Local, value: Expr): ReadonlyArray<Statement> => {
    if (!isVector(local)) return [set(local, scalar(value))]
    const targets = piecesOf(local)
    const values = words(value, (targets[0] as Local<Word>).type)
    // Lanes are set one after the other: one that reads another is computed before.
    const crossed = values.some((v, n) => targets.some((t, m) => m < n && reads(v, t)))
    const ready = crossed ? values.map(copy) : values
    return targets.map((t, n) => set(t, ready[n] as Lane))
  }

  const effect = (s: Statement & { readonly _tag: "effect" }): ReadonlyArray<Statement> => {
    const [to, value] = s.operands as [Expr, Expr]
    const x = s.immediate
    if (value === undefined || !isVector(value) || x?._tag !== "memory")
      return [{ ...s, operands: s.operands.map(scalar) }]
    const address = bindInteger(to)
    // What is stored is read before anything is written.
    const all = words(value, kindOf(value, kinds) ?? "f32").map(bind)
    const number = x.lane ?? 0
    const stored = (n: number, offset: number): Statement => {
      const v = all[n] as Lane
      if (v.type === "f64") return store("f64.store", address, v as Expr<"f64">, x.offset + offset)
      return v.type === "f32"
        ? store("f32.store", address, v as Expr<"f32">, x.offset + offset)
        : store("i32.store", address, v as Expr<"i32">, x.offset + offset)
    }
    switch (s.name) {
      case "v128.store":
        return numbers.map((n) => stored(n, 4 * n))
      case "v256.store":
        return numbers.map((n) => stored(n, 8 * n))
      case "v256.store64_lane":
        return [stored(number, 0)]
      case "v128.store64_lane":
        return [stored(2 * number, 0), stored(2 * number + 1, 4)]
      case "v128.store32_lane":
        return [stored(number, 0)]
      case "v128.store16_lane": {
        const whole = as(all[number >> 1] as Lane, "i32") as Expr<"i32">
        const half = number % 2 === 0 ? whole : op("i32.shr_u", whole, i32(16))
        return [store("i32.store16", address, half, x.offset)]
      }
      default:
        throw new Error(`${s.name} has no form without vectors`)
    }
  }

  /** Statements, after what they need computed before them. */
  const after = (make: () => ReadonlyArray<Statement>): ReadonlyArray<Statement> => {
    const made = make()
    const all = [...before, ...made]
    before = []
    used = { i32: 0, f32: 0, f64: 0 }
    return all
  }
  const statements = rewritten({
    assigned,
    effect,
    condition: (e) => scalar(e) as Expr<"i32">,
    after
  })

  const params = f.params.flatMap((p): ReadonlyArray<Local> => pieces.get(p) ?? [p])
  const body = statements(f.body)
  if (f.result === undefined) return { ...f, params, body }
  const result = isVector(f.result) ? (words(f.result, "f32")[0] as Lane) : scalar(f.result)
  return { ...f, params, body: [...body, ...after(() => [])], result }
}

const isVector = ({ type }: { readonly type: ValueType }): boolean => type === "v128" || type === "v256"

const wordOf = (type: ValueType): ValueType => (type === "v256" ? "f64" : type === "v128" ? "f32" : type)

const word = (type: Word, address: Expr<"i32">, offset: number): Lane => load(`${type}.load`, address, offset)

const as = (e: Lane, type: Word): Lane => {
  if (e.type === type) return e
  if (e.name === "i32.reinterpret_f32" || e.name === "f32.reinterpret_i32") return e.operands[0] as Lane
  return type === "i32"
    ? op("i32.reinterpret_f32", e as Expr<"f32">)
    : op("f32.reinterpret_i32", e as Expr<"i32">)
}

const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

/** As a float where that has these bits: NaN has others. */
const constant = (value: number, type: Word): Lane => {
  bits[0] = value
  return type === "f32" && !Number.isNaN(float[0]) ? f32(float[0] as number) : i32(value)
}

type Kinds = ReadonlyMap<Local, Word>

/** What the words of a vector are computed as; undefined where they are only moved. */
const kindOf = (e: Expr, kinds: Kinds): Word | undefined => {
  const x = e.immediate
  if (x?._tag === "local") return kinds.get(x.local)
  if (x?._tag === "words") return undefined
  if (e.name === "select" || e.name === "i8x16.shuffle" || e.name === "v128.bitselect")
    return kindOf(e.operands[0] as Expr, kinds) ?? kindOf(e.operands[1] as Expr, kinds)
  if (x?._tag === "call" || x?._tag === "memory") return e.name.startsWith("v128.load16") ? "i32" : "f32"
  return laneOf(e.name)?.gives ?? (e.name.startsWith("f32") ? "f32" : "i32")
}

/** Locals are as the first of their values that says so; parameters are floats, which keep all bits. */
const kindsOf = (f: Func): Kinds => {
  const kinds = new Map<Local, Word>(f.params.map((p) => [p, "f32"]))
  const visit = (list: ReadonlyArray<Statement>): void => {
    for (const s of list) {
      if (s._tag === "set" && s.local.type === "v128" && !kinds.has(s.local)) {
        const kind = kindOf(s.value, kinds)
        if (kind !== undefined) kinds.set(s.local, kind)
      } else if (s._tag === "block" || s._tag === "loop") visit(s.body)
      else if (s._tag === "if") {
        visit(s.body)
        visit(s.otherwise)
      }
    }
  }
  visit(f.body)
  return kinds
}
