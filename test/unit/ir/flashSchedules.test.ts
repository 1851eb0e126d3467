import { expect, test } from "vitest"
import { all, illegal, type Variant } from "../../../ir/flashSchedules.ts"
import * as Limits from "../../../ir/Limits.ts"
import { arithmetics, type Flash, type FlashPrefill } from "../../../ir/Schedule.ts"
import * as arrays from "../../support/arrays.ts"
import { small, smallShort, smallStaged } from "../../support/flashText.ts"

const software = { ...Limits.portable, subgroups: { min: 4, max: 4 } }

const reason = (schedule: Flash, limits: Limits.Limits = software, D = 8, E = 8): string | undefined =>
  illegal(schedule, limits, D, E, "f32", 1)

const prefill = (cut: Partial<FlashPrefill>, of: Flash = small): Flash => ({
  ...of,
  prefill: { ...of.prefill, ...cut }
})

const decode = (cut: Partial<Flash["decode"]>, decodeRows = 4): Flash => ({
  ...small,
  decode: { ...small.decode, ...cut },
  decodeRows
})

const refused: ReadonlyArray<readonly [reason: string, schedule: Flash, limits?: Limits.Limits]> = [
  ["2 threads exceed 1", small, { ...software, maxComputeInvocationsPerWorkgroup: 1 }],
  ["5 rows are not 1 to 16 for each of 2 threads", prefill({ rows: 5 })],
  ["34 rows are not 1 to 16 for each of 2 threads", prefill({ rows: 34 })],
  ["3 keys are none of 1, 2, 4, 8, 16", prefill({ keys: 3 })],
  ["3 threads that own rows are none of 1, 2, 4, 8, 16, 32, 64", prefill({ rows: 6, threads: 3 })],
  ["threads that own rows multiply in float32", prefill({ arithmetic: "f16" })],
  ["threads cannot pass on what they load", prefill({ quads: true, threads: 4 }), Limits.portable],
  ["four threads share what they load, not 8", prefill({ quads: true, rows: 8, threads: 8 })],
  ["threads that share rows do not pass on what they load", prefill({ quads: true }, smallStaged)],
  ["12 rows are none of 4, 8, 16, 32, 64, 128, 256", prefill({ rows: 12 }, smallStaged)],
  ["3 keys are none of 1, 2, 4, 8, 16, 32, 64", prefill({ keys: 3 }, smallStaged)],
  ["6 threads are none of 1, 2, 4, 8, 16, 32, 64, 128, 256", prefill({ threads: 6 }, smallStaged)],
  [
    "16 threads cannot share 4 rows and 8 keys evenly, or in too many registers",
    prefill({ rows: 4, threads: 16, keys: 8 }, smallStaged)
  ],
  ["3 keys of a split are none of 1, 4, 16, 64, 128, 256", decode({ keysPerSplit: 3 }, 0)],
  ["2 splits are none of 1, 4, 64", decode({ maxSplits: 2 }, 0)],
  ["128 threads of decode are none of 1, 2, 4, 8, 16, 32, 64", decode({ threads: 128 })],
  ["2.5 rows of decode are not 1 to 16", decode({}, 2.5)],
  ["-1 rows of decode are not 1 to 16", decode({}, -1)],
  ["17 rows of decode are not 1 to 16", decode({}, 17)],
  ["threads that own rows add up nothing together", decode({ subgroup: true })],
  ["8 threads may be more than one subgroup", decode({ tiles: "workgroup", threads: 8, subgroup: true })],
  ["threads that own rows do not split keys", { ...small, short: small.prefill }],
  [
    "short queries: 12 rows are none of 4, 8, 16, 32, 64, 128, 256",
    { ...smallShort, short: { ...smallStaged.prefill, rows: 12 } }
  ],
  ["short queries of 8 rows run decode of 8", { ...smallShort, decodeRows: 8 }]
]

test.each(refused.map(([why], n) => [why, n] as const))("a schedule is refused: %s", (why, n) => {
  const [, schedule, limits] = refused[n] as (typeof refused)[number]
  expect(reason(schedule, limits)).toBe(why)
})

test("what is too much for a device is refused for that", () => {
  const wide = prefill({ rows: 32, keys: 16 })
  expect(reason(wide, software, 256, 256)).toBe(
    "a thread would write out 131072 multiply-adds, more than 8192"
  )
  const staged = prefill({ rows: 64, keys: 32, threads: 128 }, smallStaged)
  expect(reason(staged, software, 64, 64)).toBe("19524 bytes of workgroup memory exceed 16384")
  expect(reason(decode({ tiles: "workgroup", keysPerSplit: 16 }, 16), software, 8, 256)).toBe(
    "decode of 16 rows needs too many registers"
  )
  expect(reason(small, software, 0)).toBe("head sizes 0 and 8 are not from 1 to 256")
  expect(reason(small, software, 8, 257)).toBe("head sizes 8 and 257 are not from 1 to 256")
  expect(illegal(small, software, 8, 8, "f64", 1)).toBe("f64 does not run on a device")
})

/** A schedule of any numbers, near to those that are legal. */
const anySchedule = (from: arrays.Random): Flash => {
  const near = (most: number): number =>
    Math.max(0, 2 ** from.integer(0, most) + from.pick([0, 0, 0, 0, 1, -1]))
  const threads = near(8)
  const cut = (): FlashPrefill => ({
    ...{ rows: from.next() < 0.5 ? near(8) : threads * from.integer(0, 17), keys: near(7), threads },
    ...{ tiles: from.pick(["workgroup", "registers"] as const), quads: from.next() < 0.3 },
    ...(from.next() < 0.2 ? { arithmetic: "f16" } : {})
  })
  return {
    kind: "flash",
    prefill: cut(),
    decode: {
      ...{ threads: near(8), tiles: from.pick(["workgroup", "registers"] as const) },
      ...{ keysPerSplit: from.pick([1, 4, 16, 64, 128, 256, 5]), maxSplits: from.pick([1, 4, 64, 3]) },
      ...(from.next() < 0.2 ? { subgroup: true } : {})
    },
    decodeRows: from.pick([0, 1, 4, 8, 16, 17]),
    ...(from.next() < 0.5 ? { short: cut() } : {})
  }
}

test("a schedule is legal if and only if each of its variants is listed", () => {
  const key = ({ rows, keys, threads, tiles, quads, arithmetic }: FlashPrefill): string =>
    JSON.stringify([rows, keys, threads, tiles, quads, arithmetic])
  const from = arrays.random(3)
  let count = 0
  for (const [D, E] of [
    [6, 9],
    [64, 64],
    [256, 31]
  ] as const) {
    const list = (variant: Variant) =>
      arithmetics.flatMap((arithmetic) => all(variant, software, D, E, arithmetic))
    const prefills = new Set(list("prefill").map((s) => key(s.prefill)))
    const decodes = new Set(list("decode").map((s) => JSON.stringify([s.decode, s.decodeRows])))
    const shorts = new Set(list("short").map((s) => key(s.short as FlashPrefill)))
    for (let n = 0; n < 20_000; n++) {
      const schedule = anySchedule(from)
      const { decode: cut, decodeRows, short } = schedule
      const { keysPerSplit, maxSplits } = cut
      const isListed =
        prefills.has(key(schedule.prefill)) &&
        (decodeRows > 0
          ? decodes.has(JSON.stringify([cut, decodeRows]))
          : keysPerSplit !== 5 && maxSplits !== 3) &&
        (short === undefined || (shorts.has(key(short)) && short.rows > decodeRows))
      expect(reason(schedule, software, D, E) === undefined, JSON.stringify(schedule)).toBe(isListed)
      if (isListed) count++
    }
  }
  expect(count).toBeGreaterThan(500)
})
