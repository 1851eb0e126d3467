import { describe, expect, test } from "vitest"
import type * as Dim from "../../ir/Dim.ts"
import * as Print from "../../ir/Print.ts"
import { canonicalize } from "../../passes/canonicalize.ts"
import { fuseAttention } from "../../passes/fuseAttention.ts"
import { normalizeMask } from "../../passes/normalizeMask.ts"
import { normalizeSoftmax } from "../../passes/normalizeSoftmax.ts"
import { unexpandHeads } from "../../passes/unexpandHeads.ts"
import { unfuseAttention } from "../../passes/unfuseAttention.ts"
import * as arrays from "../support/arrays.ts"
import { expectSameValue, nodesOf, randomInputs, through } from "../support/fusing.ts"
import { spelling } from "../support/spelling.ts"

/** Attention in any combination of spellings: one node, keys and values not expanded, the value of what was written. */
describe("random spellings", () => {
  for (let block = 0; block < 10; block++) {
    test(`block ${block}`, () => {
      for (let n = 0; n < 30; n++) {
        const from = arrays.random(1000 * block + n)
        const { graph: before, words } = spelling(from)
        const sizes: Dim.Bindings = { B: from.integer(1, 2), T: from.integer(1, 4), S: from.integer(1, 5) }
        const { graph, diagnostics } = through(
          before,
          canonicalize,
          normalizeSoftmax,
          normalizeMask,
          unexpandHeads,
          fuseAttention
        )
        expect(
          diagnostics.map((d) => d.failed ?? d.outcome),
          `${words}\n${Print.graph(graph)}`
        ).toEqual(["fused"])
        expect(
          ["softmax", "dot", "exp", "exp2"].flatMap((op) => nodesOf(graph, op as "exp")),
          words
        ).toEqual([])
        const inputs = randomInputs(before, sizes, block)
        try {
          expectSameValue(before, graph, sizes, inputs)
          expectSameValue(before, through(graph, unfuseAttention).graph, sizes, inputs)
        } catch (error) {
          throw new Error(`${words}\n${Print.graph(before)}\n${Print.graph(graph)}`, { cause: error })
        }
      }
    })
  }
})
