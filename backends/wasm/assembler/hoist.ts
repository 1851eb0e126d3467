import { type Expr, get, type Local, type Statement, set } from "./Instruction.ts"
import type { Func } from "./Module.ts"

/** Words that need no memory: an instruction makes all zeros, or all ones. */
const isCheap = (words: ReadonlyArray<number>): boolean =>
  words.every((w) => w === 0) || words.every((w) => w === -1)

/**
 * Vector constants inside loops become locals that are set before the outermost one: engines make a constant anew wherever it stands, in several
 * instructions.
 */
export const hoist = (f: Func): Func => ({ ...f, body: outside(f.body, new Map()) })

type Locals = Map<string, Local<"v128">>

const nameOf = (words: ReadonlyArray<number>): string => {
  const [first, ...rest] = words.map((w) => (w >>> 0).toString(16))
  return `c${rest.every((w) => w === first) ? first : [first, ...rest].join("_")}`
}

const outside = (statements: ReadonlyArray<Statement>, locals: Locals): ReadonlyArray<Statement> =>
  statements.flatMap((s): ReadonlyArray<Statement> => {
    switch (s._tag) {
      case "loop": {
        const here = new Set<string>()
        const before: Array<Statement> = []
        const local = (expr: Expr, words: ReadonlyArray<number>): Expr => {
          const name = nameOf(words)
          const own = locals.get(name) ?? { type: "v128", name }
          locals.set(name, own)
          if (!here.has(name)) before.push(set(own, expr as Expr<"v128">))
          here.add(name)
          return get(own)
        }
        const body = inside(s.body, local)
        return [...before, { ...s, body }]
      }
      case "block":
        return [{ ...s, body: outside(s.body, locals) }]
      case "if":
        return [{ ...s, body: outside(s.body, locals), otherwise: outside(s.otherwise, locals) }]
      default:
        return [s]
    }
  })

type Replace = (expr: Expr, words: ReadonlyArray<number>) => Expr

/** What nothing changes stays the very same: most code holds no constants. */
const mapped = <A>(list: ReadonlyArray<A>, change: (item: A) => A): ReadonlyArray<A> => {
  let out: Array<A> | undefined
  for (let i = 0; i < list.length; i++) {
    const before = list[i] as A
    const after = change(before)
    if (after !== before) out ??= list.slice(0, i)
    out?.push(after)
  }
  return out ?? list
}

const inside = (statements: ReadonlyArray<Statement>, replace: Replace): ReadonlyArray<Statement> => {
  const expr = <E extends Expr>(e: E): E => {
    if (e.immediate?._tag === "words")
      return isCheap(e.immediate.words) ? e : (replace(e, e.immediate.words) as E)
    const operands = mapped(e.operands, expr)
    return operands === e.operands ? e : { ...e, operands }
  }
  return mapped(statements, (s): Statement => {
    switch (s._tag) {
      case "set": {
        const value = expr(s.value)
        return value === s.value ? s : { ...s, value }
      }
      case "effect": {
        const operands = mapped(s.operands, expr)
        return operands === s.operands ? s : { ...s, operands }
      }
      case "block":
      case "loop":
        return { ...s, body: inside(s.body, replace) }
      case "if":
        return {
          ...s,
          condition: expr(s.condition),
          body: inside(s.body, replace),
          otherwise: inside(s.otherwise, replace)
        }
      default:
        return s.condition === undefined ? s : { ...s, condition: expr(s.condition) }
    }
  })
}
