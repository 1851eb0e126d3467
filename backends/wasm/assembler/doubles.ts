import { type Expr, f64, type Operands, type Statement } from "./Instruction.ts"
import type { ValueType } from "./instructions.ts"

/**
 * Vectors of four doubles, so that whatever is computed has as many lanes. Conditions are lanes of words, as those of other vectors. No engine
 * has these instructions: `halve` makes two of 128 bits of each, `scalarise` four of 64.
 */
const wides = {
  "f64x4.splat": [["f64"], "v256"],
  "f64x4.abs": [["v256"], "v256"],
  "f64x4.neg": [["v256"], "v256"],
  "f64x4.sqrt": [["v256"], "v256"],
  "f64x4.ceil": [["v256"], "v256"],
  "f64x4.floor": [["v256"], "v256"],
  "f64x4.nearest": [["v256"], "v256"],
  "f64x4.add": [["v256", "v256"], "v256"],
  "f64x4.sub": [["v256", "v256"], "v256"],
  "f64x4.mul": [["v256", "v256"], "v256"],
  "f64x4.div": [["v256", "v256"], "v256"],
  "f64x4.min": [["v256", "v256"], "v256"],
  "f64x4.max": [["v256", "v256"], "v256"],
  "f64x4.pmin": [["v256", "v256"], "v256"],
  "f64x4.pmax": [["v256", "v256"], "v256"],
  "f64x4.relaxed_madd": [["v256", "v256", "v256"], "v256"],
  "f64x4.eq": [["v256", "v256"], "v128"],
  "f64x4.ne": [["v256", "v256"], "v128"],
  "f64x4.lt": [["v256", "v256"], "v128"],
  "f64x4.gt": [["v256", "v256"], "v128"],
  "f64x4.le": [["v256", "v256"], "v128"],
  "f64x4.ge": [["v256", "v256"], "v128"],
  // The first where lanes of the third are ones, the second where they are zeros.
  "f64x4.select": [["v256", "v256", "v128"], "v256"],
  // Lanes in the order 1, 0, 3, 2, and 2, 3, 0, 1.
  "f64x4.swap1": [["v256"], "v256"],
  "f64x4.swap2": [["v256"], "v256"],
  "f64x4.promote_f32x4": [["v128"], "v256"],
  "f32x4.demote_f64x4": [["v256"], "v128"],
  "f64x4.convert_i32x4_s": [["v128"], "v256"],
  "f64x4.convert_i32x4_u": [["v128"], "v256"],
  "i32x4.trunc_sat_f64x4_s": [["v256"], "v128"],
  "i32x4.trunc_sat_f64x4_u": [["v256"], "v128"],
  // The lower and the upper words of doubles, and doubles of both.
  "i32x4.low_f64x4": [["v256"], "v128"],
  "i32x4.high_f64x4": [["v256"], "v128"],
  "f64x4.join_i32x4": [["v128", "v128"], "v256"]
} as const satisfies {
  readonly [name: string]: readonly [operands: ReadonlyArray<ValueType>, result: ValueType]
}

export const names = Object.keys(wides) as ReadonlyArray<WideName>

export type WideName = keyof typeof wides

type Wides = typeof wides

/** What an engine would be told, if it knew: never encoded. */
const code = 0

export const operandsOf = (name: WideName): ReadonlyArray<ValueType> => wides[name][0]

export const wide = <K extends WideName>(name: K, ...operands: Operands<Wides[K][0]>): Expr<Wides[K][1]> => ({
  type: wides[name][1],
  name,
  code,
  operands: operands as ReadonlyArray<Expr>
})

/** A number in all lanes. */
export const splatF64 = (x: number): Expr<"v256"> => wide("f64x4.splat", f64(x))

/** One of the doubles. */
export const laneF64 = (index: number, x: Expr<"v256">): Expr<"f64"> => ({
  type: "f64",
  name: "f64x4.extract_lane",
  code,
  operands: [x],
  immediate: { _tag: "lane", lane: index }
})

/** The doubles with another in one place. */
export const withLaneF64 = (index: number, x: Expr<"v256">, one: Expr<"f64">): Expr<"v256"> => ({
  type: "v256",
  name: "f64x4.replace_lane",
  code,
  operands: [x, one],
  immediate: { _tag: "lane", lane: index }
})

/** Four doubles that lie one after the other, or one in all lanes. */
export const loadF64 = (
  name: "v256.load" | "v256.load64_splat",
  address: Expr<"i32">,
  offset = 0
): Expr<"v256"> => ({
  type: "v256",
  name,
  code,
  operands: [address],
  immediate: { _tag: "memory", offset, align: 3 }
})

export const loadLaneF64 = (address: Expr<"i32">, vector: Expr<"v256">, lane: number): Expr<"v256"> => ({
  type: "v256",
  name: "v256.load64_lane",
  code,
  operands: [address, vector],
  immediate: { _tag: "memory", offset: 0, align: 3, lane }
})

/** Stores all, or the one of a lane. */
export const storeF64 = (
  address: Expr<"i32">,
  vector: Expr<"v256">,
  where: { readonly offset?: number; readonly lane?: number } = {}
): Statement => {
  const { offset = 0, lane } = where
  return {
    _tag: "effect",
    name: lane === undefined ? "v256.store" : "v256.store64_lane",
    code,
    operands: [address, vector],
    immediate: { _tag: "memory", offset, align: 3, ...(lane === undefined ? {} : { lane }) }
  }
}
