import * as DType from "../../ir/DType.ts"
import * as Node from "../../ir/Node.ts"
import * as Element from "./Element.ts"
import * as visible from "./visible.ts"

/** Conditions that are tried, one after the other; each costs a walk over the expression. */
const mostConditions = 32

/** The value of an element of numbers alone; a product with 0 is 0, as it is of numbers that are finite. */
const folded = (table: Element.Table, root: Element.Element): Element.Element => {
  const made = new Map<Element.Element, Element.Element>()
  const one = (e: Element.Element): Element.Element => {
    if (e._tag !== "apply") return e
    const args = e.args.map((a) => made.get(a) as Element.Element)
    const values = args.map(Element.constantOf)
    const zero = DType.isFloat(e.dtype) && values.some((v) => v === 0)
    if (e.op === "mul" && zero) return table.constant(0, e.dtype)
    if (e.op === "div" && zero && values[0] === 0) return table.constant(0, e.dtype)
    const { scalar } = Node.specOf(e.op)
    if (scalar === undefined || !DType.isFloat(e.dtype) || values.some((v) => v === undefined))
      return table.apply(e.op, args, e.dtype)
    const value = scalar(...(values as Array<number>))
    return Number.isNaN(value) ? table.apply(e.op, args, e.dtype) : table.constant(value, e.dtype)
  }
  for (const e of Element.reachable(table, [root])) made.set(e, one(e))
  return made.get(root) as Element.Element
}

/** What stands where weights are truth values, in the expression and in those it is computed from. */
const conditions = (
  table: Element.Table,
  root: Element.Element,
  isLogit: (e: Element.Element) => boolean
): ReadonlyArray<Element.Element> => {
  const onLogit = new Set<Element.Element>()
  const found = new Set<Element.Element>()
  for (const e of Element.reachable(table, [root])) {
    if (isLogit(e) || Element.operands(table, e).some((x) => onLogit.has(x))) onLogit.add(e)
    if (e._tag !== "apply" || (e.op !== "select" && e.op !== "cast")) continue
    const [condition] = e.args
    if (condition?.dtype === "bool" && !onLogit.has(condition)) found.add(condition)
  }
  // The outermost first: what it decides needs no other.
  return [...found].reverse().slice(0, mostConditions)
}

/**
 * Separates the places where a weight is 0 because a condition on positions makes it 0 from its value elsewhere: put the condition's
 * value in its place, compute what is numbers, and see whether 0 is left. A score of -inf that a function takes to 0 is one of these.
 */
export const split = (
  table: Element.Table,
  root: Element.Element,
  isLogit: (e: Element.Element) => boolean
): visible.Split => {
  const finite = visible.split(table, root, isLogit)
  // A weight of -inf is no weight: the expression then is what it is.
  let value = Element.isConstant(finite.visible, 1) ? finite.value : root
  let seen = table.constant(1, "bool")
  const given = (condition: Element.Element, holds: 0 | 1): Element.Element =>
    Element.rebuild(table, value, new Map(), (e) =>
      e === condition ? table.constant(holds, "bool") : undefined
    )
  for (const condition of conditions(table, value, isLogit)) {
    for (const holds of [0, 1] as const) {
      if (!Element.isConstant(folded(table, given(condition, holds)), 0)) continue
      const shown = holds === 0 ? condition : table.apply("not", [condition], "bool")
      seen = table.apply("and", [seen, shown], "bool")
      value = given(condition, holds === 0 ? 1 : 0)
      break
    }
  }
  return { visible: seen, value }
}
