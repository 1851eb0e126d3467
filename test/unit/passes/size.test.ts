import { describe, expect, test } from "vitest"
import { nodesOf, through, toFusion } from "../../support/fusing.ts"
import type { N } from "../../support/spell.ts"
import * as s from "../../support/spell.ts"

describe("large graphs", () => {
  test("scores that go through thousands of steps", () => {
    const [q, k, v] = [s.input("q", ["T", 8]), s.input("k", ["S", 8]), s.input("v", ["S", 8])]
    let x: N = s.matmul(q, s.swap(k))
    for (let n = 0; n < 1500; n++) x = s.add(s.op("tanh", x), s.input(`bias${n % 5}`, ["T", "S"]))
    const { graph } = through(s.graph(s.matmul(s.softmax(x), v)), ...toFusion)
    expect(nodesOf(graph, "flash_attention").length).toBe(1)
  })

  test("queries behind thousands of views and steps", () => {
    const [k, v] = [s.input("k", ["S", 8]), s.input("v", ["S", 8])]
    let q: N = s.input("q", ["T", 8])
    for (let n = 0; n < 1500; n++) q = s.swap(s.op("tanh", s.swap(q)))
    const { graph } = through(s.graph(s.matmul(s.softmax(s.matmul(q, s.swap(k))), v)), ...toFusion)
    expect(nodesOf(graph, "flash_attention").length).toBe(1)
  })

  test("a model of many layers, each of which fuses", () => {
    const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.iota("T"))
    let x: N = s.input("x", ["B", "T", 32])
    for (let layer = 0; layer < 40; layer++) {
      const heads = (name: string, count: number): N => {
        const w = s.input(`${name}${layer}`, [32, count * 8])
        return s.permute(s.reshape(s.einsum("btd,de->bte", x, w), ["B", "T", count, 8]), 0, 2, 1, 3)
      }
      const [q, k, v] = [heads("q", 4), s.repeatHeads(heads("k", 2), 2), s.repeatHeads(heads("v", 2), 2)]
      const scores = s.select(causal, s.mul(s.matmul(q, s.swap(k)), s.constant(0.3)), s.constant(-Infinity))
      x = s.add(x, s.reshape(s.permute(s.matmul(s.softmax(scores), v), 0, 2, 1, 3), ["B", "T", 32]))
    }
    const { graph, diagnostics } = through(s.graph(x), ...toFusion)
    expect(nodesOf(graph, "flash_attention").length).toBe(40)
    expect(diagnostics.every((d) => d.outcome === "fused")).toBe(true)
  })
})
