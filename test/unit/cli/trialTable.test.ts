import { expect, test } from "vitest"
import { trialTable } from "../../../src/cli/trialTable.ts"
import type { Trial } from "../../../src/tune.ts"

const trial = (attention: string, number: number, milliseconds: number | undefined, rows: number): Trial => ({
  ...{ attention, milliseconds, number, of: 4 },
  schedule: `tiles of ${rows} rows; up to 4 rows: 4 threads; at most 64 splits`
})

test("trials are the fastest first, with what tells them apart, and what they share once", () => {
  const text = trialTable([
    trial("f32[T, 8]", 1, 2.5, 32),
    trial("f32[T, 8]", 2, undefined, 64),
    trial("f32[T, 8]", 3, 1.25, 16)
  ])
  expect(text.split("\n")).toEqual([
    "f32[T, 8]",
    "            1.25 ms                     tiles of 16 rows",
    "            2.50 ms  chosen unmeasured  tiles of 32 rows",
    "  does not run here                     tiles of 64 rows",
    "  each: up to 4 rows: 4 threads; at most 64 splits",
    "  1 more were not measured: the time for it was over"
  ])
})

test("each attention has its own, and a single trial all of its text", () => {
  const all = [1, 2, 3, 4].map((number) => trial("a", number, number, number))
  const text = trialTable([...all, trial("b", 1, 3, 8)])
  expect(text).toMatch(
    /^a\n.*tiles of 1 rows\n[\s\S]*\nb\n.*tiles of 8 rows; up to 4 rows: 4 threads; at most 64 splits\n/
  )
  expect(text.match(/more were not measured/g)).toHaveLength(1)
})
