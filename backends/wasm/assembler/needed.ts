import type { Expr, Local, Statement } from "./Instruction.ts"
import type { Func } from "./Module.ts"

/**
 * Leaves out values that nobody reads: index arithmetic that instructions' own offsets have replaced. Engines find them when they optimise, but read,
 * and at first run, all of them.
 */
export const needed = (f: Func): Func => {
  const uses = new Map<Local, number>()
  const count = (expr: Expr, by: number): void => {
    if (expr.immediate?._tag === "local") {
      const { local } = expr.immediate
      uses.set(local, (uses.get(local) ?? 0) + by)
    }
    for (const operand of expr.operands) count(operand, by)
  }
  const countAll = (list: ReadonlyArray<Statement>): void => {
    for (const s of list) {
      if (s._tag === "set") count(s.value, 1)
      else if (s._tag === "effect") for (const operand of s.operands) count(operand, 1)
      else if (s._tag === "if") {
        count(s.condition, 1)
        countAll(s.body)
        countAll(s.otherwise)
      } else if (s._tag === "branch") {
        if (s.condition !== undefined) count(s.condition, 1)
      } else countAll(s.body)
    }
  }
  countAll(f.body)
  if (f.result !== undefined) count(f.result, 1)
  // From the last to the first: what only a value that goes has read goes with it.
  const kept = (list: ReadonlyArray<Statement>): ReadonlyArray<Statement> => {
    const out: Array<Statement> = []
    for (let n = list.length - 1; n >= 0; n--) {
      const s = list[n] as Statement
      if (s._tag === "set") {
        if ((uses.get(s.local) ?? 0) > 0) out.push(s)
        else count(s.value, -1)
      } else if (s._tag === "if") {
        const otherwise = kept(s.otherwise)
        out.push({ ...s, body: kept(s.body), otherwise })
      } else if (s._tag === "block" || s._tag === "loop") out.push({ ...s, body: kept(s.body) })
      else out.push(s)
    }
    return out.reverse()
  }
  return { ...f, body: kept(f.body) }
}
