import * as s from "./spell.ts"

/** Four heads of queries, keys and values, and the words for what is made of them. */

export const q = s.input("q", ["B", 4, "T", 8])
export const k = s.input("k", ["B", 4, "S", 8])
export const v = s.input("v", ["B", 4, "S", 8])
export const scores = s.matmul(q, s.swap(k))
export const p = s.softmax(scores)

/** As many queries as keys as features: whatever is exchanged still fits. */
export const square = (name: string): s.N => s.input(name, ["B", 4, 6, 6])

export const zero = s.constant(0)
export const one = s.constant(1)
export const minusInfinity = s.constant(-Infinity)

/** Lengths that tell axes apart. */
export const sizes = { B: 2, T: 3, S: 5 }
