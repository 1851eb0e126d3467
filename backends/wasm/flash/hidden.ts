import { negligible } from "../../../ir/ops/flashAttention.ts"
import { type Expr, op, splatF32 } from "../assembler/Instruction.ts"
import type { Problem } from "./Problem.ts"

type V = Expr<"v128">

/** Ones where a row's greatest score is so far above the finite score of masked keys that these take no part. */
export const visibleFrom = ({ fill }: Problem, max: V): V =>
  op("f32x4.gt", max, splatF32((fill as number) + negligible.f32))

/**
 * Ones where what was summed up to a maximum of its own may stay in a row that has come to a greater one. Masked keys that took part on the way
 * take none any more.
 */
export const stays = (problem: Problem, own: V, max: V): V =>
  op("v128.or", visibleFrom(problem, own), op("v128.not", visibleFrom(problem, max)))
