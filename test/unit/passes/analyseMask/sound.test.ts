import { Result } from "effect"
import { expect, test } from "vitest"
import * as Graph from "../../../../ir/Graph.ts"
import * as HostArray from "../../../../ir/HostArray.ts"
import * as Verify from "../../../../ir/Verify.ts"
import { analyseMask } from "../../../../passes/analyseMask.ts"
import { fuseElementwise } from "../../../../passes/fuseElementwise.ts"
import { classifyMask } from "../../../../passes/mask/classify.ts"
import { randomMask } from "../../../support/randomMask.ts"
import {
  analysed,
  attention,
  type Capture,
  constant,
  context,
  eachBlock,
  evaluate,
  flashOf,
  i32,
  load,
  sound
} from "./blocks.ts"

const partly: ReadonlyArray<readonly [string, string, string, ReadonlyArray<Capture>]> = [
  [
    "a dilated window is bounded by the window",
    `${constant("w", 2)}\n${constant("two", 2)}\n${constant("z", 0)}
     %d: i32[] = sub %i, %j
     %a: i32[] = abs %d
     %e: bool[] = le %a, %w
     %r: i32[] = mod %d, %two
     %s: bool[] = eq %r, %z
     %m: bool[] = and %e, %s`,
    "window of 2 on both sides and every 2 positions",
    []
  ],
  [
    "documents within causal are bounded by causal",
    `%x: i32[] = load %c0, %i
     %y: i32[] = load %c0, %j
     %e: bool[] = eq %x, %y
     %c: bool[] = le %j, %i
     %m: bool[] = and %c, %e`,
    "causal and same document",
    [i32("i32[N]", [7], [0, 0, 1, 1, 1, 2, 2])]
  ]
]

test.each(partly)("%s", (_, lines, words, captures) => {
  const node = analysed(attention(lines, captures))
  const sizes = { B: 1, T: 7, S: 7, N: 7 }
  expect(classifyMask(node.attrs.mask as Graph.Graph)).toBe(words)
  let skipped = 0
  eachBlock(node, captures, sizes, [[0, 0]], (found, some, every, at) => {
    expect(sound(found, some, every, 7), at).toBe(true)
    expect(found[3], at).toBe(found[2])
    skipped += 7 - ((found[1] as number) - (found[0] as number))
  })
  expect(skipped).toBeGreaterThan(30)
})

test("says nothing about a captured mask: any key may be visible, none certainly is", () => {
  const mask = {
    type: "bool[T, S]",
    value: HostArray.fromNumbers(
      "bool",
      [3, 4],
      Float64Array.from({ length: 12 }, (_, i) => i % 2)
    )
  }
  const node = analysed(attention("%m: bool[] = load %c0, %i, %j", [mask]))
  expect(classifyMask(node.attrs.mask as Graph.Graph)).toBe("tensor mask")
  eachBlock(node, [mask], { B: 1, T: 3, S: 4 }, [[0, 0]], ([lo, hi, fullLo, fullHi]) => {
    expect([lo, hi, (fullHi as number) - (fullLo as number)]).toEqual([0, 4, 0])
  })
})

test("is sound for random masks", () => {
  let exact = 0
  let blocks = 0
  for (let seed = 0; seed < 150; seed++) {
    const captures = [i32("i32[B]", [1], [seed % 5]), i32("i32[N]", [6], [0, 2, 1, 3, 5, 4])]
    const lines = randomMask(seed)
    const node = analysed(attention(lines, captures))
    const sizes = { B: 1, T: 1 + (seed % 4), S: 1 + (seed % 6), N: 6 }
    eachBlock(node, captures, sizes, [[0, seed % 2]], (found, some, every, at) => {
      expect(sound(found, some, every, sizes.S), `seed ${seed}, ${at}\n${lines}`).toBe(true)
      blocks++
      if ((found[1] as number) - (found[0] as number) === some.length) exact++
    })
  }
  // Not a promise, but a sign that the masks are neither all trivial nor all unknown.
  expect(exact / blocks).toBeGreaterThan(0.4)
})

test("is sound for lengths and offsets near the ends of i32", () => {
  for (const value of [2 ** 31 - 1, -(2 ** 31), 2 ** 30, -(2 ** 30)]) {
    const captures = [i32("i32[B]", [1], [value])]
    for (const lines of [
      `${load}\n%m: bool[] = lt %j, %n`,
      `${load}\n%d: i32[] = sub %i, %j\n%m: bool[] = lt %d, %n`,
      `${load}\n%d: i32[] = sub %j, %i\n%m: bool[] = le %d, %n`,
      `${constant("n", value)}\n%d: i32[] = sub %i, %j\n%m: bool[] = lt %d, %n`,
      `${constant("n", value)}\n%d: i32[] = sub %j, %i\n%m: bool[] = ge %d, %n`
    ]) {
      const node = analysed(attention(lines, captures))
      eachBlock(node, captures, { B: 1, T: 3, S: 3 }, [[0, 0]], (found, some, every, at) => {
        expect(sound(found, some, every, 3), `${at}\n${lines} ${value}`).toBe(true)
      })
    }
  }
})

test("bounds the keys that the mask shows, whatever the score of the others", () => {
  const node = analysed(attention("%m: bool[] = ge %i, %j", [], "-1e9"))
  const found = evaluate(node.attrs.range as Graph.Graph, [0, 0, 2, 3], [], { T: 8, S: 8 })
  expect(found).toEqual([0, 4, 0, 3])
})

test("works inside kernels, leaves a graph that verifies, changes nothing twice, and says what it found", () => {
  const graph = attention("%m: bool[] = ge %i, %j")
  const kernels = fuseElementwise.run(graph, context).graph
  const once = analyseMask.run(kernels, context)
  expect(Result.isSuccess(Verify.graph(once.graph))).toBe(true)
  expect(once.diagnostics.map((d) => d.nearest)).toEqual(["causal"])
  const body = once.graph.nodes.find((n) => n.op === "fused")?.attrs
  expect(body !== undefined && "body" in body && flashOf(body.body).attrs.range).toBeDefined()
  expect(Graph.equals(analyseMask.run(once.graph, context).graph, once.graph)).toBe(true)
})

test("gives up quietly on a mask of twenty thousand conditions", () => {
  const terms = Array.from(
    { length: 20_000 },
    (_, n) =>
      `${constant(`k${n}`, n)}\n%e${n}: bool[] = eq %j, %k${n}\n%o${n}: bool[] = or %o${n - 1}, %e${n}`
  )
  const lines = ["%o-1: bool[] = ge %i, %j".replace("-1", "_"), ...terms].join("\n").replaceAll("%o-1", "%o_")
  const node = analysed(attention(`${lines}\n%m: bool[] = not %o19999`))
  expect(node.attrs.range?.nodes.length).toBeLessThan(1000)
})
