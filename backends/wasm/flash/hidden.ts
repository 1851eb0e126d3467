import { negligibleBelow } from "../../../ir/ops/flashAttention.ts"
import { type Expr, op, splatF32 } from "../assembler/Instruction.ts"
import type { Problem } from "./Problem.ts"

type V = Expr<"v128">

/** Ones where a row's greatest score is so far above the finite score of masked keys that these take no part. */
export const visibleFrom = ({ fill }: Problem, max: V): V =>
  op("f32x4.gt", max, splatF32(negligibleBelow(fill as number, "f32")))

/** The turns that keys are visited in: those that are visible, and those that are masked where they have a score. */
export const turns = ({ fill }: Problem): 1 | 2 => (fill === undefined ? 1 : 2)
