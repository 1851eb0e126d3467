import type * as Dim from "../../../ir/Dim.ts"
import {
  type Expr,
  get,
  i32,
  type Label,
  type Local,
  op,
  type Statement,
  select,
  set
} from "../assembler/Instruction.ts"
import type { ValueType } from "../assembler/instructions.ts"
import type { Unit } from "./Unit.ts"

/** A value that statements change. What is computed from it is computed where it is asked for. */
export interface Variable<T extends ValueType> {
  readonly value: Expr<T>
  readonly set: (value: Expr<T>) => void
}

/**
 * Statements of a function under construction. `bind` gives an expression a local once for each place where it can be used, and sets
 * it in the outermost block that knows all locals in it: index arithmetic and loads leave the loops they do not depend on, whoever asks
 * for them.
 */
export interface Emitter {
  readonly unit: Unit
  /** Elements that a vector holds here: 4, or 1 at the end of a loop, where only lane 0 means something. */
  readonly width: 1 | 4
  readonly at: (width: 1 | 4, inside: () => void) => void
  /** A local (or constant) with the value of a pure expression. */
  readonly bind: <T extends ValueType>(expr: Expr<T>) => Expr<T>
  /** As `bind`, for reads of memory that the function does not write: they stay inside the branch that asks for them. */
  readonly bindLoad: <T extends ValueType>(expr: Expr<T>) => Expr<T>
  /** The value an expression has here: for reads of what the function writes. */
  readonly now: <T extends ValueType>(expr: Expr<T>) => Expr<T>
  readonly variable: <T extends ValueType>(init: Expr<T>) => Variable<T>
  readonly line: (statement: Statement) => void
  /** From `from` below `to`. */
  readonly loop: (
    from: Expr<"i32">,
    to: Expr<"i32">,
    step: number,
    inside: (index: Expr<"i32">) => void
  ) => void
  readonly branch: (condition: Expr<"i32">, then: () => void, otherwise?: () => void) => void
  /** Looks up or computes a value that is remembered as long as the current block is open. */
  readonly remember: <A>(key: string, make: () => A) => A
  /** What a local of `bind` was bound to; any other expression is itself. */
  readonly definition: (expr: Expr<"i32">) => Expr<"i32">
  /** How deep the innermost block lies that an expression depends on. */
  readonly depth: (expr: Expr) => number
  /** A size. */
  readonly dim: (d: Dim.Dim) => Expr<"i32">
  readonly add: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  readonly sub: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  readonly mul: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  /** Quotient of numbers of 0 or more; a divisor of 0 counts as 1. */
  readonly div: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  readonly min: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  readonly max: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">
  /** The statements of the outermost block. */
  readonly statements: () => ReadonlyArray<Statement>
}

interface Scope {
  readonly kind: "function" | "loop" | "branch"
  readonly lines: Array<Statement>
  readonly bound: Map<string, Expr>
  readonly remembered: Map<string, unknown>
}

/** The value of a constant. */
export const constantOf = (expr: Expr): number | undefined =>
  expr.immediate?._tag === "i32" ? expr.immediate.value : undefined

const isAtom = (expr: Expr): boolean => expr.operands.length === 0 && expr.immediate?._tag !== "call"

const keys = new WeakMap<Expr, string>()

/** Text of an expression: equal exactly for equal expressions. */
export const keyOf = (expr: Expr): string => {
  const known = keys.get(expr)
  if (known !== undefined) return known
  const { immediate, operands } = expr
  if (immediate?._tag === "local") return immediate.local.name
  if (immediate?._tag === "i32") return String(immediate.value)
  let text = expr.name
  if (immediate?._tag === "call") text += `<${immediate.callee.name}>`
  else if (immediate !== undefined) text += `<${textOf(immediate)}>`
  operands.forEach((operand) => {
    text += `,${keyOf(operand)}`
  })
  text += ";"
  keys.set(expr, text)
  return text
}

const textOf = (immediate: object): string =>
  Object.values(immediate)
    .map((v) => (Object.is(v, -0) ? "-0" : String(v)))
    .join()

/** `params` are known everywhere; `symbol` gives the value of a length. */
export const make = (
  unit: Unit,
  params: ReadonlyArray<Local>,
  symbol: (name: string) => Expr<"i32">
): Emitter => {
  const scope = (kind: Scope["kind"]): Scope => ({ kind, lines: [], bound: new Map(), remembered: new Map() })
  const scopes: Array<Scope> = [scope("function")]
  const depthOf = new Map<Local, number>(params.map((p) => [p, 0] as const))
  const mutable = new Set<Local>()
  const definitions = new Map<Local, Expr>()
  let width: 1 | 4 = 4
  let names = 0

  const current = (): Scope => scopes[scopes.length - 1] as Scope
  const line = (statement: Statement): void => {
    current().lines.push(statement)
  }
  const fresh = <T extends ValueType>(letter: string, type: T): Local<T> => ({
    type,
    name: `${letter}${names++}`
  })
  const label = (letter: string): Label => ({ name: `${letter}${names++}` })

  const depth = ({ immediate, operands }: Expr): number => {
    if (immediate?._tag === "local") return depthOf.get(immediate.local) ?? 0
    return operands.reduce((deepest, operand) => Math.max(deepest, depth(operand)), 0)
  }

  const changes = ({ immediate, operands }: Expr): boolean =>
    immediate?._tag === "local" ? mutable.has(immediate.local) : operands.some(changes)

  const declare = <T extends ValueType>(target: number, expr: Expr<T>): Expr<T> => {
    const local = fresh("x", expr.type)
    depthOf.set(local, target)
    ;(scopes[target] as Scope).lines.push(set(local, expr))
    return get(local)
  }

  const now = <T extends ValueType>(expr: Expr<T>): Expr<T> => declare(scopes.length - 1, expr)

  const bindAt = <T extends ValueType>(expr: Expr<T>, floor: number): Expr<T> => {
    if (changes(expr)) return now(expr)
    if (isAtom(expr)) return expr
    const key = keyOf(expr)
    const target = Math.max(floor, depth(expr))
    for (let d = target; d < scopes.length; d++) {
      const same = scopes[d]?.bound.get(key)
      if (same !== undefined) return same as Expr<T>
    }
    const made = declare(target, expr)
    if (made.immediate?._tag === "local") definitions.set(made.immediate.local, expr)
    ;(scopes[target] as Scope).bound.set(key, made)
    return made
  }

  const bind = <T extends ValueType>(expr: Expr<T>): Expr<T> => bindAt(expr, 0)

  const bindLoad = <T extends ValueType>(expr: Expr<T>): Expr<T> => {
    const key = keyOf(expr)
    for (const s of scopes) {
      const same = s.bound.get(key)
      if (same !== undefined) return same as Expr<T>
    }
    return bindAt(
      expr,
      Math.max(
        0,
        scopes.findLastIndex((s) => s.kind === "branch")
      )
    )
  }

  const collect = (kind: "loop" | "branch", inside: () => void): ReadonlyArray<Statement> => {
    scopes.push(scope(kind))
    inside()
    return (scopes.pop() as Scope).lines
  }

  const variable = <T extends ValueType>(init: Expr<T>): Variable<T> => {
    const local = fresh("v", init.type)
    depthOf.set(local, scopes.length - 1)
    mutable.add(local)
    line(set(local, init))
    return { value: get(local), set: (value) => line(set(local, value)) }
  }

  const loop = (
    from: Expr<"i32">,
    to: Expr<"i32">,
    step: number,
    inside: (index: Expr<"i32">) => void
  ): void => {
    const first = constantOf(from)
    const last = constantOf(to)
    if (first !== undefined && last !== undefined && first >= last) return
    const index = fresh("k", "i32")
    const [end, next] = [label("end"), label("next")]
    const body = collect("loop", () => {
      depthOf.set(index, scopes.length - 1)
      inside(get(index))
    })
    const again: Statement = { _tag: "branch", label: next, condition: op("i32.lt_s", get(index), to) }
    const around: Statement = {
      _tag: "loop",
      label: next,
      body: [...body, set(index, op("i32.add", get(index), i32(step))), again]
    }
    const leave: Statement = { _tag: "branch", label: end, condition: op("i32.ge_s", get(index), to) }
    const certain = first !== undefined && last !== undefined
    line(set(index, from))
    line(certain ? around : { _tag: "block", label: end, body: [leave, around] })
  }

  const branch = (condition: Expr<"i32">, then: () => void, otherwise: () => void = () => {}): void => {
    const known = constantOf(condition)
    if (known !== undefined) {
      if (known === 0) otherwise()
      else then()
      return
    }
    // Both sides are collected first: what they bind further out must not come between them.
    const body = collect("branch", then)
    const rest = collect("branch", otherwise)
    line({ _tag: "if", condition, body, otherwise: rest })
  }

  const folded =
    (f: (a: number, b: number) => number, make: (a: Expr<"i32">, b: Expr<"i32">) => Expr<"i32">) =>
    (a: Expr<"i32">, b: Expr<"i32">): Expr<"i32"> => {
      const x = constantOf(a)
      const y = constantOf(b)
      return x === undefined || y === undefined ? bind(make(a, b)) : i32(f(x, y))
    }
  const plus = folded(
    (a, b) => a + b,
    (a, b) => op("i32.add", a, b)
  )
  const minus = folded(
    (a, b) => a - b,
    (a, b) => op("i32.sub", a, b)
  )
  const times = folded(Math.imul, (a, b) => {
    const power = Math.log2(constantOf(b) ?? 0)
    return power >= 0 && Number.isInteger(power) ? op("i32.shl", a, i32(power)) : op("i32.mul", a, b)
  })
  const quotient = folded(
    (a, b) => Math.floor(a / Math.max(b, 1)),
    (a, b) => op("i32.div_u", a, constantOf(b) === undefined ? bind(op("i32.or", b, op("i32.eqz", b))) : b)
  )
  const is = (e: Expr<"i32">, n: number): boolean => constantOf(e) === n
  const choose = (name: "i32.lt_s" | "i32.gt_s") =>
    folded(name === "i32.lt_s" ? Math.min : Math.max, (a, b) => select(a, b, op(name, a, b)))

  const emitter: Emitter = {
    unit,
    get width() {
      return width
    },
    at: (next, inside) => {
      const before = width
      width = next
      inside()
      width = before
    },
    bind,
    bindLoad,
    now,
    variable,
    line,
    loop,
    branch,
    remember: <A>(key: string, compute: () => A): A => {
      const own = `${width}:${key}`
      for (const s of scopes) if (s.remembered.has(own)) return s.remembered.get(own) as A
      const value = compute()
      current().remembered.set(own, value)
      return value
    },
    definition: (expr) =>
      expr.immediate?._tag === "local"
        ? ((definitions.get(expr.immediate.local) as Expr<"i32"> | undefined) ?? expr)
        : expr,
    depth,
    dim: (d) => {
      const terms = d.terms.map((t) =>
        t.symbols.reduce<Expr<"i32">>(
          (product, s) => (is(product, 1) ? bind(symbol(s)) : emitter.mul(bind(symbol(s)), product)),
          i32(t.coefficient)
        )
      )
      return terms.reduce((a, b) => emitter.add(a, b), i32(0))
    },
    add: (a, b) => (is(a, 0) ? b : is(b, 0) ? a : plus(a, b)),
    sub: (a, b) => (is(b, 0) ? a : minus(a, b)),
    mul: (a, b) =>
      is(a, 0) || is(b, 0)
        ? i32(0)
        : is(a, 1)
          ? b
          : is(b, 1)
            ? a
            : is(a, -1)
              ? minus(i32(0), b)
              : times(a, b),
    div: (a, b) => (is(b, 1) ? a : quotient(a, b)),
    min: choose("i32.lt_s"),
    max: choose("i32.gt_s"),
    statements: () => (scopes[0] as Scope).lines
  }
  return emitter
}
