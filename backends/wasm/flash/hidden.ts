import { negligibleBelow } from "../../../ir/ops/flashAttention.ts"
import { type Expr, op, splatF32 } from "../assembler/Instruction.ts"
import type { Emitter } from "../emit/Emitter.ts"
import type { Problem } from "./Problem.ts"

type V = Expr<"v128">

/** Ones where a row's greatest score is so far above the finite score of masked keys that these take no part. */
export const visibleFrom = ({ fill }: Problem, max: V): V =>
  op("f32x4.gt", max, splatF32(negligibleBelow(fill as number, "f32")))

/**
 * Ones where what was summed up to a maximum of its own may stay in a row that has come to a greater one. Masked keys that took part on the way
 * take none any more; only what is not finite still shows them.
 */
export const stays = (problem: Problem, own: V, max: V): V =>
  op("v128.or", visibleFrom(problem, own), op("v128.not", visibleFrom(problem, max)))

/** A sum of values, 0 where it is not finite and may not stay. */
export const kept = (e: Emitter, sum: V, stays: V): V => {
  const isFinite = op("f32x4.lt", op("f32x4.abs", sum), splatF32(Infinity))
  return e.now(op("v128.and", sum, op("v128.or", stays, isFinite)))
}
