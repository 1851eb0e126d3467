import type { Expr, Local, Statement } from "./Instruction.ts"

/** What a pass that puts several values in the place of one makes of statements. */
export interface Rewriting {
  readonly assigned: (local: Local, value: Expr) => ReadonlyArray<Statement>
  readonly effect: (s: Extract<Statement, { readonly _tag: "effect" }>) => ReadonlyArray<Statement>
  readonly condition: (e: Expr<"i32">) => Expr<"i32">
  /** Statements, after what they need computed before them. */
  readonly after: (make: () => ReadonlyArray<Statement>) => ReadonlyArray<Statement>
}

/** Statements anew, and those within them. */
export const rewritten = ({ assigned, effect, condition, after }: Rewriting) => {
  const statements = (list: ReadonlyArray<Statement>): ReadonlyArray<Statement> =>
    list.flatMap((s): ReadonlyArray<Statement> => {
      switch (s._tag) {
        case "set":
          return after(() => assigned(s.local, s.value))
        case "effect":
          return after(() => effect(s))
        case "block":
        case "loop":
          return [{ ...s, body: statements(s.body) }]
        case "if": {
          const [body, otherwise] = [statements(s.body), statements(s.otherwise)]
          return after(() => [{ ...s, condition: condition(s.condition), body, otherwise }])
        }
        default: {
          const { condition: asked } = s
          return asked === undefined ? [s] : after(() => [{ ...s, condition: condition(asked) }])
        }
      }
    })
  return statements
}

export const reads = (e: Expr, local: Local): boolean =>
  (e.immediate?._tag === "local" && e.immediate.local === local) || e.operands.some((o) => reads(o, local))
