import type { Callee, Expr, Local, Statement } from "./Instruction.ts"
import type { ValueType } from "./instructions.ts"

/** A WebAssembly module: functions over one imported memory. */
export interface Module {
  /** Functions of the host, each by its object and its name there, so that none of the module is called so: `Math.pow`. */
  readonly imports: ReadonlyArray<Callee>
  readonly functions: ReadonlyArray<Func>
}

export interface Func {
  readonly name: string
  readonly exported: boolean
  readonly params: ReadonlyArray<Local>
  /** The value it leaves, after the statements. */
  readonly result?: Expr
  readonly body: ReadonlyArray<Statement>
}

export const calleeOf = (f: Func): Callee => ({
  name: f.name,
  params: f.params.map((p) => p.type),
  result: f.result?.type
})

/** Local variables of a function that are no parameters, in order of appearance. */
export const localsOf = (f: Func): ReadonlyArray<Local> => {
  const params = new Set(f.params)
  const found = new Set<Local>()
  const visit = (s: Statement): void => {
    if (s._tag === "set" && !params.has(s.local)) found.add(s.local)
    else if (s._tag === "block" || s._tag === "loop") s.body.forEach(visit)
    else if (s._tag === "if") {
      s.body.forEach(visit)
      s.otherwise.forEach(visit)
    }
  }
  f.body.forEach(visit)
  // Grouped by type, as the binary format declares them.
  const order: ReadonlyArray<ValueType> = ["i32", "f32", "f64", "v128", "v256"]
  const locals = [...found]
  return order.flatMap((type) => locals.filter((l) => l.type === type))
}
