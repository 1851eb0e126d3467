import { describe, expect, test } from "vitest"
import * as Print from "../../../ir/Print.ts"
import { unexpandHeads } from "../../../passes/unexpandHeads.ts"
import { expectSameValue, isViewOfInput, nodesOf, through } from "../../support/fusing.ts"
import { q, sizes } from "../../support/heads.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

const k = s.input("k", ["B", 2, "S", 8])
const slices = (order: ReadonlyArray<number>) => s.concat(1, ...order.map((h) => s.slice(k, 1, h, h + 1)))

describe("a contraction with expanded heads reads the heads there are", () => {
  const ways: { readonly [name: string]: N } = {
    "broadcast and reshape": s.repeatHeads(k, 2),
    tile: s.concat(1, k, k),
    "slices in order": slices([0, 0, 1, 1]),
    "slices interleaved": slices([0, 1, 0, 1]),
    gather: s.gather(k, s.constants([0, 0, 1, 1]), 1),
    "gather at computed heads": s.gather(k, s.op("mod", s.iota(4), s.constant(2, "i32")), 1)
  }
  for (const [name, wide] of Object.entries(ways)) {
    test(name, () => {
      const before = s.graph({ scores: s.matmul(q, s.swap(wide)), swapped: s.matmul(wide, s.swap(q)) })
      const { graph, counts } = through(before, unexpandHeads)
      expect(counts.get("unexpand-heads")).toBe(2)
      for (const dot of nodesOf(graph, "dot")) {
        for (const operand of dot.operands) expect(isViewOfInput(operand), Print.graph(graph)).toBe(true)
      }
      expectSameValue(before, graph, sizes)
      // There is nothing left to unexpand.
      expect(through(graph, unexpandHeads).counts.size).toBe(0)
    })
  }
  test("values broadcast over the batch", () => {
    const w = s.broadcast(s.reshape(s.input("w", [8, 6]), [1, 1, 8, 6]), ["B", 4, 8, 6])
    const before = s.graph(s.matmul(q, w))
    const { graph } = through(before, unexpandHeads)
    expect(nodesOf(graph, "broadcast")).toEqual([])
    expectSameValue(before, graph, sizes)
  })
})

describe("what is not proven stays", () => {
  const kept: { readonly [name: string]: N } = {
    "heads in no order": s.matmul(q, s.swap(slices([1, 0, 0, 1]))),
    "heads chosen by data": s.matmul(q, s.swap(s.gather(k, s.input("heads", [4], "i32"), 1))),
    "no heads repeated": s.matmul(q, s.swap(s.input("k", ["B", 4, "S", 8]))),
    "both sides repeat": s.matmul(
      s.repeatHeads(s.input("q2", ["B", 2, "T", 8]), 2),
      s.swap(s.repeatHeads(k, 2))
    )
  }
  for (const [name, out] of Object.entries(kept)) {
    test(name, () => {
      const before = s.graph(out)
      const { graph, counts } = through(before, unexpandHeads)
      expect(counts.size).toBe(0)
      expectSameValue(before, graph, sizes)
    })
  }
})
