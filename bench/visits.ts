/**
 * Key tiles that attention visits under each mask, counted on this machine's WebGPU device, next to the fewest that would do: every
 * element of the mask is looked at. Prints a table for many queries and one for a single query.
 *
 *     node bench/visits.ts [length]
 *
 * `whole` are tiles that every row of a block sees throughout, where the kernel needs no mask, and how many of them it knows.
 */
import { choose } from "../ir/chooseFlash.ts"
import * as Markdown from "../scripts/markdown.ts"
import { maskCases } from "../test/support/maskCases.ts"
import { limitsOf } from "../test/support/runProgram.ts"
import { countVisits, leastVisits, type Setting } from "../test/support/visits.ts"

const length = Number(process.argv[2] ?? 257)
const [B, heads, head] = [2, [8, 4], [32, 32]] as const
const schedule = choose(await limitsOf("cpu"), head[0], head[1], heads[0] / heads[1])

const share = (part: number, of: number): string => `${Math.round((100 * part) / Math.max(of, 1))} %`

for (const T of [length, 1]) {
  const setting: Setting = { heads, head, B, T, S: length, schedule }
  const rows: Array<ReadonlyArray<string>> = []
  for (const c of maskCases) {
    const least = leastVisits(c, setting, { B, T, S: length })
    const { tiles, whole, stats } = await countVisits(c, setting)
    const numbers = [
      least.all,
      least.tiles,
      tiles,
      share(tiles, least.all),
      least.whole,
      whole,
      stats.dispatches
    ]
    rows.push([c.name, c.by, ...numbers.map(String)])
  }
  const tile =
    T === 1
      ? `${schedule.decode.threads} threads`
      : `${schedule.prefill.rows} rows x ${schedule.prefill.keys} keys`
  console.log(`\n${B} x ${heads[0]} heads over ${heads[1]}, ${T} queries, ${length} keys, ${tile}\n`)
  const header = ["mask", "found by", "all tiles", "fewest", "visited", "", "whole", "known whole", "kernels"]
  console.log(Markdown.table([header, ...rows]))
}
process.exit(0)
