import * as Dim from "../../ir/Dim.ts"

/**
 * A number that is known when the symbols of a call are bound: a count of workgroups, the bytes of a buffer, a number of tiles.
 * More than a `Dim`, which is a polynomial: tiles need rounded quotients, buffers need maxima. Values are integers of 0 or more.
 */
export type Size =
  | { readonly _tag: "dim"; readonly dim: Dim.Dim }
  | { readonly _tag: "ceilDiv"; readonly of: Size; readonly by: number }
  | { readonly _tag: "add" | "mul" | "min" | "max"; readonly left: Size; readonly right: Size }

/** A size as callers write it. */
export type SizeLike = Size | Dim.Dim | number

export const from = (x: SizeLike): Size =>
  typeof x === "number"
    ? { _tag: "dim", dim: Dim.constant(x) }
    : x._tag === "Dim"
      ? { _tag: "dim", dim: x }
      : x

export const one: Size = from(1)

const combine = (
  tag: "add" | "mul" | "min" | "max",
  left: SizeLike,
  right: SizeLike,
  exact: (a: Dim.Dim, b: Dim.Dim) => Dim.Dim | undefined
): Size => {
  const [a, b] = [from(left), from(right)]
  const known = a._tag === "dim" && b._tag === "dim" ? exact(a.dim, b.dim) : undefined
  if (tag === "mul" && known === undefined && value(a) === 1) return b
  if (tag === "mul" && known === undefined && value(b) === 1) return a
  if ((tag === "min" || tag === "max") && print(a) === print(b)) return a
  return known === undefined ? { _tag: tag, left: a, right: b } : from(known)
}

const known =
  (f: (a: number, b: number) => number) =>
  (a: Dim.Dim, b: Dim.Dim): Dim.Dim | undefined => {
    const [x, y] = [Dim.value(a), Dim.value(b)]
    return x === undefined || y === undefined ? (Dim.equals(a, b) ? a : undefined) : Dim.constant(f(x, y))
  }

export const add = (a: SizeLike, b: SizeLike): Size => combine("add", a, b, Dim.add)
export const mul = (a: SizeLike, b: SizeLike): Size => combine("mul", a, b, Dim.mul)
export const min = (a: SizeLike, b: SizeLike): Size => combine("min", a, b, known(Math.min))
export const max = (a: SizeLike, b: SizeLike): Size => combine("max", a, b, known(Math.max))

/** `of / by` rounded up. `by` is an integer of 1 or more. */
export const ceilDiv = (of: SizeLike, by: number): Size => {
  if (!Number.isInteger(by) || by < 1) throw new RangeError(`a size is not divided by ${by}`)
  const size = from(of)
  if (by === 1) return size
  const value = size._tag === "dim" ? Dim.value(size.dim) : undefined
  return value === undefined ? { _tag: "ceilDiv", of: size, by } : from(Math.ceil(value / by))
}

export const product = (sizes: ReadonlyArray<SizeLike>): Size => sizes.reduce<Size>(mul, one)

/** The value, where no symbol occurs. */
export const value = (size: Size): number | undefined =>
  size._tag === "dim" ? Dim.value(size.dim) : undefined

/** The value under a binding. A symbol without a value is a caller's mistake and throws. */
export const evaluate = (size: Size, bindings: Dim.Bindings): number => {
  switch (size._tag) {
    case "dim":
      return Dim.evaluate(size.dim, bindings)
    case "ceilDiv":
      return Math.ceil(evaluate(size.of, bindings) / size.by)
    case "add":
      return evaluate(size.left, bindings) + evaluate(size.right, bindings)
    case "mul":
      return evaluate(size.left, bindings) * evaluate(size.right, bindings)
    case "min":
      return Math.min(evaluate(size.left, bindings), evaluate(size.right, bindings))
    case "max":
      return Math.max(evaluate(size.left, bindings), evaluate(size.right, bindings))
  }
}

/** Readable text: `ceil(B*T / 64)`, `max(4*T, 16)`. */
export const print = (size: Size): string => {
  const nested = (s: Size): string =>
    (s._tag === "dim" && s.dim.terms.length > 1) || s._tag === "add" ? `(${print(s)})` : print(s)
  switch (size._tag) {
    case "dim":
      return Dim.print(size.dim)
    case "ceilDiv":
      return `ceil(${nested(size.of)} / ${size.by})`
    case "add":
      return `${print(size.left)} + ${print(size.right)}`
    case "mul":
      return `${nested(size.left)} * ${nested(size.right)}`
    case "min":
    case "max":
      return `${size._tag}(${print(size.left)}, ${print(size.right)})`
  }
}

/** The polynomial as an i32 expression of WGSL; in parentheses unless it is one number or one name. */
export const dimWgsl = (dim: Dim.Dim, symbolName: (symbol: string) => string): string => {
  if (dim.terms.length === 0) return "0"
  const terms = dim.terms.map((t) => {
    const names = t.symbols.map(symbolName)
    return names.length > 0 && t.coefficient === 1
      ? names.join(" * ")
      : [String(t.coefficient), ...names].join(" * ")
  })
  const text = terms.reduce((sum, t) => (t.startsWith("-") ? `${sum} - ${t.slice(1)}` : `${sum} + ${t}`))
  return dim.terms.length === 1 && !text.includes(" ") && !text.startsWith("-") ? text : `(${text})`
}

/** The size as an i32 expression of WGSL. `symbolName` gives the expression that stands for a symbol. */
export const wgsl = (size: Size, symbolName: (symbol: string) => string): string => {
  switch (size._tag) {
    case "dim":
      return dimWgsl(size.dim, symbolName)
    case "ceilDiv":
      return `((${wgsl(size.of, symbolName)} + ${size.by - 1}) / ${size.by})`
    case "add":
      return `(${wgsl(size.left, symbolName)} + ${wgsl(size.right, symbolName)})`
    case "mul":
      return `(${wgsl(size.left, symbolName)} * ${wgsl(size.right, symbolName)})`
    case "min":
    case "max":
      return `${size._tag}(${wgsl(size.left, symbolName)}, ${wgsl(size.right, symbolName)})`
  }
}
