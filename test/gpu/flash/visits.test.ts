import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { small, smallDecode } from "../../support/flashText.ts"
import { maskCases } from "../../support/maskCases.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { countVisits, leastVisits, type Setting } from "../../support/visits.ts"

const heads = [8, 4] as const
const head = [16, 16] as const

const settings: ReadonlyArray<readonly [string, Setting]> = [
  ["prefill", { heads, head, B: 2, T: 23, S: 23, schedule: small }],
  ["prefill of a few queries", { heads, head, B: 2, T: 7, S: 23, schedule: small }],
  ["decode", { heads, head, B: 2, T: 1, S: 37, schedule: smallDecode }]
]

const perKey = (head[0] + head[1]) * 4

describe.each(settings)("%s", (_, setting) => {
  test.each(maskCases)("$name: tiles visited are the fewest", async (c) => {
    const { T, S, B } = setting
    const counted = await countVisits(c, setting)
    const least = leastVisits(c, setting, { B, T, S })
    expect({ tiles: counted.tiles, keys: counted.keys }).toEqual({ tiles: least.tiles, keys: least.keys })
    if (c.holes === undefined) expect(counted.whole).toBe(least.whole)
    else expect(counted.whole).toBeLessThanOrEqual(least.whole)
    // The host knows lengths, and no data.
    if (c.captures === undefined) expect(counted.stats.keyValueBytesRead).toBe(least.keys * perKey)
    else expect(counted.stats.keyValueBytesRead).toBeGreaterThanOrEqual(least.keys * perKey)
    const expected = Reference.evaluate(counted.graph, counted.inputs, { B, T, S }, { precision: "f64" })
    expectOutputs(counted.graph, { B, T, S }, counted.results, expected, { exponent: 8 })
  })
})
