import { Result } from "effect"
import * as DType from "../../ir/DType.ts"
import * as Element from "./Element.ts"

/** Factors of leaves: e = Σ w · p over the entries. */
type Combination = ReadonlyMap<Element.Element, Element.Element>
type Known = Result.Result<Combination, string>

/**
 * The factors w with e = Σ w · p, for an expression e over normalised weights p. A place where a p is replaced by 0 has the
 * factor 0. Fails with the first reason why e is no such sum.
 */
export const coefficients = (
  table: Element.Table,
  root: Element.Element,
  leaves: ReadonlyArray<Element.Element>
): Known => {
  /** Present for what depends on a leaf: the factors, or why there are none. */
  const known = new Map<Element.Element, Known>()
  for (const e of Element.reachable(table, [root])) {
    if (leaves.includes(e)) known.set(e, Result.succeed(new Map([[e, table.constant(1, e.dtype)]])))
    else if (Element.operands(table, e).some((x) => known.has(x))) {
      known.set(
        e,
        e._tag === "apply" ? ofApply(table, e, known) : Result.fail("a position depends on the weights")
      )
    }
  }
  return known.get(root) ?? Result.fail("the weights take no part")
}

/** The factor of the only leaf. */
export const coefficient = (
  table: Element.Table,
  root: Element.Element,
  p: Element.Element
): Result.Result<Element.Element, string> =>
  Result.map(coefficients(table, root, [p]), (all) => all.get(p) as Element.Element)

const zero = (e: Element.Element): boolean => Element.constantOf(e) === 0

const each = (x: Known, f: (w: Element.Element) => Element.Element): Known =>
  Result.map(x, (all) => new Map([...all].map(([p, w]) => [p, f(w)] as const)))

/** Both sides at every leaf of either; a leaf that one side lacks has the factor 0 there. */
const both = (
  table: Element.Table,
  x: Known,
  y: Known,
  f: (v: Element.Element, w: Element.Element) => Element.Element
): Known =>
  Result.flatMap(x, (left) =>
    Result.map(
      y,
      (right) =>
        new Map(
          [...new Set([...left.keys(), ...right.keys()])].map((p) => {
            const [v, w] = [left.get(p), right.get(p)]
            const none = table.constant(0, (v ?? w ?? p).dtype)
            return [p, f(v ?? none, w ?? none)] as const
          })
        )
    )
  )

const ofApply = (
  table: Element.Table,
  { op, args, dtype }: Extract<Element.Element, { readonly _tag: "apply" }>,
  known: ReadonlyMap<Element.Element, Known>
): Known => {
  const [a, b, c] = args as readonly [Element.Element, Element.Element, Element.Element]
  const [x, y, z] = args.map((e) => known.get(e))
  const nonlinear = Result.fail(`the weights go through \`${op}\`, which is not a factor`)
  switch (op) {
    case "cast":
      return DType.isFloat(dtype) && DType.isFloat(a.dtype) ? (x ?? nonlinear) : nonlinear
    case "neg":
      return x === undefined ? nonlinear : each(x, (w) => table.apply("neg", [w], w.dtype))
    case "mul": {
      if (x !== undefined && y !== undefined) return Result.fail("the weights are multiplied by themselves")
      const [own, other] = x === undefined ? [y, a] : [x, b]
      return own === undefined ? nonlinear : each(own, (w) => table.apply("mul", [w, other], w.dtype))
    }
    case "div":
      return x === undefined || y !== undefined
        ? nonlinear
        : each(x, (w) => table.apply("div", [w, b], w.dtype))
    case "select": {
      // Weights of rows without NaN are never NaN: a guard against it takes the other branch. What they are multiplied by may be.
      if (x !== undefined) {
        const guarded =
          a._tag === "apply" && a.op === "is_nan" ? known.get(a.args[0] as Element.Element) : undefined
        const guard =
          guarded !== undefined &&
          Result.isSuccess(guarded) &&
          [...guarded.success.values()].every((w) => Element.constantOf(w) === 1)
        return guard && z !== undefined ? z : Result.fail("the weights choose between values")
      }
      const absent = [y === undefined && !zero(b), z === undefined && !zero(c)]
      if (absent[0] || absent[1]) return Result.fail("weights are replaced by a number that is not 0")
      const nothing: Known = Result.succeed(new Map())
      return both(table, y ?? nothing, z ?? nothing, (t, o) => table.apply("select", [a, t, o], t.dtype))
    }
    case "add":
    case "sub":
      return x === undefined || y === undefined
        ? Result.fail("a term is added to the weights")
        : both(table, x, y, (v, w) => table.apply(op, [v, w], v.dtype))
    default:
      return nonlinear
  }
}
