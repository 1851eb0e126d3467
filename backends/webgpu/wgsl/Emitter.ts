import * as Dim from "../../../ir/Dim.ts"
import { matchAxes } from "../../../ir/matchAxes.ts"
import type * as Shape from "../../../ir/Shape.ts"
import * as Size from "../Size.ts"
import type { Module } from "./Module.ts"

/**
 * Statements of a function under construction. `bind` names an expression once for each place where it can be used, and
 * puts the `let` into the outermost block that knows all names in it: index arithmetic and loads leave the loops they do not depend
 * on, whoever asks for them.
 *
 * Expressions are text over bound names and literals. Indices are i32.
 */
export interface Emitter {
  readonly module: Module
  /** Name (or literal) of a pure expression. */
  readonly bind: (text: string) => string
  /** As `bind`, for reads of buffers: they stay inside the branch (`if`) that asks for them. */
  readonly bindLoad: (text: string) => string
  /** Adds a statement to the current block. */
  readonly line: (text: string) => void
  /** Declares a `let` in the current block, for values that are not pure. */
  readonly constant: (text: string) => string
  /** Declares a `var` in the current block. What is bound from it is bound anew each time, in the current block. */
  readonly variable: (type: string, init: string) => string
  /** A private array of zeros. The module declares it: what a function declares a software device sets to zero twice, each number by itself. */
  readonly array: (type: string, length: number) => string
  /** Names a parameter or loop variable as known from the current block inwards. */
  readonly known: (name: string) => string
  /** A block such as `for (...)` or `if (...)`; its body is what `inside` adds. */
  readonly block: (kind: "loop" | "branch", header: string, inside: () => void) => void
  /** `for` over an i32 from `from` below `to`. */
  readonly loop: (from: string, to: string, step: string, inside: (index: string) => void) => void
  /** `if`, with an optional `else`; a condition that is known once `then` is written is a function. */
  readonly branch: (condition: string | (() => string), then: () => void, otherwise?: () => void) => void
  /** Looks up or computes a value that is remembered as long as the current block is open. */
  readonly remember: (key: string, make: () => string) => string
  /** The statements of the outermost block. */
  readonly lines: () => ReadonlyArray<string>

  /** A size as an i32. */
  readonly dim: (d: Dim.Dim) => string
  readonly add: (a: string, b: string) => string
  readonly sub: (a: string, b: string) => string
  readonly mul: (a: string, b: string) => string
  /** Row-major number of an index tuple. The first size does not matter. */
  readonly linearize: (indices: ReadonlyArray<string>, shape: Shape.Shape) => string
  /** The index tuple of a row-major number. */
  readonly delinearize: (linear: string, shape: Shape.Shape) => ReadonlyArray<string>
  /** Index tuple in `to` of the element at `indices` in `from`; both hold the same number of elements. */
  readonly reshape: (
    indices: ReadonlyArray<string>,
    from: Shape.Shape,
    to: Shape.Shape
  ) => ReadonlyArray<string>
  /** Records that `even` and `odd` are the numbers 2 * half and 2 * half + 1, so that loads of 16-bit pairs share a word. */
  readonly pair: (half: string) => readonly [even: string, odd: string]
  /** As `pair`, for numbers that are there already: `even` is even and `odd` the next. */
  readonly markPair: (even: string, odd: string) => void
  /** The word of a pair and which half an index is, where `pair` or `markPair` recorded it. */
  readonly halfOf: (index: string) => { readonly word: string; readonly odd: boolean } | undefined
}

interface Scope {
  readonly kind: "function" | "loop" | "branch"
  readonly lines: Array<string>
  readonly bound: Map<string, string>
  readonly remembered: Map<string, string>
}

const identifiers = /[A-Za-z_]\w*/g
const atom = /^(-?\d[\w.]*|[A-Za-z_]\w*)$/
const integer = /^-?\d+$/
/** Workgroup arrays, as `Module.workgroupArray` names them: what is read from them is not pure. */
const workgroupArray = /^w\d+$/

export const make = (module: Module): Emitter => {
  const scope = (kind: Scope["kind"]): Scope => ({ kind, lines: [], bound: new Map(), remembered: new Map() })
  const scopes: Array<Scope> = [scope("function")]
  const depthOf = new Map<string, number>()
  const mutable = new Set<string>()
  /** Row-major numbers that are known already: index tuple and inner sizes → name. */
  const linearOf = new Map<string, string>()
  const halves = new Map<string, { readonly word: string; readonly odd: boolean }>()

  const current = (): Scope => scopes[scopes.length - 1] as Scope
  const line = (text: string): void => {
    current().lines.push(text)
  }

  const known = (name: string): string => {
    depthOf.set(name, scopes.length - 1)
    return name
  }

  const constant = (text: string): string => {
    const name = known(module.fresh("x"))
    line(`let ${name} = ${text};`)
    return name
  }

  const bindAt = (text: string, floor: number): string => {
    if (atom.test(text) && !mutable.has(text)) return text
    const names = text.match(identifiers) ?? []
    if (names.some((n) => mutable.has(n) || workgroupArray.test(n))) return constant(text)
    let depth = floor
    for (const n of names) depth = Math.max(depth, depthOf.get(n) ?? 0)
    for (let d = depth; d < scopes.length; d++) {
      const same = scopes[d]?.bound.get(text)
      if (same !== undefined) return same
    }
    const target = scopes[depth] as Scope
    const name = module.fresh("x")
    depthOf.set(name, depth)
    target.lines.push(`let ${name} = ${text};`)
    target.bound.set(text, name)
    return name
  }

  const bind = (text: string): string => bindAt(text, 0)

  const bindLoad = (text: string): string => {
    const branch = scopes.findLastIndex((s) => s.kind === "branch")
    // A load that an enclosing block has made already is shared; only a new one stays inside the branch.
    for (const s of scopes) {
      const same = s.bound.get(text)
      if (same !== undefined) return same
    }
    return bindAt(text, Math.max(0, branch))
  }

  const collect = (kind: "loop" | "branch", inside: () => void): ReadonlyArray<string> => {
    scopes.push(scope(kind))
    inside()
    return (scopes.pop() as Scope).lines
  }

  const block = (kind: "loop" | "branch", header: string, inside: () => void): void => {
    const lines = collect(kind, inside)
    line(`${header} {`)
    for (const l of lines) line(`  ${l}`)
    line("}")
  }

  const variable = (type: string, init: string): string => {
    const name = known(module.fresh("v"))
    mutable.add(name)
    line(`var ${name}: ${type} = ${init};`)
    return name
  }

  const array = (type: string, length: number): string => {
    const name = known(module.fresh("p"))
    mutable.add(name)
    module.declare(`var<private> ${name}: array<${type}, ${length}>;`)
    return name
  }

  const loop = (from: string, to: string, step: string, inside: (index: string) => void): void => {
    const name = module.fresh("k")
    block("loop", `for (var ${name} = ${from}; ${name} < ${to}; ${name} += ${step})`, () => {
      inside(known(name))
    })
  }

  const branch: Emitter["branch"] = (condition, then, otherwise) => {
    // Both sides are collected first: what they bind further out must not come between them.
    const sides = [then, ...(otherwise === undefined ? [] : [otherwise])].map((s) => collect("branch", s))
    sides.forEach((lines, side) => {
      line(side === 0 ? `if (${typeof condition === "string" ? condition : condition()}) {` : "} else {")
      for (const l of lines) line(`  ${l}`)
    })
    line("}")
  }

  const remember = (key: string, compute: () => string): string => {
    for (const s of scopes) {
      const value = s.remembered.get(key)
      if (value !== undefined) return value
    }
    const value = compute()
    current().remembered.set(key, value)
    return value
  }

  const dim = (d: Dim.Dim): string => {
    const value = Dim.value(d)
    return value === undefined ? bind(Size.dimWgsl(d, module.symbol)) : String(value)
  }

  const parenthesised = (x: string): string => (x.startsWith("-") ? `(${x})` : x)

  const add = (a: string, b: string): string => {
    if (a === "0") return b
    if (b === "0") return a
    if (integer.test(a) && integer.test(b)) return String(Number(a) + Number(b))
    return bind(`${a} + ${parenthesised(b)}`)
  }

  const sub = (a: string, b: string): string => {
    if (b === "0") return a
    if (integer.test(a) && integer.test(b)) return String(Number(a) - Number(b))
    return bind(`${a} - ${parenthesised(b)}`)
  }

  const mul = (a: string, b: string): string => {
    if (a === "0" || b === "0") return "0"
    if (a === "1") return b
    if (b === "1") return a
    if (integer.test(a) && integer.test(b)) return String(Number(a) * Number(b))
    return bind(`${a} * ${parenthesised(b)}`)
  }

  /** Quotient of values of 0 or more. A zero divisor is a size of 0, where no thread gets this far. */
  const div = (a: string, b: string): string => {
    if (a === "0" || b === "1") return a
    if (integer.test(a) && integer.test(b)) return String(Math.floor(Number(a) / Number(b)))
    return bind(integer.test(b) ? `i32(u32(${a}) / ${b}u)` : `i32(u32(${a}) / u32(${b}))`)
  }

  const depth = (text: string): number => depthOf.get(text) ?? 0

  const significant = (indices: ReadonlyArray<string>, shape: Shape.Shape) =>
    shape.flatMap((d, axis) => (Dim.isOne(d) ? [] : [{ index: indices[axis] as string, size: d }]))

  const linearKey = (axes: ReadonlyArray<{ readonly index: string; readonly size: Dim.Dim }>): string =>
    `${axes.map((a) => a.index).join(",")}|${axes
      .slice(1)
      .map((a) => a.size.key)
      .join(",")}`

  const linearize = (indices: ReadonlyArray<string>, shape: Shape.Shape): string => {
    const axes = significant(indices, shape)
    if (axes.length === 0) return "0"
    // The longest prefix whose number is known counts as one axis.
    let lead = 1
    let first = (axes[0] as (typeof axes)[number]).index
    for (let length = axes.length; length > 1; length--) {
      const name = linearOf.get(linearKey(axes.slice(0, length)))
      if (name === undefined) continue
      lead = length
      first = name
      break
    }
    if (lead === axes.length) return first
    let stride = Dim.one
    const terms: Array<string> = []
    for (let axis = axes.length - 1; axis >= lead; axis--) {
      const { index, size } = axes[axis] as (typeof axes)[number]
      terms.push(mul(index, dim(stride)))
      stride = Dim.mul(stride, size)
    }
    terms.push(mul(first, dim(stride)))
    // Outer terms are added first, so that their sum leaves the inner loops.
    terms.reverse()
    terms.sort((a, b) => depth(a) - depth(b))
    const linear = terms.reduce(add)
    linearOf.set(linearKey(axes), linear)
    return linear
  }

  const delinearize = (linear: string, shape: Shape.Shape): ReadonlyArray<string> => {
    const axes = shape.flatMap((d, axis) => (Dim.isOne(d) ? [] : [axis]))
    const result = shape.map(() => "0")
    let rest = linear
    const numbers: Array<string> = []
    axes.toReversed().forEach((axis, i) => {
      numbers[axes.length - 1 - i] = rest
      if (i === axes.length - 1) {
        result[axis] = rest
        return
      }
      const size = dim(shape[axis] as Dim.Dim)
      const quotient = div(rest, size)
      result[axis] = sub(rest, mul(quotient, size))
      rest = quotient
    })
    // What lies before an axis is a row-major number as well.
    for (let length = 2; length <= axes.length; length++) {
      const prefix = axes
        .slice(0, length)
        .map((axis) => ({ index: result[axis] as string, size: shape[axis] as Dim.Dim }))
      const number = numbers[length - 1]
      if (number !== undefined) linearOf.set(linearKey(prefix), number)
    }
    return result
  }

  const reshape = (
    indices: ReadonlyArray<string>,
    from: Shape.Shape,
    to: Shape.Shape
  ): ReadonlyArray<string> => {
    const result: Array<string> = []
    for (const group of matchAxes(from, to)) {
      const linear = linearize(indices.slice(...group.from), from.slice(...group.from))
      result.push(...delinearize(linear, to.slice(...group.to)))
    }
    return result
  }

  return {
    module,
    bind,
    bindLoad,
    line,
    constant,
    variable,
    array,
    known,
    block,
    loop,
    branch,
    remember,
    lines: () => (scopes[0] as Scope).lines,
    dim,
    add,
    sub,
    mul,
    linearize,
    delinearize,
    reshape,
    pair: (half) => {
      const even = bind(`${half} * 2`)
      const odd = bind(`${half} * 2 + 1`)
      halves.set(even, { word: half, odd: false })
      halves.set(odd, { word: half, odd: true })
      return [even, odd]
    },
    markPair: (even, odd) => {
      const word = bind(`${even} / 2`)
      halves.set(even, { word, odd: false })
      halves.set(odd, { word, odd: true })
    },
    halfOf: (index) => halves.get(index)
  }
}
