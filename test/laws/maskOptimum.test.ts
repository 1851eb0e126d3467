import { describe, expect, it } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import type * as Graph from "../../ir/Graph.ts"
import { portable } from "../../ir/Limits.ts"
import { analyseMask } from "../../passes/analyseMask.ts"
import { graphOf } from "../support/evaluate.ts"
import { flashText } from "../support/flashText.ts"
import { maskCases } from "../support/maskCases.ts"
import { flashOf } from "../support/visits.ts"

const context = { limits: portable, donated: new Set<string>(), count: () => {} }

/** Odd lengths, more keys than queries and fewer, one of each, none. */
const lengths: ReadonlyArray<readonly [T: number, S: number]> = [
  [23, 23],
  [13, 29],
  [29, 13],
  [1, 17],
  [17, 1],
  [3, 0]
]

const yes = [true, true, true, true]

const blockRows = [1, 2, 3, 4, 8, 16]

const longestRun = (keys: ReadonlyArray<boolean>): number => {
  let [best, run] = [0, 0]
  for (const key of keys) {
    run = key ? run + 1 : 0
    best = Math.max(best, run)
  }
  return best
}

describe("what arithmetic on lengths says of a mask is all there is to say", () => {
  it.each(maskCases.filter((c) => c.by === "range"))("$name", (c) => {
    const text = flashText({
      heads: [2, 1],
      sizes: ["B", "T", "S"],
      mask: c.mask,
      ...(c.captures === undefined ? {} : { captures: c.captures })
    })
    const { mask, range, rowRange } = flashOf(analyseMask.run(graphOf(text), context).graph).attrs
    expect(rowRange).toBeUndefined()
    for (const [T, S] of lengths) {
      const sizes = { B: 2, T, S }
      const captures = c.data?.(2, T, S) ?? []
      const seen = Reference.region(mask as Graph.Graph, captures, sizes)
      const bounds = Reference.region(range as Graph.Graph, captures, sizes)
      for (const b of [0, 1]) {
        const rows = Array.from({ length: T }, (_, i) =>
          Array.from({ length: S }, (_, j) => seen(b, 0, i, j)[0] !== 0)
        )
        for (const count of blockRows) {
          for (let first = 0; first < T; first += count) {
            const last = Math.min(first + count, T) - 1
            const block = rows.slice(first, last + 1)
            const some = Array.from({ length: S }, (_, j) => block.some((row) => row[j]))
            const every = Array.from({ length: S }, (_, j) => block.every((row) => row[j]))
            const [lo, hi, fullLo, fullHi] = bounds(b, 0, first, last) as unknown as [
              number,
              number,
              number,
              number
            ]
            const at = `batch ${b}, queries ${first}..${last} of ${T}, ${S} keys`
            const least = some.includes(true) ? some.indexOf(true) : hi
            const most = some.includes(true) ? some.lastIndexOf(true) + 1 : lo
            const { slack = 0 } = c
            expect([lo <= least, most <= hi, least - lo <= slack, hi - most <= slack], at).toEqual(yes)
            expect(every.slice(fullLo, fullHi).includes(false), at).toBe(false)
            if (c.holes === undefined) expect(fullHi - fullLo, at).toBe(longestRun(every))
          }
        }
      }
    }
  })
})
