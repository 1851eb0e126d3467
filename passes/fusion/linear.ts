import { Result } from "effect"
import * as DType from "../../ir/DType.ts"
import * as Element from "./Element.ts"

/**
 * The factor w with e = w · p, for an expression e over the normalised weight p. A place where p is replaced by 0 has the
 * factor 0. Fails with the first reason why e is not a multiple of p.
 */
export const coefficient = (
  table: Element.Table,
  root: Element.Element,
  p: Element.Element
): Result.Result<Element.Element, string> => {
  /** Present for what depends on p: the factor, or why there is none. */
  const known = new Map<Element.Element, Result.Result<Element.Element, string>>()
  const zero = (e: Element.Element): boolean => Element.constantOf(e) === 0
  const one = (e: Element.Element) => table.constant(1, e.dtype)
  for (const e of Element.reachable(table, [root])) {
    if (e === p) known.set(e, Result.succeed(one(e)))
    else if (Element.operands(table, e).some((x) => known.has(x))) {
      known.set(
        e,
        e._tag === "apply" ? ofApply(table, e, known, zero) : Result.fail("a position depends on the weights")
      )
    }
  }
  return known.get(root) ?? Result.fail("the weights take no part")
}

const ofApply = (
  table: Element.Table,
  { op, args, dtype }: Extract<Element.Element, { readonly _tag: "apply" }>,
  known: ReadonlyMap<Element.Element, Result.Result<Element.Element, string>>,
  zero: (e: Element.Element) => boolean
): Result.Result<Element.Element, string> => {
  const [a, b, c] = args as readonly [Element.Element, Element.Element, Element.Element]
  const [x, y, z] = args.map((e) => known.get(e))
  const nonlinear = Result.fail(`the weights go through \`${op}\`, which is not a factor`)
  switch (op) {
    case "cast":
      return DType.isFloat(dtype) && DType.isFloat(a.dtype) ? (x ?? nonlinear) : nonlinear
    case "neg":
      return x === undefined ? nonlinear : Result.map(x, (w) => table.apply("neg", [w], w.dtype))
    case "mul": {
      if (x !== undefined && y !== undefined) return Result.fail("the weights are multiplied by themselves")
      const [own, other] = x === undefined ? [y, a] : [x, b]
      return own === undefined ? nonlinear : Result.map(own, (w) => table.apply("mul", [w, other], w.dtype))
    }
    case "div":
      return x === undefined || y !== undefined
        ? nonlinear
        : Result.map(x, (w) => table.apply("div", [w, b], w.dtype))
    case "select": {
      // Weights of rows without NaN are never NaN: a guard against it takes the other branch. What they are multiplied by may be.
      if (x !== undefined) {
        const guarded =
          a._tag === "apply" && a.op === "is_nan" ? known.get(a.args[0] as Element.Element) : undefined
        const guard =
          guarded !== undefined && Result.isSuccess(guarded) && Element.constantOf(guarded.success) === 1
        return guard && z !== undefined ? z : Result.fail("the weights choose between values")
      }
      const absent = [y === undefined && !zero(b), z === undefined && !zero(c)]
      if (absent[0] || absent[1]) return Result.fail("weights are replaced by a number that is not 0")
      const like = Result.getOrElse(y ?? z ?? nonlinear, () => a)
      const [then, otherwise] = [
        y ?? Result.succeed(table.constant(0, like.dtype)),
        z ?? Result.succeed(table.constant(0, like.dtype))
      ]
      return Result.flatMap(then, (t) =>
        Result.map(otherwise, (o) => table.apply("select", [a, t, o], t.dtype))
      )
    }
    case "add":
    case "sub": {
      if (x === undefined || y === undefined) return Result.fail("a term is added to the weights")
      return Result.flatMap(x, (v) => Result.map(y, (w) => table.apply(op, [v, w], v.dtype)))
    }
    default:
      return nonlinear
  }
}
