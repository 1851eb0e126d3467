import * as Dim from "../../ir/Dim.ts"
import type { Attention } from "./Attention.ts"
import type { Arranged } from "./Basis.ts"
import * as Element from "./Element.ts"
import * as IndexExpr from "./IndexExpr.ts"

/**
 * What each digit is to the canonical node: `batch` and `head` select keys and values, `group` and `row` do not. Query head =
 * head · |group| + group; `row` is the query position.
 */
export interface Roles {
  readonly batch: ReadonlyArray<IndexExpr.Digit>
  readonly head: ReadonlyArray<IndexExpr.Digit>
  readonly group: ReadonlyArray<IndexExpr.Digit>
  readonly row: ReadonlyArray<IndexExpr.Digit>
  readonly key: ReadonlyArray<IndexExpr.Digit>
  /** Of each term. */
  readonly depth: ReadonlyArray<ReadonlyArray<IndexExpr.Digit>>
  readonly width: ReadonlyArray<IndexExpr.Digit>
}

const namesOf = (x: Arranged): ReadonlySet<string> =>
  new Set(x.axes.flatMap((axis) => axis.map((d) => d.name)))

/** Variables that a comparison holds against the key index: query positions, most likely. */
const comparedWithKeys = (table: Element.Table, a: Attention): ReadonlySet<string> => {
  const found = new Set<string>()
  const index = (e: Element.Element | undefined): ReadonlySet<string> =>
    e?._tag === "index" ? IndexExpr.variables(e.expr) : new Set()
  for (const e of Element.reachable(table, [a.score])) {
    if (e._tag !== "apply" || e.dtype !== "bool") continue
    const both = [...index(e.args[0]), ...index(e.args[1])]
    if (both.some((n) => a.key.includes(n))) for (const n of both) found.add(n)
  }
  return found
}

/** Assigns roles, or says that no query position is left. Any assignment computes the same; this one reads like what was written. */
export const assign = (table: Element.Table, a: Attention): Roles | undefined => {
  const { shared, query, width } = a.sum
  const digits = (names: ReadonlyArray<string>) => names.flatMap((n) => a.basis.digits(n))
  const selecting = new Set(
    [...a.terms.map((t) => t.k), ...(a.v === undefined ? [] : [a.v])].flatMap((o) => [...namesOf(o.arranged)])
  )
  const outer = digits([...shared, ...query])
  const select = outer.filter((d) => selecting.has(d.name))
  const free = outer.filter((d) => !selecting.has(d.name))
  if (free.length === 0 && digits(query).length > 0) return undefined

  const compared = comparedWithKeys(table, a)
  const originOf = (d: IndexExpr.Digit) =>
    [...shared, ...query].find((n) => a.basis.digits(n).includes(d)) as string
  const weight = (d: IndexExpr.Digit): number =>
    (compared.has(originOf(d)) ? 4 : 0) +
    (query.includes(originOf(d)) ? 2 : 0) +
    (Dim.isConstant(d.size) ? 0 : 1)
  const row = free.reduce<IndexExpr.Digit | undefined>(
    (best, d) => (best === undefined || weight(d) >= weight(best) ? d : best),
    undefined
  )
  const group = free.filter((d) => d !== row)

  const family = new Set(group.map(originOf))
  const sibling = select.findLast((d) => family.has(originOf(d)))
  const head = sibling ?? (select.length > 1 ? select.at(-1) : undefined)
  return {
    batch: select.filter((d) => d !== head),
    head: head === undefined ? [] : [head],
    group,
    row: row === undefined ? [] : [row],
    key: digits(a.key),
    depth: a.terms.map((t) => digits(t.depth)),
    width: digits(width)
  }
}

export const size = (digits: ReadonlyArray<IndexExpr.Digit>): Dim.Dim =>
  Dim.product(digits.map((d) => d.size))

/** Each digit of a count, in terms of the variable that counts. */
const spread = (
  digits: ReadonlyArray<IndexExpr.Digit>,
  name: string
): ReadonlyArray<readonly [string, IndexExpr.IndexExpr]> => {
  const whole = IndexExpr.variable(name, size(digits))
  let stride = Dim.one
  return [...digits].reverse().map((d, n) => {
    const outer = IndexExpr.div(whole, stride)
    stride = Dim.mul(stride, d.size)
    return [d.name, n === digits.length - 1 ? outer : IndexExpr.mod(outer, d.size)] as const
  })
}

/** Every original variable in terms of the node's b, h, i and j. */
export const indices = (a: Attention, r: Roles): ReadonlyMap<string, IndexExpr.IndexExpr> => {
  const byDigit = new Map([
    ...spread(r.batch, "b"),
    ...spread([...r.head, ...r.group], "h"),
    ...spread(r.row, "i"),
    ...spread(r.key, "j")
  ])
  return new Map(
    [...a.basis.substitution].map(([name, e]) => [name, IndexExpr.substitute(e, byDigit)] as const)
  )
}
