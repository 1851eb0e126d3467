import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Dim from "../../../ir/Dim.ts"
import type { DType } from "../../../ir/DType.ts"
import * as Shape from "../../../ir/Shape.ts"
import { bind, binder, type Parameter } from "../../../src/bind.ts"

const parameter = (name: string, dtype: DType, shape: ReadonlyArray<Dim.DimLike>): Parameter => ({
  name,
  type: { dtype, shape: Shape.from(shape) }
})

const f32 = (...shape: ReadonlyArray<number>) => ({
  dtype: "f32" as const,
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1))
})

const signature = [parameter("q", "f32", ["B", 8, "T", 4]), parameter("k", "f32", ["B", 2, "S", 4])]

const message = (
  given: { readonly [name: string]: unknown },
  constraints: ReadonlyArray<Shape.Constraint> = []
): string => {
  const result = bind(signature, constraints, given)
  if (Result.isSuccess(result)) throw new Error("it was accepted")
  expect(result.failure._tag).toBe("SignatureError")
  if (!result.failure.what.includes("\n")) expect(result.failure.hint).toBeTruthy()
  return result.failure.what
}

describe("binding arguments to a signature", () => {
  it("orders values and binds symbols, zero included", () => {
    const k = f32(1, 2, 0, 4)
    const q = f32(1, 8, 7, 4)
    const bound = Result.getOrThrow(bind(signature, [], { k, q }))
    expect(bound.values).toEqual([q, k])
    expect(bound.sizes).toEqual({ B: 1, T: 7, S: 0 })
  })

  it("solves a polynomial for its one unknown and checks the others", () => {
    const parameters = [
      parameter("past", "f32", ["P"]),
      parameter("all", "f32", [Dim.add(Dim.symbol("P"), Dim.symbol("T"))])
    ]
    const bound = Result.getOrThrow(bind(parameters, [], { past: f32(3), all: f32(5) }))
    expect(bound.sizes).toEqual({ P: 3, T: 2 })
    const short = bind(parameters, [], { past: f32(3), all: f32(2) })
    expect(Result.isFailure(short) && short.failure.message).toContain("does not determine P + T")
  })

  it("names an input that is missing, unknown, of another dtype or rank", () => {
    expect(message({ q: f32(1, 8, 1, 4) })).toBe('input "k" is missing')
    expect(message({ q: f32(1, 8, 1, 4), k: f32(1, 2, 1, 4), kk: 1 })).toContain('no input "kk"')
    const halves = { dtype: "f16", shape: [1, 2, 1, 4], data: new Uint16Array(8) }
    expect(message({ q: f32(1, 8, 1, 4), k: halves })).toContain("f32[B, 2, S, 4], given f16[1, 2, 1, 4]")
    expect(message({ q: f32(1, 8, 4), k: f32(1, 2, 1, 4) })).toContain("another rank")
  })

  it("says where a symbol got its other size", () => {
    expect(message({ q: f32(1, 8, 1, 4), k: f32(3, 2, 1, 4) })).toBe(
      'axis 0 of "k" is 3, but B is 1: B = 1 from axis 0 of "q"'
    )
    expect(message({ q: f32(1, 9, 1, 4), k: f32(1, 2, 1, 4) })).toBe(
      'axis 1 of "q" is 9, but the signature says 8'
    )
  })

  it("reports every mistake of a call", () => {
    const text = message({ q: f32(1, 9, 1, 4), k: f32(3, 2, 1, 4), z: 0 })
    expect(text.split("\n")).toHaveLength(3)
  })

  it("refuses what is not a tensor", () => {
    const k = f32(1, 2, 1, 4)
    expect(message({ q: null, k })).toContain("not a tensor")
    expect(message({ q: 3, k })).toContain("number is not a tensor")
    expect(message({ q: { dtype: "f8", shape: [], data: [] }, k })).toContain('unknown dtype "f8"')
    expect(message({ q: { ...f32(1, 8, 1, 4), shape: [1, 8, -1, 4] }, k })).toContain("sizes of 0 or more")
    expect(message({ q: { ...f32(1, 8, 1, 4), data: new Float32Array(3) }, k })).toContain("which holds 32")
    expect(message({ q: { ...f32(1, 8, 1, 4), data: [1, 2] }, k })).toContain("Float32Array")
    const doubles = bind(signature, [], { q: { ...f32(1, 8, 1, 4), data: new Float64Array(32) }, k })
    expect(Result.isFailure(doubles) && doubles.failure.message).toMatch(
      /not Float64Array\n {2}try: build it[^\n]*$/
    )
  })

  it("checks what shape rules assumed, with the names of the symbols", () => {
    const constraint: Shape.Constraint = {
      left: Dim.symbol("T"),
      relation: "=",
      right: Dim.symbol("S"),
      reason: "dot: contracts lhs axis 3 with rhs axis 2"
    }
    const given = { q: f32(1, 8, 5, 4), k: f32(1, 2, 6, 4) }
    expect(message(given, [constraint])).toBe(
      'dot: contracts lhs axis 3 with rhs axis 2: T (5) is not S (6); T = 5 from axis 2 of "q", S = 6 from axis 2 of "k"'
    )
    expect(Result.isSuccess(bind(signature, [{ ...constraint, relation: "<=" }], given))).toBe(true)
    const placed = bind(signature, [{ ...constraint, at: { file: "a.ts", line: 7, column: 2 } }], given)
    expect(Result.isFailure(placed) && placed.failure.message).toContain(
      "written at a.ts:7:2\n  try: pass inputs"
    )
  })
})

describe("binding call after call", () => {
  const bound = binder(signature, [])
  const ask = (given: { readonly [name: string]: unknown }) => {
    const [one, other] = [bound(given), bind(signature, [], given)]
    expect(one).toEqual(other)
    return one
  }
  const [q, k] = [f32(1, 8, 5, 4), f32(1, 2, 6, 4)]

  it("gives what binding each gives: sizes as before, others, mistakes in between, and as before again", () => {
    const calls: ReadonlyArray<{ readonly [name: string]: unknown }> = [
      { q, k },
      { k: f32(1, 2, 6, 4), q: f32(1, 8, 5, 4) },
      { q, k: f32(1, 2, 0, 4) },
      { q: f32(2, 8, 5, 4), k },
      { q },
      { q, k, extra: k },
      { q, kk: k },
      { q: { ...q, dtype: "f16", data: new Uint16Array(160) }, k },
      { q: { ...q, data: new Float32Array(3) }, k },
      { q: f32(8, 5, 4), k },
      { q: undefined, k },
      { q, k }
    ]
    const right = calls.map((given) => Result.isSuccess(ask({ q, k })) && Result.isSuccess(ask(given)))
    expect(right).toEqual([true, true, true, ...Array.from({ length: 8 }, () => false), true])
    for (const given of [null, 7, undefined]) expect(ask(given as never)._tag).toBe("Failure")
  })

  it("keeps no array of the caller's: its shape may change", () => {
    const shape = [1, 2, 6, 4]
    ask({ q, k: { ...k, shape } })
    shape[2] = 3
    const changed = { ...f32(1, 2, 3, 4), shape }
    expect(Result.getOrThrow(ask({ q, k: changed })).sizes).toEqual({ B: 1, T: 5, S: 3 })
  })
})
