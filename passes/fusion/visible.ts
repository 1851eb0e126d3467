import * as DType from "../../ir/DType.ts"
import * as Element from "./Element.ts"

/**
 * An expression in two halves: where `visible`, its value is `value`, which no longer holds the infinity; elsewhere it is
 * that infinity. `visible` is a bool element, constant true where the expression is never infinite by its own doing.
 */
export interface Split {
  readonly visible: Element.Element
  readonly value: Element.Element
}

type Sign = -1 | 1

/**
 * Separates the places where a score is -inf from its value elsewhere. An addend of +inf, a product of 0 and infinity and a
 * negative factor on a masked score make NaN of a whole row in the expression as written; they may give anything here.
 */
export const split = (
  table: Element.Table,
  root: Element.Element,
  /** Elements that are finite, whatever they look like: the logit. */
  isFinite: (e: Element.Element) => boolean
): Split => {
  const yes = table.constant(1, "bool")
  const and = (a: Element.Element, b: Element.Element) => table.apply("and", [a, b], "bool")
  const or = (a: Element.Element, b: Element.Element) => table.apply("or", [a, b], "bool")
  const not = (a: Element.Element) => table.apply("not", [a], "bool")
  const choose = (c: Element.Element, a: Element.Element, b: Element.Element) =>
    table.apply("select", [c, a, b], a.dtype)
  const zero = (e: Element.Element) => table.constant(0, e.dtype)
  const whole = (e: Element.Element): Split => ({ visible: yes, value: e })

  const known: { readonly [S in Sign]: Map<Element.Element, Split> } = { [-1]: new Map(), [1]: new Map() }
  const of = (e: Element.Element | undefined, sign: Sign): Split =>
    e === undefined ? finite(e) : (known[sign].get(e) ?? whole(e))
  const flipped = (sign: Sign): Sign => (sign === 1 ? -1 : 1)

  /** A number that data decides: its infinity is a key that does not take part. */
  const measured = (e: Element.Element, sign: Sign): Split => {
    const limit = table.apply(sign < 0 ? "lt" : "gt", [e, zero(e)], "bool")
    const visible = not(and(table.apply("is_inf", [e], "bool"), limit))
    return { visible, value: choose(visible, e, zero(e)) }
  }

  const both = (e: Element.Element, op: "add" | "sub" | "mul" | "div", a: Split, b: Split): Split => ({
    visible: and(a.visible, b.visible),
    value: table.apply(op, [a.value, b.value], e.dtype)
  })

  /** max and min: the infinity of one side loses against the other, or wins. */
  const extreme = (e: Element.Element, op: "max" | "min", a: Split, b: Split, wins: boolean): Split => {
    const value = table.apply(op, [a.value, b.value], e.dtype)
    if (wins) return { visible: and(a.visible, b.visible), value }
    const alone = choose(a.visible, a.value, b.value)
    return { visible: or(a.visible, b.visible), value: choose(and(a.visible, b.visible), value, alone) }
  }

  /** What a function makes of -inf, where that is a number. */
  const atInfinity = (e: Element.Element, op: string, sign: Sign): Element.Element | undefined => {
    const limits: { readonly [op: string]: readonly [number, number] } = {
      tanh: [-1, 1],
      erf: [-1, 1],
      sigmoid: [0, 1],
      exp: [0, Infinity],
      exp2: [0, Infinity]
    }
    const limit = limits[op]?.[sign < 0 ? 0 : 1]
    return limit === undefined || limit === Infinity ? undefined : table.constant(limit, e.dtype)
  }

  const finite = (e: Element.Element | undefined): Split => whole(e ?? table.constant(0, "f32"))

  /** A tensor that scales the scores by data is a factor, not a mask. */
  const factorOf = (e: Element.Element | undefined, other: Element.Element | undefined, sign: Sign): Split =>
    e?._tag === "load" && (other === undefined || Element.constantOf(other) === undefined)
      ? whole(e)
      : of(e, sign)

  const splitOne = (e: Element.Element, sign: Sign): Split => {
    if (!DType.isFloat(e.dtype) || isFinite(e)) return whole(e)
    if (e._tag === "constant")
      return e.value === sign * Infinity ? { visible: not(yes), value: zero(e) } : whole(e)
    // Contractions make numbers, the logit and others that scores read.
    if (e._tag === "load") return sign < 0 && e.of.op !== "dot" ? measured(e, sign) : whole(e)
    if (e._tag === "index") return whole(e)
    const [a, b, c] = e.args
    switch (e.op) {
      case "neg":
        return {
          visible: of(a, flipped(sign)).visible,
          value: table.apply("neg", [of(a, flipped(sign)).value], e.dtype)
        }
      case "add":
        return both(e, "add", of(a, sign), of(b, sign))
      case "sub":
        // 1 - mask: a mask that holds infinities is not written this way.
        return both(
          e,
          "sub",
          of(a, sign),
          a !== undefined && Element.constantOf(a) !== undefined ? finite(b) : of(b, flipped(sign))
        )
      case "mul":
      case "div": {
        const infinite = (x: Element.Element | undefined): boolean =>
          x !== undefined && Math.abs(Element.constantOf(x) ?? 0) === Infinity
        const drop = infinite(a) ? b : a
        // (1 - keep) · -∞: a key that takes part has 0 there, whose product is NaN as written and 0 as meant.
        if (e.op === "mul" && infinite(a) !== infinite(b) && drop !== undefined && !dependsOnLogit.has(drop))
          return { visible: table.apply("eq", [drop, zero(drop)], "bool"), value: zero(e) }
        const factor = (x: Element.Element | undefined): Sign =>
          x !== undefined && (Element.constantOf(x) ?? 1) < 0 ? flipped(sign) : sign
        const left = factorOf(a, b, factor(b))
        const right = e.op === "mul" ? factorOf(b, a, factor(a)) : whole(b as Element.Element)
        return both(e, e.op, left, right)
      }
      case "max":
      case "min":
        return extreme(e, e.op, of(a, sign), of(b, sign), (e.op === "max") === sign > 0)
      case "select": {
        const [then, otherwise] = [of(b, sign), of(c, sign)]
        const condition = a as Element.Element
        // A condition on the score itself is part of the score: masks know positions only.
        if (dependsOnLogit.has(condition)) return whole(e)
        const always = (x: Split): boolean => Element.isConstant(x.visible, 1)
        const visible =
          always(then) && always(otherwise)
            ? yes
            : always(then)
              ? or(condition, otherwise.visible)
              : always(otherwise)
                ? or(not(condition), then.visible)
                : or(and(condition, then.visible), and(not(condition), otherwise.visible))
        if (Element.isConstant(then.visible, 0)) return { visible, value: otherwise.value }
        if (Element.isConstant(otherwise.visible, 0)) return { visible, value: then.value }
        return { visible, value: choose(condition, then.value, otherwise.value) }
      }
      case "cast": {
        if (a === undefined || !DType.isFloat(a.dtype)) return whole(e)
        // A number too large for the narrower type becomes infinite there.
        if (DType.maxFinite[e.dtype] < DType.maxFinite[a.dtype] && !dependsOnLogit.has(a))
          return measured(e, sign)
        const inner = of(a, sign)
        return { visible: inner.visible, value: table.apply("cast", [inner.value], e.dtype) }
      }
      case "log": {
        if (sign > 0 || a === undefined || dependsOnLogit.has(a)) return whole(e)
        const positive = table.apply("ne", [a, zero(a)], "bool")
        const safe = choose(positive, a, table.constant(1, a.dtype))
        return { visible: positive, value: table.apply("log", [safe], e.dtype) }
      }
      default: {
        const inner = of(a, sign)
        const limit = atInfinity(e, e.op, sign)
        if (e.args.length !== 1 || limit === undefined || Element.isConstant(inner.visible, 1))
          return whole(e)
        return whole(choose(inner.visible, table.apply(e.op, [inner.value], e.dtype), limit))
      }
    }
  }

  const dependsOnLogit = new Set<Element.Element>()
  for (const e of Element.reachable(table, [root])) {
    if (isFinite(e) || (e._tag === "apply" && e.args.some((x) => dependsOnLogit.has(x))))
      dependsOnLogit.add(e)
    known[-1].set(e, splitOne(e, -1))
    known[1].set(e, splitOne(e, 1))
  }
  return of(root, -1)
}
