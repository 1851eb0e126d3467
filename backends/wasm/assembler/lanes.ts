import { type Expr, i32, op, select } from "./Instruction.ts"
import { plain } from "./instructions.ts"

/** What a lane of a vector is without vectors. */
export type Word = "i32" | "f32" | "f64"
export type Lane = Expr<Word>

/** Puts a value into a local where it is more than one, for it is used twice. */
type Bind = (e: Lane) => Lane

/** What a vector instruction does to each lane. */
export interface Rule {
  /** Of vectors of doubles it takes doubles. */
  readonly takes: Word
  readonly gives: Word
  /** Whether `of` is a condition, and the lane all ones where it holds. */
  readonly test: boolean
  readonly of: (bind: Bind, ...operands: ReadonlyArray<Lane>) => Lane
}

type Integer = Expr<"i32">

const integers = (of: (bind: (e: Integer) => Integer, ...x: ReadonlyArray<Integer>) => Integer): Rule => ({
  takes: "i32",
  gives: "i32",
  test: false,
  of: of as Rule["of"]
})

/** The first where it compares so with the second. */
const first = (name: "i32.lt_s" | "i32.lt_u" | "i32.gt_s" | "i32.gt_u"): Rule =>
  integers((bind, x, y) => {
    const [a, b] = [bind(x as Integer), bind(y as Integer)]
    return select(a, b, op(name, a, b))
  })

/** The second where that compares so with the first. */
const second = (name: "f32.lt" | "f32.gt" | "f64.lt" | "f64.gt"): Rule => {
  const type = name.slice(0, 3) as "f32" | "f64"
  return {
    takes: type,
    gives: type,
    test: false,
    of: (bind, x, y) => {
      const [a, b] = [bind(x as Lane), bind(y as Lane)]
      return select(b, a, (op as (...all: ReadonlyArray<unknown>) => Integer)(name, b, a))
    }
  }
}

const wide = (x: Integer): Expr<"i64"> => op("i64.extend_i32_u", x)

const not = (x: Integer): Integer => op("i32.xor", x, i32(-1))

/** Instructions that have no namesake on words. */
const rules: { readonly [name: string]: Rule } = {
  "v128.not": integers((_, x) => not(x as Integer)),
  "v128.andnot": integers((_, x, y) => op("i32.and", x as Integer, not(y as Integer))),
  "v128.bitselect": integers((bind, x, y, mask) => {
    const other = bind(y as Integer)
    return op("i32.xor", other, op("i32.and", op("i32.xor", x as Integer, other), mask as Integer))
  }),
  "i16x8.eq": integers((bind, x, y) => {
    const apart = bind(op("i32.xor", x as Integer, y as Integer))
    const same = (half: number): Integer =>
      op("i32.mul", op("i32.eqz", op("i32.and", apart, i32(half))), i32(half))
    return op("i32.or", same(0xffff), same(-0x10000))
  }),
  "i16x8.shl": integers((bind, x, count) => {
    const [value, by] = [bind(x as Integer), bind(op("i32.and", count as Integer, i32(15)))]
    const low = op("i32.and", op("i32.shl", value, by), i32(0xffff))
    return op("i32.or", low, op("i32.shl", op("i32.and", value, i32(-0x10000)), by))
  }),
  "i16x8.shr_s": integers((bind, x, count) => {
    const [value, by] = [bind(x as Integer), bind(op("i32.and", count as Integer, i32(15)))]
    const low = op("i32.shr_u", op("i32.shr_s", op("i32.shl", value, i32(16)), by), i32(16))
    return op("i32.or", low, op("i32.and", op("i32.shr_s", value, by), i32(-0x10000)))
  }),
  "i32x4.abs": integers((bind, x) => {
    const value = bind(x as Integer)
    const sign = op("i32.shr_s", value, i32(31))
    return op("i32.sub", op("i32.xor", value, sign), sign)
  }),
  "i32x4.neg": integers((_, x) => op("i32.sub", i32(0), x as Integer)),
  "i32x4.min_s": first("i32.lt_s"),
  "i32x4.min_u": first("i32.lt_u"),
  "i32x4.max_s": first("i32.gt_s"),
  "i32x4.max_u": first("i32.gt_u"),
  "f32x4.pmin": second("f32.lt"),
  "f32x4.pmax": second("f32.gt"),
  "f64x4.pmin": second("f64.lt"),
  "f64x4.pmax": second("f64.gt"),
  "f64x4.select": {
    takes: "i32",
    gives: "f64",
    test: false,
    of: (_, x, y, mask) => select(x as Lane, y as Lane, mask as Integer)
  },
  "i32x4.low_f64x4": {
    takes: "f64",
    gives: "i32",
    test: false,
    of: (_, x) => op("i32.wrap_i64", op("i64.reinterpret_f64", x as Expr<"f64">))
  },
  "i32x4.high_f64x4": {
    takes: "f64",
    gives: "i32",
    test: false,
    of: (_, x) =>
      op("i32.wrap_i64", op("i64.shr_u", op("i64.reinterpret_f64", x as Expr<"f64">), wide(i32(32))))
  },
  "f64x4.join_i32x4": {
    takes: "i32",
    gives: "f64",
    test: false,
    of: (_, low, high) => {
      const upper = op("i64.shl", wide(high as Integer), wide(i32(32)))
      return op("f64.reinterpret_i64", op("i64.or", wide(low as Integer), upper))
    }
  }
}

/** As 16 bits without a sign, the nearest there is. */
export const saturate = (bind: Bind, x: Lane): Integer => {
  const value = bind(x) as Integer
  const low = bind(select(i32(0), value, op("i32.lt_s", value, i32(0)))) as Integer
  return select(i32(65535), low, op("i32.gt_s", low, i32(65535)))
}

const isTest = /\.(eq|ne|[lg][te])(_[su])?$/

/** Undefined for what is no instruction on lanes, or has none on words: relaxed ones. */
export const laneOf = (name: string): Rule | undefined => {
  const own = rules[name]
  if (own !== undefined) return own
  const namesake = name.replaceAll("x4", "").replace("v128", "i32")
  if (namesake === name || !(namesake in plain)) return undefined
  const [code, [takes], gives] = plain[namesake as keyof typeof plain]
  return {
    takes: takes as Word,
    gives: gives as Word,
    test: isTest.test(name),
    of: (_, ...operands) => ({ type: gives as Word, name: namesake, code, operands })
  }
}
