import { type Expr, i32 } from "../assembler/Instruction.ts"
import { firstAddress } from "../limits.ts"
import { constantOf, type Emitter } from "./Emitter.ts"

type I = Expr<"i32">

/** An address, and the bytes that what is meant lies past it. */
export interface Apart {
  readonly base: I
  readonly offset: number
}

/**
 * An address without the constants in its sums, which instructions that read and write add for nothing: what is read side by side then shares
 * one base, and engines compute no address for each of them. Instructions add without wrapping round: a distance is less than any address.
 */
export const apart = (e: Emitter, address: I): Apart => {
  const found = split(e, address)
  return found.offset > 0 && found.offset < firstAddress ? found : { base: address, offset: 0 }
}

const split = (e: Emitter, expr: I): Apart => {
  const known = constantOf(expr)
  if (known !== undefined) return { base: expr, offset: 0 }
  const { name, operands } = e.definition(expr)
  const [a, b] = operands as readonly [I, I]
  if (name === "i32.add") {
    const [ofA, ofB] = [constantOf(a), constantOf(b)]
    if (ofB !== undefined) return further(split(e, a), ofB)
    if (ofA !== undefined) return further(split(e, b), ofA)
    const [left, right] = [split(e, a), split(e, b)]
    const offset = left.offset + right.offset
    return offset === 0 ? { base: expr, offset } : { base: e.add(left.base, right.base), offset }
  }
  if (name === "i32.sub") {
    const { base, offset } = split(e, a)
    return offset === 0 ? { base: expr, offset } : { base: e.sub(base, b), offset }
  }
  if (name !== "i32.shl" && name !== "i32.mul") return { base: expr, offset: 0 }
  const power = constantOf(b)
  const { base, offset } = power === undefined ? { base: a, offset: 0 } : split(e, a)
  if (power === undefined || offset === 0) return { base: expr, offset: 0 }
  const by = name === "i32.shl" ? 2 ** power : power
  return { base: e.mul(base, i32(by)), offset: offset * by }
}

const further = ({ base, offset }: Apart, by: number): Apart => ({ base, offset: offset + by })
