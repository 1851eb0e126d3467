import { expect } from "vitest"
import type * as Dim from "../../../../ir/Dim.ts"
import type { HostArray } from "../../../../ir/HostArray.ts"
import * as Print from "../../../../ir/Print.ts"
import { fuseAttention } from "../../../../passes/fuseAttention.ts"
import { unfuseAttention } from "../../../../passes/unfuseAttention.ts"
import { expectSameValue, isViewOfInput, nodesOf, through, toFusion } from "../../../support/fusing.ts"
import { sizes } from "../../../support/heads.ts"
import type { N } from "../../../support/spell.ts"
import * as s from "../../../support/spell.ts"

/** Exactly one attention node, no softmax and no contraction left, keys and values as the inputs hold them, and the same value. */
export const fuses = (out: N, at: Dim.Bindings = sizes, inputs?: ReadonlyArray<HostArray>) => {
  const before = s.graph(out)
  const { graph, diagnostics } = through(before, fuseAttention)
  expect(
    diagnostics.map((d) => d.failed ?? d.outcome),
    Print.graph(graph)
  ).toEqual(["fused"])
  const nodes = nodesOf(graph, "flash_attention")
  expect(nodes.length).toBe(1)
  expect([...nodesOf(graph, "softmax"), ...nodesOf(graph, "dot")]).toEqual([])
  const node = nodes[0] as (typeof nodes)[number]
  for (const operand of node.operands.slice(0, 3))
    expect(isViewOfInput(operand), Print.graph(graph)).toBe(true)
  expectSameValue(before, graph, at, inputs)
  // The passes before fusion neither help nor hinder.
  const whole = through(before, ...toFusion)
  expect(
    whole.diagnostics.map((d) => d.failed ?? d.outcome),
    Print.graph(whole.graph)
  ).toEqual(["fused"])
  expectSameValue(before, whole.graph, at, inputs)
  for (const n of nodesOf(whole.graph, "flash_attention")) {
    for (const operand of n.operands.slice(0, 3))
      expect(isViewOfInput(operand), Print.graph(whole.graph)).toBe(true)
  }
  const again = through(graph, unfuseAttention).graph
  expect(nodesOf(again, "flash_attention")).toEqual([])
  expectSameValue(before, again, at, inputs)
  // What the definition spells out is attention again.
  expect(nodesOf(through(again, fuseAttention).graph, "flash_attention").length).toBe(1)
  return { graph, node }
}

/** Two heads of keys and values, under the names that four have. */
export const k2 = s.input("k", ["B", 2, "S", 8])
export const v2 = s.input("v", ["B", 2, "S", 8])
export const half = s.constant(0.5)
export const scale = s.constant(0.25)
export const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.reshape(s.iota("S"), [1, "S"]))
