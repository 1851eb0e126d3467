import type { Expr, Immediate, Local, Statement } from "./Instruction.ts"
import type { Func } from "./Module.ts"

/** Whether two functions do the same. Names in code come from counters: equal code has equal names. */
export const sameCode = (a: Func, b: Func): boolean =>
  each(a.params, b.params, sameLocal) &&
  sameOr(a.result, b.result, sameExpr) &&
  sameStatements(a.body, b.body)

const each = <A>(a: ReadonlyArray<A>, b: ReadonlyArray<A>, same: (a: A, b: A) => boolean): boolean =>
  a === b || (a.length === b.length && a.every((x, i) => same(x, b[i] as A)))

const sameOr = <A>(a: A | undefined, b: A | undefined, same: (a: A, b: A) => boolean): boolean =>
  a === undefined || b === undefined ? a === b : same(a, b)

const sameLocal = (a: Local, b: Local): boolean => a.name === b.name && a.type === b.type

const sameExpr = (a: Expr, b: Expr): boolean =>
  a === b ||
  (a.name === b.name &&
    each(a.operands, b.operands, sameExpr) &&
    sameOr(a.immediate, b.immediate, sameImmediate))

const sameImmediate = (a: Immediate, b: Immediate): boolean => {
  if (a._tag === "local") return b._tag === "local" && sameLocal(a.local, b.local)
  if (a._tag === "call") return b._tag === "call" && a.callee.name === b.callee.name
  const [left, right] = [Object.values(a).flat(), Object.values(b).flat()]
  return each(left, right, Object.is)
}

const sameStatements = (a: ReadonlyArray<Statement>, b: ReadonlyArray<Statement>): boolean =>
  each(a, b, sameStatement)

const sameStatement = (a: Statement, b: Statement): boolean => {
  switch (a._tag) {
    case "set":
      return b._tag === "set" && sameLocal(a.local, b.local) && sameExpr(a.value, b.value)
    case "effect":
      return (
        b._tag === "effect" &&
        a.name === b.name &&
        each(a.operands, b.operands, sameExpr) &&
        sameOr(a.immediate, b.immediate, sameImmediate)
      )
    case "block":
    case "loop":
      return b._tag === a._tag && a.label.name === b.label.name && sameStatements(a.body, b.body)
    case "if":
      return (
        b._tag === "if" &&
        sameExpr(a.condition, b.condition) &&
        sameStatements(a.body, b.body) &&
        sameStatements(a.otherwise, b.otherwise)
      )
    case "branch":
      return (
        b._tag === "branch" && a.label.name === b.label.name && sameOr(a.condition, b.condition, sameExpr)
      )
  }
}
