import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import { choose } from "../../../ir/chooseFlash.ts"
import { alternatives } from "../../../ir/flashAlternatives.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import { all, illegal, variants } from "../../../ir/flashSchedules.ts"
import * as Limits from "../../../ir/Limits.ts"
import { arithmetics, type Flash } from "../../../ir/Schedule.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  anyKey,
  causal,
  flashText,
  schedulesOf,
  small,
  smallQuads,
  smallStaged
} from "../../support/flashText.ts"
import { plainAttention } from "../../support/irText.ts"
import { planOf } from "../../support/plans.ts"
import { limitsOf, validate } from "../../support/runProgram.ts"
import { families, familyNames, listed, scheduled, worstShare, written } from "../../support/scheduled.ts"

const [D, E] = [6, 9]
const limits: Limits.Limits = { ...Limits.portable, subgroups: { min: 4, max: 4 } }

/** Draws of each family: a few of all there are, as many as there is time for. Products in f16 are emulated, and take long. */
const draws = { prefill: 14, decode: 9, short: 8, "prefill in f16": 5, "short in f16": 4 }

/** Multiply-adds of a kernel that a software device compiles in half a second. */
const mostWritten = 2048

test.each(familyNames)(
  "schedules drawn from all that are legal agree with the reference: %s",
  async (family) => {
    const device = await limitsOf("cpu")
    const from = arrays.random(11)
    for (let n = 0; n < draws[family]; n++) {
      const most = n % 2 === 0 ? 16 : 256
      const heads = [from.integer(1, most), from.integer(1, most)] as const
      const all = listed(family, device, heads)
      const cheap = all.filter((schedule) => written(family, schedule, heads) <= mostWritten)
      const number = from.integer(0, cheap.length - 1)
      const drawn = scheduled(family, cheap[number] as Flash, heads, device, number)
      const again = `npm run schedules -- --family "${family}" --head ${heads} --from ${number} --limit 1`
      await expect(worstShare(drawn, families[family].arithmetic), again).resolves.toBeLessThanOrEqual(1)
    }
  }
)

test("rows that four neighbours share agree with the reference, whatever the attention", async () => {
  const device = await limitsOf("cpu")
  const from = arrays.random(12)
  const kinds = new Set<string>()
  for (let n = 0; n < 10; n++) {
    const heads = [from.integer(1, 20), from.integer(1, 20)] as const
    const all = listed("decode", device, heads).filter((s) => s.decode.quads === true && s.decodeRows === 8)
    const drawn = scheduled("decode", from.pick(all), heads, device, n)
    kinds.add(drawn.name.split(";")[0] as string)
    expect(drawn.kernels.join()).toContain("quadSwap")
    await expect(worstShare(drawn, "f32"), drawn.name).resolves.toBeLessThanOrEqual(1)
  }
  expect(kinds.size).toBe(10)
})

test("a schedule that does not fit is refused before anything is compiled", () => {
  const graph = graphOf(flashText({ head: [D, E] }))
  const lowered = (schedule: Flash, limits = Limits.portable) =>
    lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
  const refused = (reason: string): unknown =>
    expect.objectContaining({
      _tag: "UnsupportedByDevice",
      message: `flash_attention: the schedule does not fit: ${reason}`
    })
  expect(() => lowered({ ...small, prefill: { ...small.prefill, rows: 5 } })).toThrow(
    refused("5 rows are not 1 to 16 for each of 2 threads")
  )
  expect(() => lowered(smallQuads)).toThrow(refused("threads cannot pass on what they load"))
  const neighbours = { ...small, decode: { ...small.decode, quads: true }, decodeRows: 4 } as const
  expect(() => lowered(neighbours)).toThrow(refused("threads cannot pass on what they load"))
  expect(() => lowered({ ...neighbours, decode: { ...neighbours.decode, threads: 8 } }, limits)).toThrow(
    refused("four threads that own rows share keys, and no others")
  )
  expect(() => lowered(smallStaged, { ...Limits.portable, maxComputeWorkgroupStorageSize: 64 })).toThrow(
    refused("588 bytes of workgroup memory exceed 64")
  )
})

/** Every so manieth, of each variant. */
const some = (heads: Budget.HeadSizes): ReadonlyArray<Flash> =>
  variants.flatMap((variant) =>
    arithmetics.flatMap((arithmetic) =>
      all(variant, limits, heads, E, arithmetic).filter((_, n) => n % 31 === 0)
    )
  )

test("the budget is what the kernels declare", () => {
  const those = some(D)
  const graph = graphOf(flashText({ ...causal, fill: "-3", head: [D, E], dtype: "f16" }))
  for (const schedule of those) {
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
    const most = Math.max(...kernels.map((k) => k.workgroupBytes))
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeGreaterThanOrEqual(most)
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeLessThan(most + 64)
  }
})

test("several logits cost registers and share workgroup memory", () => {
  const one = Budget.decodeTile(small.decode, 4, 8, 8) as Budget.Tile
  const two = Budget.decodeTile(small.decode, 4, [8, 4], 8) as Budget.Tile
  expect([one.terms, two.terms]).toEqual([1, 2])
  const shared = { ...small.decode, tiles: "workgroup" } as const
  expect(Budget.decodeTile({ ...shared, keysPerSplit: 16 }, 16, [8, 8, 8, 8], 256)).toBeUndefined()
  expect(Budget.decodeTile(small.decode, 16, [256, 8, 8, 8], 256)).toBeUndefined()
  const text = flashText({
    ...causal,
    fill: "-3",
    head: [D, E],
    more: [[1, 1, 17]],
    score: ["%sum: f32[] = add %logit, %logit1"],
    dtype: "f16"
  })
  const graph = graphOf(text)
  for (const schedule of some([D, 17])) {
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
    const most = Math.max(...kernels.map((k) => k.workgroupBytes))
    expect(Budget.workgroupBytes(schedule, [D, 17], E, 1)).toBeGreaterThanOrEqual(most)
    expect(Budget.workgroupBytes(schedule, [D, 17], E, 1)).toBeLessThan(most + 64)
  }
})

test("every head size has a schedule on the least device", () => {
  for (const kind of ["cpu", "gpu"] as const) {
    for (const size of [1, 2, 3, 4, 31, 64, 80, 96, 127, 128, 129, 192, 255, 256]) {
      for (const other of [1, 64, 256]) {
        for (const group of [undefined, 1, 4, 8, 32]) {
          const limits = { ...Limits.portable, kind }
          for (const sizes of [size, [size, other], [size, 64, 256, 3]]) {
            const schedule = choose(limits, sizes, other, group)
            expect(illegal(schedule, limits, sizes, other, "f16", group)).toBeUndefined()
          }
        }
      }
    }
  }
})

test("every variant passes Dawn's validation, with and without f16", async () => {
  const captures = { bias: "f16[4, T, S]", sinks: "f32[4]" }
  const score = [
    "%term: f16[] = load %bias, %h, %i, %j",
    "%wide: f32[] = cast %term",
    "%biased: f32[] = add %logit, %wide"
  ]
  const programs: ReadonlyArray<Attention> = [
    {
      heads: [4, 2] as const,
      ...causal,
      captures,
      score,
      sink: ["%z: f32[] = load %sinks, %h"],
      fill: "-1e9"
    },
    { heads: [4, 1] as const, head: [5, 3] as const, mask: causal.mask, range: anyKey },
    { heads: [2, 2] as const, head: [128, 64] as const, outputs: ["result", "max"] },
    { ...causal, normaliser: "none", outputs: ["result"] },
    {
      ...causal,
      more: [
        [1, 1, 64],
        [1, 2, 3]
      ],
      score: ["%sum: f32[] = add %logit, %logit1", "%all: f32[] = add %sum, %logit2"],
      outputs: ["result", "lse"]
    }
  ]
  for (const [kind, subgroups] of [
    ["gpu", undefined],
    ["cpu", undefined],
    ["cpu", { min: 4, max: 4 }]
  ] as const) {
    for (const shaderF16 of [false, true]) {
      for (const dtype of ["f32", "f16", "bf16"]) {
        for (const program of programs) {
          const graph = graphOf(flashText({ outputs: ["result", "lse"], ...program, dtype }))
          const lowered = lower(planOf(graph), { ...Limits.portable, kind, subgroups, shaderF16 })
          expect(lowered.kernels.some((k) => k.requires.f16 === true)).toBe(
            shaderF16 && lowered.kernels.some((k) => k.bindings.some((b) => b.dtype === "f16"))
          )
          await validate(lowered)
        }
      }
    }
  }
})

test("a subgroup meets half as many barriers, and is none where a subgroup may be smaller", async () => {
  const able = { ...Limits.portable, subgroups: { min: 32, max: 64 } }
  const graph = graphOf(flashText({ ...causal, heads: [8, 2], head: [64, 64], outputs: ["result", "lse"] }))
  const decode = { threads: 32, tiles: "workgroup", keysPerSplit: 64, maxSplits: 64 } as const
  const barriers = async (cut: Flash["decode"]): Promise<number> => {
    const program = lower(planOf(graph, schedulesOf({ ...small, decode: cut, decodeRows: 8 })(graph)), able)
    await validate(program)
    const [kernel] = program.kernels.filter((k) => k.name.startsWith("flash_decode"))
    expect(kernel?.requires.subgroups === true).toBe(cut.subgroup === true)
    return kernel?.wgsl.match(/workgroupBarrier\(\)/g)?.length ?? 0
  }
  // Of a tile of keys, of the sums of weights and of values at the end.
  expect(await barriers(decode)).toBe(4 + 2 + 2)
  expect(await barriers({ ...decode, subgroup: true })).toBe(2 + 0 + 2)
  const refused = (threads: number) =>
    illegal(
      { ...small, decode: { ...decode, threads, subgroup: true }, decodeRows: 8 },
      able,
      64,
      64,
      "f32",
      4
    )
  expect([refused(32), refused(64)]).toEqual([undefined, "64 threads may be more than one subgroup"])
  const chosen = (min: number) => choose({ ...able, subgroups: { min, max: 64 } }, 64, 64, 4).decode.subgroup
  expect([chosen(32), chosen(64)]).toEqual([undefined, true])
  const tried = alternatives(able, 64, 64, 4, 4).map((s) => s.decode)
  expect(tried).toContainEqual({ ...decode, subgroup: true })
  expect(tried.filter((d) => d.subgroup === true).map((d) => d.threads)).toEqual([32])
})

test("a head size that is a symbol is refused by name", () => {
  const graph = graphOf(`
%q: f32[1, 2, T, D] = input {name = "q"}
%k: f32[1, 2, S, D] = input {name = "k"}
%v: f32[1, 2, S, 8] = input {name = "v"}
%o: f32[1, 2, T, 8] = ${plainAttention("%q, %k, %v")}
return %o`)
  expect(() => lower(planOf(graph), Limits.portable)).toThrow(/head size D is symbolic/)
})
