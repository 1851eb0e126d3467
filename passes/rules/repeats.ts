import * as Dim from "../../ir/Dim.ts"
import type { Shape } from "../../ir/Shape.ts"
import { named, ops, type Pattern } from "../Pattern.ts"
import * as Rule from "../Rule.ts"

const { broadcast, concat, reshape, slice } = ops

/** A repeat: a new axis, stretched, and folded into the axis before it. */
const repeat = (name: string, x: Pattern) =>
  named(`${name} flat`, reshape(named(`${name} wide`, broadcast(x))))

/** The axis that a reshape folds the next one into, where it does nothing else; and how long the next one is. */
const folded = (wide: Shape, flat: Shape): { readonly axis: number; readonly times: number } | undefined => {
  if (wide.length !== flat.length + 1) return undefined
  const axis = flat.findIndex((d, i) => !Dim.equals(d, wide[i] as Dim.Dim))
  const times = Dim.value(wide[axis + 1] ?? Dim.zero)
  if (axis < 0 || times === undefined) return undefined
  const same = flat.every((d, i) => i <= axis || Dim.equals(d, wide[i + 1] as Dim.Dim))
  return same && Dim.equals(flat[axis] as Dim.Dim, Dim.mul(wide[axis] as Dim.Dim, wide[axis + 1] as Dim.Dim))
    ? { axis, times }
    : undefined
}

/** The shape with another size at one axis. */
const resized = (shape: Shape, axis: number, size: Dim.Dim): Shape =>
  shape.map((d, i) => (i === axis ? size : d))

const k = `%0: f32[B, 4, 1, S, 8] = input {name = "k"}
%1: f32[B, 4, 3, S, 8] = broadcast %0
%2: f32[B, 12, S, 8] = reshape %1`

/** What is repeated is taken apart and put together before it is repeated, so that heads stay those that there are. */
export const repeats: ReadonlyArray<Rule.Rule> = [
  // repeat(x)[a·n : b·n] = repeat(x[a : b])
  Rule.make("slice-of-repeat", {
    law: "slice(repeat(x, n), a·n, b·n) = repeat(slice(x, a, b), n)",
    kind: "exact",
    match: ({ x }) => named("outer", slice(repeat("x", x))),
    rewrite: Rule.by((m) => {
      const [x, wide, flat, outer] = [m.get("x"), m.get("x wide"), m.get("x flat"), m.as("outer", "slice")]
      const fold = folded(wide.type.shape, flat.type.shape)
      if (fold === undefined || x.type.shape.length !== wide.type.shape.length) return undefined
      const { starts, stops, steps } = outer.attrs
      const { axis, times } = fold
      const whole = flat.type.shape.every(
        (d, i) =>
          i === axis || (Dim.equals(starts[i] as Dim.Dim, Dim.zero) && Dim.equals(stops[i] as Dim.Dim, d))
      )
      const [start, stop] = [starts[axis], stops[axis]].map((d) => {
        const value = Dim.value(d as Dim.Dim)
        return value === undefined || value % times !== 0 ? undefined : Dim.constant(value / times)
      })
      const own = x.type.shape[axis] as Dim.Dim
      if (!whole || steps[axis] !== 1 || start === undefined || stop === undefined) return undefined
      if (!Dim.equals(own, wide.type.shape[axis] as Dim.Dim)) return undefined
      const part = m.build("slice", [x], {
        starts: x.type.shape.map((_, i) => (i === axis ? start : Dim.zero)),
        stops: resized(x.type.shape, axis, stop),
        steps: x.type.shape.map(() => 1)
      })
      const shape = resized(wide.type.shape, axis, Dim.sub(stop, start))
      return m.build("reshape", [m.build("broadcast", [part], { shape })], {
        shape: m.get("root").type.shape
      })
    }),
    example: `${k}\n%3: f32[B, 6, S, 8] = slice %2 {starts = [0, 6, 0, 0], stops = [B, 12, S, 8], steps = [1, 1, 1, 1]}`
  }),
  // repeat(x) ‖ repeat(y) = repeat(x ‖ y), along another axis
  Rule.make("concat-of-repeats", {
    law: "concat(repeat(x, n), repeat(y, n)) = repeat(concat(x, y), n), along another axis",
    kind: "exact",
    match: ({ x, y }) => named("outer", concat(repeat("x", x), repeat("y", y))),
    rewrite: Rule.by((m) => {
      const [x, y, wide] = [m.get("x"), m.get("y"), m.get("x wide").type.shape]
      const folds = (["x", "y"] as const).map((n) =>
        folded(m.get(`${n} wide`).type.shape, m.get(`${n} flat`).type.shape)
      )
      const [fold, other] = folds
      const { axis } = m.as("outer", "concat").attrs
      if (fold === undefined || other?.axis !== fold.axis || other.times !== fold.times || axis === fold.axis)
        return undefined
      const at = axis < fold.axis ? axis : axis + 1
      const fits = (n: "x" | "y"): boolean => {
        const [own, all] = [m.get(n).type.shape, m.get(`${n} wide`).type.shape]
        return own.length === all.length && Dim.equals(own[at] as Dim.Dim, all[at] as Dim.Dim)
      }
      const alike = x.type.shape.every((d, i) => i === at || Dim.equals(d, y.type.shape[i] as Dim.Dim))
      if (!fits("x") || !fits("y") || !alike) return undefined
      const joined = m.build("concat", [x, y], { axis: at })
      const shape = resized(wide, at, joined.type.shape[at] as Dim.Dim)
      return m.build("reshape", [m.build("broadcast", [joined], { shape })], {
        shape: m.get("root").type.shape
      })
    }),
    example: `${k}
%3: f32[B, 4, 1, S, 5] = input {name = "y"}
%4: f32[B, 4, 3, S, 5] = broadcast %3
%5: f32[B, 12, S, 5] = reshape %4
%6: f32[B, 12, S, 13] = concat %2, %5 {axis = 3}`
  })
]
