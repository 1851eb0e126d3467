import { expect, test } from "vitest"
import * as Print from "../../../ir/Print.ts"
import { canonicalize } from "../../../passes/canonicalize.ts"
import { expectSameValue, through } from "../../support/fusing.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

const sizes = { B: 2, S: 3 }
const k = s.input("k", ["B", 4, "S", 2])
const other = s.input("other", ["B", 4, "S", 3])

/** How often a rule about repeats fires; the value stays. */
const fired = (out: N): number => {
  const before = s.graph(out)
  const { graph, counts } = through(before, canonicalize)
  expectSameValue(before, graph, sizes)
  return (counts.get("slice-of-repeat") ?? 0) + (counts.get("concat-of-repeats") ?? 0)
}

const repeated = s.repeatHeads(k, 3)

test("heads of whole groups are taken before they are repeated", () => {
  const { graph } = through(s.graph(s.slice(repeated, 1, 3, 9)), canonicalize)
  expect(Print.graph(graph)).toContain("f32[B, 2, 1, S, 2] = slice")
  expect(fired(s.slice(repeated, 1, 3, 9))).toBe(1)
})

test("heads that begin or end within a group are not", () => {
  expect(fired(s.slice(repeated, 1, 2, 9))).toBe(0)
  expect(fired(s.slice(repeated, 1, 3, 8))).toBe(0)
})

test("positions are not heads", () => {
  expect(fired(s.slice(s.slice(repeated, 3, 0, 1), 1, 3, 9))).toBe(0)
  expect(fired(s.slice(repeated, 3, 1, 2))).toBe(0)
})

test("heads that are one head stretched have no parts", () => {
  const one = s.reshape(s.input("one", ["B", "S", 2]), ["B", 1, 1, "S", 2])
  expect(fired(s.slice(s.reshape(s.broadcast(one, ["B", 4, 3, "S", 2]), ["B", 12, "S", 2]), 1, 3, 9))).toBe(0)
})

test("a fold of other axes is no repeat", () => {
  const wide = s.broadcast(s.reshape(k, ["B", 4, 1, "S", 2]), ["B", 4, 3, "S", 2])
  expect(fired(s.slice(s.reshape(wide, ["B", 4, 3, 2, "S"]), 1, 0, 2))).toBe(0)
  expect(fired(s.slice(s.reshape(s.permute(wide, 0, 2, 1, 3, 4), ["B", 12, "S", 2]), 1, 3, 9))).toBe(0)
})

test("repeats are joined along features, not along heads or by other numbers of times", () => {
  expect(fired(s.concat(3, repeated, s.repeatHeads(other, 3)))).toBe(1)
  expect(fired(s.concat(1, repeated, repeated))).toBe(0)
  const six = s.repeatHeads(s.slice(other, 1, 0, 2), 6)
  expect(fired(s.concat(3, repeated, six))).toBe(0)
})

test("features that are one feature stretched are not joined", () => {
  const thin = s.reshape(s.input("thin", ["B", 4, "S"]), ["B", 4, 1, "S", 1])
  const stretched = s.reshape(s.broadcast(thin, ["B", 4, 3, "S", 2]), ["B", 12, "S", 2])
  expect(fired(s.concat(3, repeated, stretched))).toBe(0)
})
