import { describe, expect, test } from "vitest"
import type * as Dim from "../../../ir/Dim.ts"
import * as Graph from "../../../ir/Graph.ts"
import { portable } from "../../../ir/Limits.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { graphOf } from "../../support/evaluate.ts"
import { fusedKernels } from "../../support/fusedKernels.ts"

const sizes: Dim.Bindings = { B: 2, T: 3, S: 2 }

/** What each kernel is around, in order; the graph is checked and gives what it gave. */
const kernels = (lines: string, twinProducts = true): ReadonlyArray<string> =>
  fusedKernels(
    `graph {
    %x: f32[B, T, 6] = input {name = "x"}
    %w: f32[6, 24] = input {name = "w"}
    %c: f32[T, 4] = input {name = "c"}
    %g: f32[8] = input {name = "g"}
    %p: f32[B, T, 24] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [2], rhsContract = [0]}
    ${lines}
  }`,
    sizes,
    { twinProducts }
  )

const heads = `
  %r: f32[B, T, 3, 8] = reshape %p
  %h: f32[B, 3, T, 8] = transpose %r {perm = [0, 2, 1, 3]}`

const slice = (name: string, of: string, [start, stop, step = 1]: ReadonlyArray<number>): string => {
  const size = Math.ceil(((stop as number) - (start as number)) / step)
  return `%${name}: f32[B, 3, T, ${size}] = slice %${of} {starts = [0, 0, 0, ${start}], stops = [B, 3, T, ${stop}], steps = [1, 1, 1, ${step}]}`
}

const halves = (of = "h"): string => `${slice("a", of, [0, 4])}
  ${slice("b", of, [4, 8])}`

const mixed = `
  %ac: f32[B, 3, T, 4] = mul %a, %c
  %bc: f32[B, 3, T, 4] = mul %b, %c
  %u: f32[B, 3, T, 4] = sub %ac, %b
  %v: f32[B, 3, T, 4] = add %bc, %a`

const joined = `
  %o: f32[B, 3, T, 8] = concat %u, %v {axis = 3}`

describe("a contraction whose columns are read in two parts is two, side by side", () => {
  const spellings: ReadonlyArray<readonly [name: string, lines: string]> = [
    ["halves of heads", `${heads}${halves()}${mixed}${joined} return %o`],
    [
      "halves before heads move, and more after they meet",
      `%h: f32[B, T, 3, 8] = reshape %p
       %a: f32[B, T, 3, 4] = slice %h {starts = [0, 0, 0, 0], stops = [B, T, 3, 4], steps = [1, 1, 1, 1]}
       %b: f32[B, T, 3, 4] = slice %h {starts = [0, 0, 0, 4], stops = [B, T, 3, 8], steps = [1, 1, 1, 1]}
       %n: f32[B, T, 3, 4] = neg %b
       %o: f32[B, T, 3, 8] = concat %n, %a {axis = 3}
       %s: f32[B, T, 3, 8] = mul %o, %o
       %t: f32[B, 3, T, 8] = transpose %s {perm = [0, 2, 1, 3]}
       return %t`
    ],
    [
      "a bias and an activation before",
      `%i: f32[24] = input {name = "bias"}
       %q: f32[B, T, 24] = add %p, %i
       %p2: f32[B, T, 24] = sigmoid %q
       ${heads.replace("%p", "%p2")}${halves()}${mixed}${joined} return %o`
    ],
    [
      "heads times something, plus heads with halves exchanged times something",
      `${heads}${halves()}
       %n: f32[B, 3, T, 4] = neg %b
       %e: f32[B, 3, T, 8] = concat %n, %a {axis = 3}
       %hg: f32[B, 3, T, 8] = mul %h, %g
       %o: f32[B, 3, T, 8] = add %hg, %e
       return %o`
    ],
    [
      "neighbours, put together again by a reshape",
      `${heads}
       ${slice("a", "h", [0, 8, 2])}
       ${slice("b", "h", [1, 8, 2])}${mixed}
       %u1: f32[B, 3, T, 4, 1] = reshape %u
       %v1: f32[B, 3, T, 4, 1] = reshape %v
       %uv: f32[B, 3, T, 4, 2] = concat %u1, %v1 {axis = 4}
       %o: f32[B, 3, T, 8] = reshape %uv
       return %o`
    ],
    [
      "neighbours found by a reshape, exchanged and added to what they were",
      `${heads}
       %y: f32[B, 3, T, 4, 2] = reshape %h
       %y0: f32[B, 3, T, 4, 1] = slice %y {starts = [0, 0, 0, 0, 0], stops = [B, 3, T, 4, 1], steps = [1, 1, 1, 1, 1]}
       %y1: f32[B, 3, T, 4, 1] = slice %y {starts = [0, 0, 0, 0, 1], stops = [B, 3, T, 4, 2], steps = [1, 1, 1, 1, 1]}
       %n: f32[B, 3, T, 4, 1] = neg %y1
       %e: f32[B, 3, T, 4, 2] = concat %n, %y0 {axis = 4}
       %e1: f32[B, 3, T, 8] = reshape %e
       %o: f32[B, 3, T, 8] = add %h, %e1
       return %o`
    ],
    [
      "halves found by a reshape, one exchanged, one as it is",
      `%y: f32[B, T, 3, 2, 4] = reshape %p
       %y0: f32[B, T, 3, 1, 4] = slice %y {starts = [0, 0, 0, 0, 0], stops = [B, T, 3, 1, 4], steps = [1, 1, 1, 1, 1]}
       %a: f32[B, T, 3, 4] = reshape %y0
       %h: f32[B, T, 3, 8] = reshape %p
       %b: f32[B, T, 3, 4] = slice %h {starts = [0, 0, 0, 4], stops = [B, T, 3, 8], steps = [1, 1, 1, 1]}
       %o: f32[B, T, 3, 8] = concat %b, %a {axis = 3}
       return %o`
    ],
    [
      "the halves of a packed gated layer",
      `%a: f32[B, T, 12] = slice %p {starts = [0, 0, 0], stops = [B, T, 12], steps = [1, 1, 1]}
       %b: f32[B, T, 12] = slice %p {starts = [0, 0, 12], stops = [B, T, 24], steps = [1, 1, 1]}
       %s: f32[B, T, 12] = sigmoid %a
       %o: f32[B, T, 12] = mul %s, %b
       return %o`
    ]
  ]
  test.each(spellings)("%s", (_, lines) => {
    expect(kernels(lines)).toEqual(["dot dot"])
    expect(kernels(lines, false)).toEqual(["dot", "map"])
  })
})

const exchanged = `
  %n: f32[B, 3, T, 2] = neg %b
  %o: f32[B, 3, T, 8] = concat`

describe("what passes is a contraction beside the two of what turns", () => {
  const parts = `${heads}
    ${slice("a", "h", [0, 2])}
    ${slice("b", "h", [2, 4])}
    ${slice("d", "h", [4, 8])}`
  const spellings: ReadonlyArray<readonly [name: string, lines: string]> = [
    ["behind it", `${parts}${exchanged} %n, %a, %d {axis = 3} return %o`],
    ["before it", `${parts}${exchanged} %d, %n, %a {axis = 3} return %o`],
    [
      "behind a concat of its own, and more follows",
      `${parts}
       %n: f32[B, 3, T, 2] = neg %b
       %t: f32[B, 3, T, 4] = concat %n, %a {axis = 3}
       %o: f32[B, 3, T, 8] = concat %t, %d {axis = 3}
       %e: f32[B, 3, T, 8] = exp %o
       %m: f32[B, T, 3, 8] = transpose %e {perm = [0, 2, 1, 3]}
       return %m`
    ],
    [
      "heads times something plus heads with halves exchanged, of the first half of a head",
      `${heads}
       ${slice("y", "h", [0, 4])}
       ${slice("d", "h", [4, 8])}
       %a: f32[B, 3, T, 2] = slice %y {starts = [0, 0, 0, 0], stops = [B, 3, T, 2], steps = [1, 1, 1, 1]}
       %b: f32[B, 3, T, 2] = slice %y {starts = [0, 0, 0, 2], stops = [B, 3, T, 4], steps = [1, 1, 1, 1]}
       %n: f32[B, 3, T, 2] = neg %b
       %e: f32[B, 3, T, 4] = concat %n, %a {axis = 3}
       %yc: f32[B, 3, T, 4] = mul %y, %c
       %u: f32[B, 3, T, 4] = add %yc, %e
       %o: f32[B, 3, T, 8] = concat %u, %d {axis = 3}
       return %o`
    ],
    [
      "every second of the last half of a head",
      `${heads}
       ${slice("d", "h", [0, 4])}
       ${slice("a", "h", [4, 8, 2])}
       ${slice("b", "h", [5, 8, 2])}
       %n: f32[B, 3, T, 2] = neg %b
       %a1: f32[B, 3, T, 2, 1] = reshape %a
       %n1: f32[B, 3, T, 2, 1] = reshape %n
       %na: f32[B, 3, T, 2, 2] = concat %n1, %a1 {axis = 4}
       %t: f32[B, 3, T, 4] = reshape %na
       %o: f32[B, 3, T, 8] = concat %d, %t {axis = 3}
       return %o`
    ]
  ]
  test.each(spellings)("%s", (_, lines) => {
    expect(kernels(lines)).toEqual(["dot dot dot"])
    expect(kernels(lines, false)).toEqual(["dot", "map"])
  })

  test("and parts of other sizes are two contractions of one kernel", () => {
    const lines = `${heads}
      ${slice("a", "h", [0, 3])}
      ${slice("b", "h", [3, 8])}
      %n: f32[B, 3, T, 3] = neg %a
      %o: f32[B, 3, T, 8] = concat %b, %n {axis = 3}
      return %o`
    expect(kernels(lines)).toEqual(["dot dot"])
  })

  test("and what turns by angles of its own is two more", () => {
    const lines = `${heads}
      ${slice("a", "h", [0, 2])}
      ${slice("b", "h", [2, 4])}
      ${slice("d", "h", [4, 6])}
      ${slice("e", "h", [6, 8])}
      %u: f32[B, 3, T, 2] = sub %a, %b
      %v: f32[B, 3, T, 2] = add %a, %b
      %y: f32[B, 3, T, 2] = mul %d, %e
      %z: f32[B, 3, T, 2] = min %d, %e
      %o: f32[B, 3, T, 8] = concat %u, %v, %y, %z {axis = 3}
      return %o`
    expect(kernels(lines)).toEqual(["dot dot dot dot"])
  })
})

describe("packed contractions are one for each of those who read a part", () => {
  const part = (name: string, start: number, stop: number) =>
    `%${name}: f32[B, T, ${stop - start}] = slice %p {starts = [0, 0, ${start}], stops = [B, T, ${stop}], steps = [1, 1, 1]}`
  const half = (name: string, start: number) =>
    `%${name}: f32[B, 2, T, 2] = slice %qh {starts = [0, 0, 0, ${start}], stops = [B, 2, T, ${start + 2}], steps = [1, 1, 1, 1]}`
  const turned = `
    ${part("q", 0, 8)}
    %qr: f32[B, T, 2, 4] = reshape %q
    %qh: f32[B, 2, T, 4] = transpose %qr {perm = [0, 2, 1, 3]}
    ${half("a", 0)}
    ${half("b", 2)}
    %n: f32[B, 2, T, 2] = neg %b
    %o: f32[B, 2, T, 4] = concat %n, %a {axis = 3}`

  test("where one of them computes", () => {
    expect(kernels(`${turned} ${part("v", 8, 24)} return "q": %o, "v": %v`)).toEqual(["dot dot", "dot"])
  })

  test("where keys come behind others", () => {
    const lines = `${turned} ${part("v", 8, 24)}
      %past: f32[B, 2, S, 4] = input {name = "past"}
      %k: f32[B, 2, S + T, 4] = concat %past, %o {axis = 2}
      return "k": %k, "v": %v`
    expect(kernels(lines)).toEqual(["dot dot", "map", "dot"])
  })

  test("where heads lie in groups that do not divide the whole", () => {
    const lines = `
      ${part("q", 4, 16)}
      %qr: f32[B, T, 3, 2, 2] = reshape %q
      %e: f32[B, T, 3, 2, 2] = exp %qr
      ${part("v", 16, 24)}
      return "q": %e, "v": %v`
    expect(kernels(lines)).toEqual(["dot", "dot"])
  })

  test("where they are results", () => {
    expect(kernels(`${part("q", 0, 8)} ${part("v", 8, 24)} return "q": %q, "v": %v`)).toEqual(["dot", "dot"])
  })

  test("not where all of them are views, which fold into who reads them", () => {
    const lines = `${part("q", 0, 8)} ${part("v", 8, 24)}
      %m: f32[B, T] = reduce_max %q {axes = [2]}
      %n: f32[B, T] = reduce_max %v {axes = [2]}
      return "m": %m, "n": %n`
    expect(kernels(lines)).toEqual(["dot", "reduce_max", "reduce_max"])
  })

  test("not where two of them need the same columns", () => {
    const lines = `${turned} ${part("v", 4, 24)} return "q": %o, "v": %v`
    expect(kernels(lines)).toEqual(["dot", "map", "map"])
  })

  test("not where somebody reads all of it", () => {
    const lines = `${turned} %v: f32[B, T, 24] = exp %p return "q": %o, "v": %v`
    expect(kernels(lines)).toEqual(["dot", "map", "map"])
  })
})

describe("a contraction stays whole", () => {
  const others: ReadonlyArray<readonly [why: string, lines: string, made: ReadonlyArray<string>]> = [
    [
      "where somebody else reads the product",
      `${heads}${halves()}${mixed}${joined}
       %e: f32[B, T, 24] = exp %p
       return "o": %o, "e": %e`,
      ["dot", "map", "map"]
    ],
    [
      "where it is a result itself",
      `${heads}${halves()}${mixed}${joined} return "o": %o, "p": %p`,
      ["dot", "map"]
    ],
    [
      "where a norm of heads stands between",
      `${heads}
       %k: f32[B, 3, T, 8] = rms_norm %h {axis = 3, epsilon = 0.001}
       ${halves("k")}${mixed}${joined} return %o`,
      ["dot", "rms_norm", "map"]
    ],
    [
      "where parts of two heads meet",
      `${heads}
       %a: f32[B, 1, T, 8] = slice %h {starts = [0, 0, 0, 0], stops = [B, 1, T, 8], steps = [1, 1, 1, 1]}
       %b: f32[B, 2, T, 8] = slice %h {starts = [0, 1, 0, 0], stops = [B, 3, T, 8], steps = [1, 1, 1, 1]}
       %o: f32[B, 2, T, 8] = add %a, %b
       return %o`,
      ["dot", "map"]
    ],
    [
      "where parts are of rows",
      `%y: f32[4, 6] = input {name = "y"}
       %z: f32[4, 24] = dot %y, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
       %a: f32[2, 24] = slice %z {starts = [0, 0], stops = [2, 24], steps = [1, 1]}
       %b: f32[2, 24] = slice %z {starts = [2, 0], stops = [4, 24], steps = [1, 1]}
       %o: f32[2, 24] = mul %a, %b
       return %o`,
      ["dot", "map"]
    ],
    [
      "where a third part passes",
      `${heads}
       ${slice("a", "h", [0, 4])}
       ${slice("b", "h", [2, 6])}
       ${slice("d", "h", [4, 8])}
       %u: f32[B, 3, T, 4] = add %a, %b
       %o: f32[B, 3, T, 4] = mul %u, %d
       return %o`,
      ["dot", "map"]
    ],
    [
      "where elements of one part change places",
      `${heads}${halves()}
       ${slice("d", "h", [7, 8])}
       %u: f32[B, 3, T, 4] = mul %a, %d
       %o: f32[B, 3, T, 8] = concat %u, %b {axis = 3}
       return %o`,
      ["dot", "map"]
    ]
  ]
  test.each(others)("%s", (_, lines, made) => {
    expect(kernels(lines)).toEqual(made)
  })
})

test("what the parts are is seen in the text of the kernel", () => {
  const graph = graphOf(`graph {
    %x: f32[T, 6] = input {name = "x"}
    %w: f32[24, 6] = input {name = "w"}
    %p: f32[T, 24] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [1]}
    %h: f32[T, 3, 8] = reshape %p
    %a: f32[T, 3, 4] = slice %h {starts = [0, 0, 0], stops = [T, 3, 4], steps = [1, 1, 1]}
    %b: f32[T, 3, 4] = slice %h {starts = [0, 0, 4], stops = [T, 3, 8], steps = [1, 1, 1]}
    %o: f32[T, 3, 8] = concat %b, %a {axis = 2}
    return %o
  }`)
  const limits = { ...portable, twinProducts: true }
  const { graph: fused } = fuseElementwise.run(graph, { limits, donated: new Set(), count: () => {} })
  const [kernel] = fused.nodes.filter((n) => n.op === "fused")
  expect(kernel?.attrs.body.nodes.flatMap((n) => (n.op === "input" ? [] : [n.op]))).toEqual([
    "reshape",
    "slice",
    "dot",
    "slice",
    "dot",
    "concat"
  ])
  expect(Graph.symbols(fused)).toEqual(["T"])
})
