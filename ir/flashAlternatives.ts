import { candidates, choose, multiplyingIn } from "./chooseFlash.ts"
import * as Budget from "./flashBudget.ts"
import { legal } from "./flashSchedules.ts"
import type { Limits } from "./Limits.ts"
import type { Arithmetic, Flash, FlashDecode, FlashPrefill } from "./Schedule.ts"

/** Cuts that are worth measuring beside those that the chooser knows. */
const more: { readonly [kind in Limits["kind"]]: ReadonlyArray<FlashPrefill> } = {
  cpu: [true, false].flatMap((quads) =>
    [
      [32, 4, 4],
      [64, 4, quads ? 4 : 8],
      [quads ? 16 : 32, 8, quads ? 4 : 8]
    ].map(
      ([rows = 0, keys = 0, threads = 0]) => ({ rows, keys, threads, tiles: "registers", quads }) as const
    )
  ),
  gpu: [
    [128, 32, 128],
    [64, 32, 64],
    [64, 32, 256]
  ].map(([rows = 0, keys = 0, threads = 0]) => ({
    rows,
    keys,
    threads,
    tiles: "workgroup",
    quads: false
  }))
}

const decodes = ({ subgroup: _, ...decode }: FlashDecode, limits: Limits): ReadonlyArray<FlashDecode> => [
  // A workgroup of few threads, if it is a subgroup.
  ...[1, 2]
    .map((fewer) => Budget.asSubgroup({ ...decode, threads: decode.threads / fewer }, limits))
    .filter((cut) => cut.subgroup === true),
  ...[1, 2].flatMap((more) =>
    [1, 2, 4].map((fewer) => ({
      ...decode,
      threads: decode.threads * more,
      keysPerSplit: decode.keysPerSplit * fewer
    }))
  )
]

/** At most this many are measured for one variant. */
const most = 8

/**
 * Legal schedules for calls of `rows` packed rows that differ in the variant these take. The one that is chosen without measuring comes first.
 */
export const alternatives = (
  limits: Limits,
  D: Budget.HeadSizes,
  E: number,
  group: number | undefined,
  rows: number,
  arithmetic: Arithmetic = "f32"
): ReadonlyArray<Flash> => {
  const chosen = choose(limits, D, E, group, arithmetic)
  const variant = Budget.splitVariants(chosen, D, E, group, undefined).find((v) => rows <= v.most)
  const prefills = [
    ...candidates(limits, D, E, arithmetic),
    ...more[limits.kind].map((cut) => multiplyingIn(cut, arithmetic))
  ]
  const others =
    variant === undefined
      ? prefills.map((prefill) => ({ ...chosen, prefill }))
      : variant.tile?.staged === true
        ? prefills.filter((p) => p.rows === chosen.short?.rows).map((short) => ({ ...chosen, short }))
        : decodes(chosen.decode, limits).map((decode) => ({ ...chosen, decode }))
  const texts = new Set<string>()
  return [chosen, ...others]
    .filter((schedule) => {
      const text = JSON.stringify(schedule)
      return legal(schedule, limits, D, E, "f32", group) && !texts.has(text) && texts.add(text)
    })
    .slice(0, most)
}
