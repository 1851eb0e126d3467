import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type * as Dim from "../../../ir/Dim.ts"
import * as Graph from "../../../ir/Graph.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { portable } from "../../../ir/Limits.ts"
import type * as Node from "../../../ir/Node.ts"
import * as Verify from "../../../ir/Verify.ts"
import { analyseMask } from "../../../passes/analyseMask.ts"
import { fuseElementwise } from "../../../passes/fuseElementwise.ts"
import { classifyMask } from "../../../passes/mask/classify.ts"
import { graphOf } from "../../support/evaluate.ts"
import { randomMask } from "../../support/randomMask.ts"

const context = { limits: portable, donated: new Set<string>(), count: () => {} }

interface Capture {
  readonly type: string
  readonly value: HostArray.HostArray
}

/** Attention whose mask is written as lines over %b, %h, %i, %j and captures %c0, %c1, … and returns %m. */
const attention = (
  lines: string,
  captures: ReadonlyArray<Capture> = [],
  fill: string = "-inf"
): Graph.Graph => {
  const given = captures.map((c, n) => `%x${n}: ${c.type} = input {name = "x${n}"}`).join("\n")
  const taken = captures.map((c, n) => `%c${n}: ${c.type} = input {name = "c${n}"}`).join("\n")
  const index = (name: string): string => `%${name}: i32[] = input {name = "${name}"}`
  const positions = ["b", "h", "i", "j"].map(index).join("\n")
  const passed = captures.map((_, n) => `, %x${n}`).join("")
  return graphOf(`
    %q: f32[B, 2, T, 1] = input {name = "q"}
    %k: f32[B, 2, S, 1] = input {name = "k"}
    ${given}
    %r: f32[B, 2, T, 1] = flash_attention %q, %k, %k${passed} {
      score = {
        %l: f32[] = input {name = "logit"}
        ${positions}
        ${taken}
        return %l
      },
      mask = {
        ${positions}
        ${taken}
        ${lines}
        return %m
      },
      fill = ${fill}, output = "result"
    }
    return %r`)
}

type Flash = Node.NodeOf<"flash_attention">

const flashOf = (graph: Graph.Graph): Flash =>
  graph.nodes.find(
    (n): n is Extract<Node.Node, { op: "flash_attention" }> => n.op === "flash_attention"
  ) as Flash

const analysed = (graph: Graph.Graph): Flash => flashOf(analyseMask.run(graph, context).graph)

const scalar = (x: number): HostArray.HostArray => HostArray.fromNumbers("i32", [], Float64Array.of(x))

const evaluate = (
  region: Graph.Graph,
  positions: ReadonlyArray<number>,
  captures: ReadonlyArray<Capture>,
  sizes: Dim.Bindings
): ReadonlyArray<number> =>
  Reference.evaluate(region, [...positions.map(scalar), ...captures.map((c) => c.value)], sizes).map((r) =>
    Number(r.data[0])
  )

/** The mask of one head as a table of queries and keys, straight from its region. */
const table = (node: Flash, b: number, h: number, captures: ReadonlyArray<Capture>, sizes: Dim.Bindings) => {
  const mask = node.attrs.mask as Graph.Graph
  return Array.from({ length: sizes["T"] as number }, (_, i) =>
    Array.from(
      { length: sizes["S"] as number },
      (_, j) => evaluate(mask, [b, h, i, j], captures, sizes)[0] !== 0
    )
  )
}

/** Calls `look` with what the analysis and what the table say of every block of queries. */
const eachBlock = (
  node: Flash,
  captures: ReadonlyArray<Capture>,
  sizes: Dim.Bindings,
  heads: ReadonlyArray<readonly [b: number, h: number]>,
  look: (
    found: ReadonlyArray<number>,
    some: ReadonlyArray<number>,
    every: ReadonlyArray<number>,
    at: string
  ) => void
): void => {
  const [T, S] = [sizes["T"] as number, sizes["S"] as number]
  for (const [b, h] of heads) {
    const seen = table(node, b, h, captures, sizes)
    for (let first = 0; first < T; first++) {
      for (let last = first; last < T; last++) {
        const found = evaluate(node.attrs.range as Graph.Graph, [b, h, first, last], captures, sizes)
        const rows = seen.slice(first, last + 1)
        const keys = Array.from({ length: S }, (_, j) => j)
        const some = keys.filter((j) => rows.some((row) => row[j]))
        const every = keys.filter((j) => rows.every((row) => row[j]))
        look(found, some, every, `b ${b}, h ${h}, queries ${first}..${last} of ${T}, ${S} keys: ${found}`)
      }
    }
  }
}

const inOrder = ([lo, hi, fullLo, fullHi]: ReadonlyArray<number>, S: number): boolean =>
  [0 <= lo!, lo! <= hi!, hi! <= S, 0 <= fullLo!, fullLo! <= fullHi!, fullHi! <= S].every(Boolean)

const sound = (
  found: ReadonlyArray<number>,
  some: ReadonlyArray<number>,
  every: ReadonlyArray<number>,
  S: number
) => {
  const [lo, hi, fullLo, fullHi] = found as [number, number, number, number]
  const certain = Array.from({ length: fullHi - fullLo }, (_, n) => fullLo + n)
  return inOrder(found, S) && some.every((j) => lo <= j && j < hi) && certain.every((j) => every.includes(j))
}

const i32 = (type: string, shape: ReadonlyArray<number>, values: ReadonlyArray<number>): Capture => ({
  type,
  value: HostArray.fromNumbers("i32", shape, Float64Array.from(values))
})

const lengths = i32("i32[B]", [2], [3, 0])
const offset = i32("i32[]", [], [4])
const load = "%n: i32[] = load %c0, %b"

interface Listed {
  readonly name: string
  readonly lines: string
  readonly captures?: ReadonlyArray<Capture>
  /** What people are told. */
  readonly words: string
}

const constant = (name: string, value: number): string => `%${name}: i32[] = constant {values = [${value}]}`

/** Masks whose blocks the analysis finds exactly: no key block too many, none missing. */
const listed: ReadonlyArray<Listed> = [
  { name: "causal", lines: "%m: bool[] = ge %i, %j", words: "causal" },
  { name: "causal, the other way round", lines: "%m: bool[] = le %j, %i", words: "causal" },
  { name: "strictly causal", lines: "%m: bool[] = lt %j, %i", words: "at least 1 back" },
  {
    name: "causal as the opposite of the future",
    lines: "%f: bool[] = gt %j, %i\n%m: bool[] = not %f",
    words: "causal"
  },
  {
    name: "causal aligned to the last key",
    lines: "%o: i32[] = dim {value = S - T}\n%p: i32[] = add %i, %o\n%m: bool[] = ge %p, %j",
    words: "causal from an offset"
  },
  {
    name: "causal from a captured offset",
    lines: "%o: i32[] = load %c0\n%p: i32[] = add %i, %o\n%m: bool[] = le %j, %p",
    captures: [offset],
    words: "causal from offsets"
  },
  {
    name: "causal sliding window",
    lines: `${constant("w", 3)}
      %d: i32[] = sub %i, %j
      %e: bool[] = lt %d, %w
      %c: bool[] = ge %i, %j
      %m: bool[] = and %c, %e`,
    words: "causal and window of 3 keys"
  },
  {
    name: "window on both sides",
    lines: `${constant("w", 2)}\n%d: i32[] = sub %i, %j\n%a: i32[] = abs %d\n%m: bool[] = le %a, %w`,
    words: "window of 2 on both sides"
  },
  {
    name: "prefix or causal",
    lines: `${constant("n", 3)}\n%p: bool[] = lt %j, %n\n%c: bool[] = le %j, %i\n%m: bool[] = or %p, %c`,
    words: "prefix of 3 or causal"
  },
  {
    name: "chunks",
    lines: `${constant("n", 3)}
      %x: i32[] = floor_div %i, %n
      %y: i32[] = floor_div %j, %n
      %m: bool[] = eq %x, %y`,
    words: "chunks of 3"
  },
  {
    name: "causal by blocks",
    lines: `${constant("n", 2)}
      %x: i32[] = floor_div %i, %n
      %y: i32[] = floor_div %j, %n
      %m: bool[] = ge %x, %y`,
    words: "blocks of 2"
  },
  {
    name: "chunk from its first position, written with a remainder",
    lines: `${constant("n", 3)}
      %r: i32[] = mod %i, %n
      %s: i32[] = sub %i, %r
      %x: bool[] = ge %j, %s
      %y: bool[] = le %j, %i
      %m: bool[] = and %x, %y`,
    words: "blocks of 3 and causal"
  },
  {
    name: "padding by lengths",
    lines: `${load}\n%m: bool[] = lt %j, %n`,
    captures: [lengths],
    words: "padding by lengths"
  },
  {
    name: "causal with padding by lengths",
    lines: `${load}\n%p: bool[] = lt %j, %n\n%c: bool[] = le %j, %i\n%m: bool[] = and %c, %p`,
    captures: [lengths],
    words: "causal and padding by lengths"
  },
  {
    name: "padded queries too",
    lines: `${load}\n%p: bool[] = lt %j, %n\n%c: bool[] = lt %i, %n\n%m: bool[] = and %c, %p`,
    captures: [lengths],
    words: "a condition on queries and padding by lengths"
  },
  {
    name: "left padding, lengths from the end",
    lines: `${load}\n%s: i32[] = dim {value = S}\n%l: i32[] = sub %s, %n\n%m: bool[] = ge %j, %l`,
    captures: [lengths],
    words: "keys from offsets on"
  },
  {
    name: "a cache that holds lengths and takes new tokens",
    lines: `${load}\n%p: i32[] = add %i, %n\n%m: bool[] = le %j, %p`,
    captures: [lengths],
    words: "causal from offsets"
  },
  {
    name: "one head causal, the other a window",
    lines: `${constant("one", 1)}\n${constant("w", 2)}
      %f: bool[] = lt %h, %one
      %c: bool[] = le %j, %i
      %d: i32[] = sub %i, %j
      %a: i32[] = abs %d
      %e: bool[] = lt %a, %w
      %m: bool[] = select %f, %c, %e`,
    words: "causal where a condition per head, window of 1 on both sides elsewhere"
  },
  {
    name: "first keys for everybody, then a window",
    lines: `${constant("g", 1)}\n${constant("w", 2)}
      %s: bool[] = lt %j, %g
      %d: i32[] = sub %i, %j
      %e: bool[] = lt %d, %w
      %c: bool[] = le %j, %i
      %x: bool[] = and %c, %e
      %m: bool[] = or %s, %x`,
    words: "prefix of 1 or (causal and window of 2 keys)"
  },
  {
    name: "keys twice as dense as queries",
    lines: `${constant("two", 2)}\n%y: i32[] = mul %j, %two\n%m: bool[] = le %y, %i`,
    words: "a condition on positions"
  },
  {
    name: "causal where queries hold the heads of a group",
    lines: "%n: i32[] = dim {value = N}\n%p: i32[] = mod %i, %n\n%m: bool[] = ge %p, %j",
    captures: [i32("i32[N]", [3], [0, 0, 0])],
    words: "causal"
  },
  {
    name: "a window where queries hold the heads of a group",
    lines: `%n: i32[] = dim {value = N}
      ${constant("two", 2)}
      %p: i32[] = mod %i, %n
      %c: bool[] = ge %p, %j
      %d: i32[] = sub %p, %j
      %w: bool[] = lt %d, %two
      %m: bool[] = and %c, %w`,
    captures: [i32("i32[N]", [3], [0, 0, 0])],
    words: "causal and window of 2 keys"
  },
  {
    name: "everything and nothing",
    lines: `%t: bool[] = constant {values = [1]}\n%f: bool[] = constant {values = [0]}
      %c: bool[] = le %j, %i
      %x: bool[] = and %c, %t
      %m: bool[] = or %x, %f`,
    words: "causal"
  },
  {
    name: "nobody sees anything",
    lines: `${constant("z", 0)}\n%m: bool[] = lt %j, %z`,
    words: "prefix of 0"
  }
]

const heads = [
  [0, 0],
  [1, 1]
] as const

describe("analyse-mask", () => {
  it.each(listed)("$name: key blocks are the brute-force optimum", ({ lines, captures = [], words }) => {
    const node = analysed(attention(lines, captures))
    expect(classifyMask(node.attrs.mask as Graph.Graph)).toBe(words)
    for (const sizes of [
      { B: 2, T: 7, S: 7, N: 3 },
      { B: 2, T: 5, S: 9, N: 3 },
      { B: 2, T: 6, S: 2, N: 3 },
      { B: 2, T: 1, S: 1, N: 3 }
    ]) {
      eachBlock(node, captures, sizes, heads, (found, some, every, at) => {
        expect(sound(found, some, every, sizes.S), at).toBe(true)
        const [lo, hi, fullLo, fullHi] = found as [number, number, number, number]
        expect(hi - lo, at).toBe(some.length === 0 ? 0 : some.at(-1)! - some[0]! + 1)
        expect(fullHi - fullLo, at).toBe(longestRun(every))
      })
    }
  })

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

  it.each(partly)("%s", (_, lines, words, captures) => {
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

  it("says nothing about a captured mask: any key may be visible, none certainly is", () => {
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

  it("is sound for random masks", () => {
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

  it("is sound for lengths and offsets near the ends of i32", () => {
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

  it("bounds the keys that the mask shows, whatever the score of the others", () => {
    const node = analysed(attention("%m: bool[] = ge %i, %j", [], "-1e9"))
    const found = evaluate(node.attrs.range as Graph.Graph, [0, 0, 2, 3], [], { T: 8, S: 8 })
    expect(found).toEqual([0, 4, 0, 3])
  })

  it("works inside kernels, leaves a graph that verifies, changes nothing twice, and says what it found", () => {
    const graph = attention("%m: bool[] = ge %i, %j")
    const kernels = fuseElementwise.run(graph, context).graph
    const once = analyseMask.run(kernels, context)
    expect(Result.isSuccess(Verify.graph(once.graph))).toBe(true)
    expect(once.diagnostics.map((d) => d.nearest)).toEqual(["causal"])
    const body = once.graph.nodes.find((n) => n.op === "fused")?.attrs
    expect(body !== undefined && "body" in body && flashOf(body.body).attrs.range).toBeDefined()
    expect(Graph.equals(analyseMask.run(once.graph, context).graph, once.graph)).toBe(true)
  })

  it("gives up quietly on a mask of twenty thousand conditions", () => {
    const terms = Array.from(
      { length: 20_000 },
      (_, n) =>
        `${constant(`k${n}`, n)}\n%e${n}: bool[] = eq %j, %k${n}\n%o${n}: bool[] = or %o${n - 1}, %e${n}`
    )
    const lines = ["%o-1: bool[] = ge %i, %j".replace("-1", "_"), ...terms]
      .join("\n")
      .replaceAll("%o-1", "%o_")
    const node = analysed(attention(`${lines}\n%m: bool[] = not %o19999`))
    expect(node.attrs.range?.nodes.length).toBeLessThan(1000)
  })
})

const longestRun = (keys: ReadonlyArray<number>): number => {
  let [best, run] = [0, 0]
  keys.forEach((key, at) => {
    run = at > 0 && keys[at - 1] === key - 1 ? run + 1 : 1
    best = Math.max(best, run)
  })
  return best
}
