import type { Snapshot } from "../../passes/Snapshot.ts"
import type { Paint } from "./Paint.ts"
import { table } from "./table.ts"

/** Which rules were tried, how often, and what came of it: those that took longest first. */
export const ruleTable = (snapshots: ReadonlyArray<Snapshot>, paint: Paint): string => {
  const rows = snapshots
    .flatMap(({ pass, tallies }) => [...tallies].map(([rule, tally]) => ({ pass, rule, ...tally })))
    .sort((a, b) => b.milliseconds - a.milliseconds)
  const sum = (of: (row: (typeof rows)[number]) => number): number => rows.reduce((n, row) => n + of(row), 0)
  const cells = (tried: number, applied: number, milliseconds: number) => [
    String(tried),
    applied === 0 ? paint("faint", "0") : String(applied),
    `${milliseconds.toFixed(2)} ms`
  ]
  return table(
    [
      ["  rule", "pass", "tried", "applied", "time"].map((head) => paint("strong", head)),
      ...rows.map((r) => [
        `  ${r.rule}`,
        paint("faint", r.pass),
        ...cells(r.tried, r.applied, r.milliseconds)
      ]),
      [
        `  ${rows.length} rules`,
        "",
        ...cells(
          sum((r) => r.tried),
          sum((r) => r.applied),
          sum((r) => r.milliseconds)
        )
      ]
    ],
    [2, 3, 4]
  )
}
