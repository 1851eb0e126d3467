import * as DType from "../../ir/DType.ts"
import { named, ops } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { cast } = ops

/** Whether every value of one dtype is a value of the other. */
const holds = (wide: DType.DType, narrow: DType.DType): boolean => {
  if (wide === narrow || narrow === "bool") return true
  if (wide === "f64") return true
  return wide === "f32" && (narrow === "f16" || narrow === "bf16")
}

/** Conversions that undo each other or do nothing. */
export const casts: ReadonlyArray<Rule.Rule> = [
  // cast(x, dtype of x) = x
  Rule.make("cast-same", {
    law: "cast to the own dtype = identity",
    kind: "exact",
    match: ({ x }) => cast(x),
    when: (m) => m.get("x").type.dtype === m.get("root").type.dtype,
    rewrite: ({ x }) => x,
    example: `%0: f16[T] = input {name = "x"}\n%1: f16[T] = cast %0`
  }),
  // cast(cast(x, wide), t) = cast(x, t), where wide holds every x
  Rule.make("cast-through-wider", {
    law: "cast(cast(x, w), t) = cast(x, t), where w holds every x",
    kind: "exact",
    match: ({ x }) => cast(named("inner", cast(x))),
    when: (m) => {
      const [from, over, to] = [m.get("x"), m.get("inner"), m.get("root")].map((n) => n.type.dtype)
      if (from === undefined || over === undefined || to === undefined || !holds(over, from)) return false
      // A bool is 0 or 1 everywhere, an integer from a float depends on how the float was read.
      return DType.isFloat(from) === DType.isFloat(over) || from === "bool"
    },
    rewrite: Rule.by((m) => m.build("cast", [m.get("x")], { dtype: m.get("root").type.dtype })),
    example: `%0: f16[T] = input {name = "x"}\n%1: f32[T] = cast %0\n%2: f16[T] = cast %1`
  })
]
