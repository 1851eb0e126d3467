import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { type Attention, small, smallDecode } from "../../support/flashText.ts"
import { ints, type MaskCase, maskCases } from "../../support/maskCases.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { type Counted, countVisits, leastVisits, type Setting } from "../../support/visits.ts"

const heads = [8, 4] as const
const head = [16, 16] as const

const settings: ReadonlyArray<readonly [string, Setting]> = [
  ["prefill", { heads, head, B: 2, T: 23, S: 23, schedule: small }],
  ["prefill of a few queries", { heads, head, B: 2, T: 7, S: 23, schedule: small }],
  ["decode", { heads, head, B: 2, T: 1, S: 37, schedule: smallDecode }]
]

const perKey = (head[0] + head[1]) * 4

const agrees = async (c: MaskCase, setting: Setting, more: Partial<Attention> = {}): Promise<Counted> => {
  const { B, T, S } = setting
  const counted = await countVisits(c, setting, more)
  const expected = Reference.evaluate(counted.graph, counted.inputs, { B, T, S }, { precision: "f64" })
  expectOutputs(counted.graph, { B, T, S }, counted.results, expected, { exponent: 8 })
  return counted
}

describe.each(settings)("%s", (_, setting) => {
  test.each(maskCases)("$name: tiles visited are the fewest", async (c) => {
    const { T, S, B } = setting
    const counted = await agrees(c, setting)
    const least = leastVisits(c, setting, { B, T, S })
    expect({ tiles: counted.tiles, keys: counted.keys }).toEqual({ tiles: least.tiles, keys: least.keys })
    if (c.holes === undefined) expect(counted.whole).toBe(least.whole)
    else expect(counted.whole).toBeLessThanOrEqual(least.whole)
    // The host knows lengths, and no data.
    const bytes = least.keys * perKey * (T === 1 ? 1 : small.prefill.threads)
    if (c.captures === undefined) expect(counted.stats.keyValueBytesRead).toBe(bytes)
    else expect(counted.stats.keyValueBytesRead).toBeGreaterThanOrEqual(bytes)
  })
})

const [[, prefill]] = settings as readonly [readonly [string, Setting]]
const decode = (settings[2] as readonly [string, Setting])[1]
const caseOf = (name: string): MaskCase => maskCases.find((c) => c.name === name) as MaskCase

test("with a finite fill the keys that no row sees are visited by rows that see nothing else", async () => {
  const more = { fill: "-1e9" } as const
  const documents = caseOf("documents, causal")
  for (const setting of [prefill, decode]) {
    const { B, T, S } = setting
    expect((await agrees(documents, setting, more)).keys).toBe(
      leastVisits(documents, setting, { B, T, S }).keys
    )
    // The first rows of a batch that is padded on the left see no key.
    const padded = caseOf("causal and padding by flags")
    const { keys } = await agrees(padded, setting, more)
    expect(keys).toBeGreaterThan(leastVisits(padded, setting, { B, T, S }).keys)
  }
})

test("what is measured serves the log-sum-exp, too", async () => {
  await agrees(caseOf("documents"), prefill, { outputs: ["lse"] })
  await agrees(caseOf("tree behind a prefix"), decode, { outputs: ["lse"] })
})

test("a mask of each head is measured for each, and visited for the group", async () => {
  const perHead: MaskCase = {
    name: "a tensor for each head",
    by: "measured",
    captures: { start: "i32[8, S]" },
    data: (_, __, S) => [ints([8, S], (at) => Math.floor(at / S))],
    mask: ["%s: i32[] = load %start, %h, %j", "%a: i32[] = add %s, %s", "%m: bool[] = le %a, %j"]
  }
  const setting = { ...prefill, T: 5 }
  const { B, T, S } = setting
  const { tiles, whole } = await agrees(perHead, setting)
  const least = leastVisits(perHead, setting, { B, T, S })
  expect({ tiles, whole }).toEqual({ tiles: least.tiles, whole: least.whole })
})

test("masks that nothing is known of visit every key, and are right", async () => {
  const bits: MaskCase = {
    name: "bits drawn at random",
    by: "range",
    captures: { seed: "u32[]" },
    data: () => [HostArray.fromNumbers("u32", [], Float64Array.of(7))],
    mask: [
      "%bits: u32[T, S] = random_bits %seed",
      "%x: u32[] = load %bits, %i, %j",
      "%half: u32[] = constant {values = [2147483648]}",
      "%m: bool[] = lt %x, %half"
    ]
  }
  const far: MaskCase = {
    name: "a polynomial of positions",
    by: "range",
    mask: [
      "%a: i32[] = mul %i, %i",
      "%d: i32[] = mul %i, %j",
      "%e: i32[] = sub %a, %d",
      "%five: i32[] = constant {values = [5]}",
      "%r: i32[] = mod %e, %five",
      "%two: i32[] = constant {values = [2]}",
      "%m: bool[] = lt %r, %two"
    ]
  }
  const setting = { ...prefill, T: 9 }
  for (const c of [bits, far]) {
    const { B, T, S } = setting
    const { tiles, whole } = await agrees(c, setting)
    expect({ tiles, whole }).toEqual({ tiles: leastVisits(c, setting, { B, T, S }).all, whole: 0 })
  }
})
