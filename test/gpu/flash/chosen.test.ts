/** The schedules that calls take: those that are chosen for each kind of device, and those that tuning measures beside them. */
import { describe, expect, test } from "vitest"
import { alternatives } from "../../../ir/flashAlternatives.ts"
import * as Limits from "../../../ir/Limits.ts"
import { agree } from "../../support/agree.ts"
import { graphOf } from "../../support/evaluate.ts"
import { type Attention, causal, flashText, schedulesOf, window } from "../../support/flashText.ts"

const software: Limits.Limits = { ...Limits.portable, kind: "cpu" }
const devices: { readonly [name: string]: Limits.Limits } = {
  "a GPU with 16 KiB of workgroup memory": Limits.portable,
  "a GPU with 32 KiB": { ...Limits.portable, maxComputeWorkgroupStorageSize: 32768 },
  "a software device with subgroups": { ...software, subgroups: { min: 4, max: 4 } },
  "a software device": software
}

const [group, D] = [4, 64]
/** Smaller than what schedules are chosen for, and no multiple of what threads share: the tiles are the same. */
const head = [22, 12] as const

const attentions: ReadonlyArray<Attention> = [
  causal,
  window(9),
  { ...causal, outputs: ["result", "lse"] },
  {}
]

/** What ran on a device before is not run again. */
const known = new Set<string>()

describe.each(Object.entries(devices))("on %s", (_, limits) => {
  test.each(["decode", "short", "prefill"] as const)("%s agrees with the reference", async (part) => {
    const rows = { decode: group, short: 5 * group, prefill: 4096 }[part]
    const all = alternatives(limits, D, D, group, rows)
    expect(all.length).toBeGreaterThan(1)
    for (const [n, schedule] of all.entries()) {
      const tile = schedule[part]
      const text = JSON.stringify(tile)
      if (tile === undefined || known.has(text)) continue
      known.add(text)
      const { prefill, decode } = schedule
      const T = part === "prefill" ? Math.max(9, prefill.rows / group + 3) : rows / group
      const S = part === "decode" ? 2 * decode.keysPerSplit + 3 : 2 * prefill.keys + 5
      const attention = { ...attentions[n % attentions.length], heads: [group, 1], head } as const
      const run = agree(
        graphOf(flashText(attention)),
        { T, S },
        { kind: limits.kind, schedules: schedulesOf(schedule) }
      )
      await expect(run, text).resolves.toBeUndefined()
    }
  })
})
