import { describe, expect, test } from "vitest"
import * as Size from "../../../backends/webgpu/Size.ts"
import * as Dim from "../../../ir/Dim.ts"
import * as arrays from "../../support/arrays.ts"

const T = Dim.symbol("T")
const S = Dim.symbol("S")

const anySize = (from: arrays.Random, depth: number): Size.Size => {
  if (depth === 0) {
    return Size.from(
      from.pick([Dim.constant(from.integer(0, 9)), T, S, Dim.add(Dim.mul(T, S), Dim.constant(3))])
    )
  }
  const [a, b] = [anySize(from, depth - 1), anySize(from, depth - 1)]
  return from.pick([
    () => Size.add(a, b),
    () => Size.mul(a, b),
    () => Size.min(a, b),
    () => Size.max(a, b),
    () => Size.ceilDiv(a, from.integer(1, 7))
  ])()
}

/** What an i32 expression of WGSL made of these words means. */
const meaning = (text: string, bindings: Dim.Bindings): number => {
  const whole = text
    .replace(/\b(min|max)\b/g, "Math.$1")
    .replace(/\b[ts]\b/g, (s) => String(bindings[s.toUpperCase()]))
  return Number(
    new Function(`"use strict"; const div = (a, b) => Math.trunc(a / b); return ${divisions(whole)}`)()
  )
}

/** Rewrites `(x / n)` with matching parentheses into a call: division in i32 truncates. */
const divisions = (text: string): string => {
  const at = text.indexOf(" / ")
  if (at < 0) return text
  let open = 0
  let start = at
  while (start > 0) {
    const c = text[start - 1]
    if (c === ")") open++
    if (c === "(") {
      if (open === 0) break
      open--
    }
    start--
  }
  const end = text.indexOf(")", at)
  const inner = `div(${text.slice(start, at)}, ${text.slice(at + 3, end)})`
  return divisions(`${text.slice(0, start)}${inner}${text.slice(end)}`)
}

describe("sizes", () => {
  test("the WGSL of a size means its value", () => {
    for (let seed = 0; seed < 200; seed++) {
      const from = arrays.random(seed)
      const size = anySize(from, from.integer(0, 3))
      const bindings = { T: from.integer(0, 20), S: from.integer(0, 20) }
      const text = Size.wgsl(size, (s) => s.toLowerCase())
      expect(meaning(text, bindings), `${Size.print(size)} as ${text}`).toBe(Size.evaluate(size, bindings))
    }
  })

  test("constants fold, and print as one reads them", () => {
    expect(Size.value(Size.ceilDiv(Size.mul(5, 3), 4))).toBe(4)
    expect(Size.print(Size.ceilDiv(Dim.mul(T, Dim.constant(64)), 64))).toBe("ceil(64*T / 64)")
    expect(Size.print(Size.mul(Size.ceilDiv(Dim.add(T, S), 16), Size.add(T, Size.ceilDiv(S, 2))))).toBe(
      "ceil((S + T) / 16) * (T + ceil(S / 2))"
    )
    expect(Size.print(Size.max(Size.mul(1, T), T))).toBe("T")
    expect(() => Size.ceilDiv(T, 0)).toThrow(RangeError)
    expect(() => Size.evaluate(Size.from(T), {})).toThrow("T is not bound")
  })
})
