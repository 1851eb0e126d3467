import { describe, expect, it } from "vitest"
import type * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { portable } from "../../ir/Limits.ts"
import { analyseMask } from "../../passes/analyseMask.ts"
import { fuseElementwise } from "../../passes/fuseElementwise.ts"
import { array, integers, type Random, random } from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import { checkRanges } from "../support/ranges.ts"

/** Lines that end in a bool, numbered from `at` on: predicates over b, h, i, j and the captures below. */
type Lines = (name: string) => string

const compare =
  (op: string, x: string, y: string): Lines =>
  (n) =>
    `%${n}: bool[] = ${op} ${x}, ${y}`
const constant = (n: string, value: number): string => `%${n}: i32[] = constant {values = [${value}]}`

/** Predicates that masks are made of, with numbers drawn at random. */
const atom = ({ integer, pick }: Random): Lines =>
  pick<Lines>([
    compare("le", "%j", "%i"),
    compare("gt", "%j", "%i"),
    compare("eq", "%i", "%j"),
    (n) =>
      `%${n}o: i32[] = dim {value = S - T}\n%${n}d: i32[] = add %i, %${n}o\n%${n}: bool[] = le %j, %${n}d`,
    (n) =>
      `%${n}d: i32[] = sub %i, %j\n${constant(`${n}w`, integer(-2, 9))}\n%${n}: bool[] = lt %${n}d, %${n}w`,
    (n) =>
      `%${n}d: i32[] = sub %i, %j\n%${n}a: i32[] = abs %${n}d\n${constant(`${n}w`, integer(0, 5))}\n%${n}: bool[] = le %${n}a, %${n}w`,
    (n) => `${constant(`${n}p`, integer(0, 9))}\n%${n}: bool[] = lt %j, %${n}p`,
    (n) => `%${n}l: i32[] = load %lengths, %b\n%${n}: bool[] = lt %j, %${n}l`,
    (n) =>
      `%${n}x: i32[] = load %doc, %b, %i\n%${n}y: i32[] = load %doc, %b, %j\n%${n}: bool[] = eq %${n}x, %${n}y`,
    (n) => `%${n}: bool[] = load %keep, %i, %j`,
    (n) =>
      `${constant(`${n}c`, integer(1, 4))}\n%${n}x: i32[] = floor_div %i, %${n}c\n%${n}y: i32[] = floor_div %j, %${n}c\n%${n}: bool[] = ge %${n}x, %${n}y`,
    (n) =>
      `${constant(`${n}c`, integer(1, 4))}\n%${n}d: i32[] = sub %i, %j\n%${n}m: i32[] = mod %${n}d, %${n}c\n${constant(`${n}z`, 0)}\n%${n}: bool[] = eq %${n}m, %${n}z`,
    (n) => `${constant(`${n}c`, integer(0, 3))}\n%${n}: bool[] = eq %h, %${n}c`
  ])

const combine = (from: Random, depth: number): Lines => {
  if (depth === 0) return atom(from)
  const [x, y] = [combine(from, depth - 1), combine(from, depth - 1)]
  return from.pick<Lines>([
    (n) => `${x(`${n}l`)}\n${y(`${n}r`)}\n%${n}: bool[] = and %${n}l, %${n}r`,
    (n) => `${x(`${n}l`)}\n${y(`${n}r`)}\n%${n}: bool[] = and %${n}l, %${n}r`,
    (n) => `${x(`${n}l`)}\n${y(`${n}r`)}\n%${n}: bool[] = or %${n}l, %${n}r`,
    (n) => `${x(`${n}l`)}\n${y(`${n}r`)}\n%${n}: bool[] = xor %${n}l, %${n}r`,
    (n) => `${x(`${n}l`)}\n%${n}: bool[] = not %${n}l`
  ])
}

const parameter = (name: string, type: string): string => `%${name}: ${type} = input {name = "${name}"}`
const positions = ["b", "h", "i", "j"].map((name) => parameter(name, "i32[]"))
const captures = [
  parameter("lengths", "i32[B]"),
  parameter("doc", "i32[B, S]"),
  parameter("keep", "bool[T, S]")
].join("\n")

const attention = (mask: string, range = ""): Graph.Graph =>
  graphOf(`graph {
    ${parameter("q", `f32[B, 2, T, ${headSize}]`)}
    ${parameter("k", `f32[B, 2, S, ${headSize}]`)}
    ${captures}
    %out: f32[B, 2, T, ${headSize}] = flash_attention %q, %k, %k, %lengths, %doc, %keep {
      score = {${[parameter("logit", "f32[]"), ...positions, captures].join("\n")}\nreturn %logit},
      mask = {${[...positions, captures, mask].join("\n")}\nreturn %m},
      ${range} fill = -inf, output = "result"
    }
    return %out
  }`)

/** Large enough for measuring to pay. */
const headSize = 128

const inputsOf = (from: Random, B: number, T: number, S: number): ReadonlyArray<HostArray.HostArray> => [
  zeros([B, 2, T, headSize]),
  zeros([B, 2, S, headSize]),
  integers(from, [B], -1, S + 1),
  integers(from, [B, S], 0, 2),
  array(from, "bool", [T, S])
]

const zeros = (shape: ReadonlyArray<number>): HostArray.HostArray =>
  HostArray.fromNumbers("f32", shape, new Float64Array(HostArray.sizeOf(shape)))

/** Analysed as kernels, where a mask may be measured. */
const analysed = (graph: Graph.Graph): Graph.Graph => {
  const context = { limits: portable, donated: new Set<string>(), count: () => {} }
  return analyseMask.run(fuseElementwise.run(graph, context).graph, context).graph
}

const isMeasured = (graph: Graph.Graph): boolean => graph.nodes.filter((n) => n.op === "fused").length > 1

describe("mask analysis never hides a visible key, nor shows a hidden one", () => {
  const seeds = Array.from({ length: 60 }, (_, seed) => seed)
  const drawn = (seed: number) => {
    const from = random(1000 + seed)
    const text = combine(from, from.integer(0, 3))("m")
    return { from, text, graph: analysed(attention(text)) }
  }

  it("some of these masks are measured, and some need not be", () => {
    const measured = seeds.filter((seed) => isMeasured(drawn(seed).graph)).length
    expect(measured).toBeGreaterThan(10)
    expect(measured).toBeLessThan(50)
  })

  it.each(seeds)("random mask %i", (seed) => {
    const { from, text, graph } = drawn(seed)
    for (const [T, S] of [
      [1, 1],
      [7, 11],
      [11, 7],
      [3, 0],
      [0, 3],
      [5, 13]
    ] as const) {
      const { wrong } = checkRanges(graph, inputsOf(from, 2, T, S), { B: 2, T, S })
      expect(wrong.slice(0, 3), text).toEqual([])
    }
  })
})

describe("numbers that i32 arithmetic wraps at", () => {
  const ends = [2 ** 31 - 1, -(2 ** 31), 2 ** 30, 2 ** 30 - 2, -(2 ** 30), 2 ** 31 - 4]
  const masks: { readonly [name: string]: string } = {
    "an offset": "%a: i32[] = add %i, %x\n%m: bool[] = le %j, %a",
    "an offset subtracted": "%a: i32[] = sub %x, %i\n%m: bool[] = le %j, %a",
    "a difference of offsets": "%a: i32[] = add %i, %x\n%c: i32[] = sub %a, %y\n%m: bool[] = le %j, %c",
    "an offset on both sides": "%a: i32[] = add %i, %x\n%c: i32[] = add %j, %x\n%m: bool[] = le %c, %a",
    "a distance": `%a: i32[] = add %i, %x
%c: i32[] = sub %a, %j
%d: i32[] = abs %c
${constant("w", 3)}
%m: bool[] = le %d, %w`,
    "twice a number": "%a: i32[] = add %x, %x\n%m: bool[] = le %j, %a",
    "the negative of a number": "%a: i32[] = neg %x\n%m: bool[] = le %j, %a",
    "blocks from an offset": `%a: i32[] = sub %x, %j
${constant("four", 4)}
%c: i32[] = floor_div %a, %four
%m: bool[] = ge %c, %i`,
    "a length": "%m: bool[] = lt %j, %x"
  }
  it.each(Object.entries(masks))("%s", (_, lines) => {
    const graph = analysed(
      attention(`${constant("one", 1)}
%x: i32[] = load %lengths, %b
%next: i32[] = add %b, %one
%y: i32[] = load %lengths, %next
${lines}`)
    )
    const lengths = HostArray.fromNumbers("i32", [ends.length], Float64Array.from(ends))
    const [q, k, , doc, keep] = inputsOf(random(3), ends.length, 6, 7) as ReadonlyArray<HostArray.HostArray>
    const inputs = [q, k, lengths, doc, keep] as ReadonlyArray<HostArray.HostArray>
    const { wrong } = checkRanges(graph, inputs, { B: ends.length, T: 6, S: 7 })
    expect(wrong.slice(0, 3)).toEqual([])
  })

  it("a remainder by a length of 0 is 0", () => {
    for (const of of ["%i", "%j"]) {
      const graph = analysed(
        attention(`%n: i32[] = dim {value = L}\n%a: i32[] = mod ${of}, %n\n%m: bool[] = le %j, %a`)
      )
      for (const L of [0, 1, 3]) {
        const sizes = { B: 1, T: 5, S: 6, L }
        expect(checkRanges(graph, inputsOf(random(3), 1, 5, 6), sizes).wrong.slice(0, 3)).toEqual([])
      }
    }
  })
})

it("positions counted anew from a length on leave quotients: blocks of either half see their own", () => {
  const block = (name: string): string => `%${name}c: bool[] = ge %${name}, %n
%${name}d: i32[] = sub %${name}, %n
%${name}p: i32[] = select %${name}c, %${name}d, %${name}
%${name}q: i32[] = floor_div %${name}p, %two`
  const graph = analysed(
    attention(`%n: i32[] = dim {value = N}
${constant("two", 2)}
${block("i")}
${block("j")}
%e: bool[] = eq %iq, %jq
%s: bool[] = eq %ic, %jc
%m: bool[] = and %e, %s`)
  )
  const sizes = { B: 1, T: 16, S: 16, N: 8 }
  const { wrong, visited, needed } = checkRanges(graph, inputsOf(random(3), 1, 16, 16), sizes)
  expect(wrong).toEqual([])
  expect(visited / needed).toBeLessThan(2.2)
})

describe("the check itself", () => {
  const range = (hi: string, fullHi: string) => {
    const parameters = ["b", "h", "first", "last"].map((name) => parameter(name, "i32[]"))
    const region = `range = {${[...parameters, captures, constant("zero", 0), constant("one", 1)].join("\n")}
      %next: i32[] = add %last, %one
      %whole: i32[] = add %first, %one
      return "lo": %zero, "hi": ${hi}, "fullLo": %zero, "fullHi": ${fullHi}},`
    return attention("%m: bool[] = le %j, %i", region)
  }
  const check = (graph: Graph.Graph) => checkRanges(graph, inputsOf(random(1), 1, 5, 5), { B: 1, T: 5, S: 5 })

  it("takes the bounds of the causal mask", () => {
    const { wrong, visited, needed } = check(range("%next", "%whole"))
    expect(wrong).toEqual([])
    expect(visited).toBe(needed)
  })

  it("sees a key that is left out, and one too many called visible", () => {
    expect(check(range("%last", "%whole")).wrong[0]).toContain("visible, but outside")
    expect(check(range("%next", "%next")).wrong[0]).toContain("hidden, but inside")
  })
})
