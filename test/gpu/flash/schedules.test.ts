import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  anyKey,
  causal,
  flashText,
  schedulesOf,
  small,
  window
} from "../../support/flashText.ts"
import { planOf, validate } from "../../support/runProgram.ts"

/** Every prefill schedule of small numbers, legal or not. */
const prefills: ReadonlyArray<Flash> = (["registers", "workgroup"] as const).flatMap((tiles) =>
  [4, 12].flatMap((rows) =>
    [1, 6].flatMap((keys) =>
      [1, 2, 6].map((threads) => ({ ...small, prefill: { rows, keys, threads, tiles } }))
    )
  )
)

const decodes: ReadonlyArray<Flash> = [1, 16].flatMap((threads) =>
  [1, 5].flatMap((keysPerSplit) =>
    [1, 4].map((maxSplits) => ({ ...small, decode: { threads, keysPerSplit, maxSplits }, decodeRows: 8 }))
  )
)

const [D, E] = [6, 9]

test("every legal schedule gives the same numbers", async () => {
  const legal = [...prefills, ...decodes].filter((s) => Budget.legal(s, Limits.portable, D, E, "f32", 2))
  expect(legal.length).toBeGreaterThan(20)
  const text = flashText({ ...window(5), heads: [2, 1], head: [D, E], fill: "-3" })
  for (const schedule of legal) {
    const T = schedule.decodeRows > 0 ? 3 : 7
    await agree(text, { T, S: 11 }, { kind: "cpu", schedules: schedulesOf(schedule) })
  }
})

test("a schedule that does not fit is refused before anything is compiled", () => {
  const graph = graphOf(flashText({ head: [D, E] }))
  const lowered = (schedule: Flash, limits = Limits.portable) =>
    lower(planOf(graph, schedulesOf(schedule)(graph)), limits)
  const refused = /UnsupportedByDevice|does not fit/
  expect(() => lowered({ ...small, prefill: { ...small.prefill, rows: 5 } })).toThrow(refused)
  expect(() => lowered({ ...small, prefill: { ...small.prefill, keys: 3 } })).toThrow(refused)
  expect(() => lowered(small, { ...Limits.portable, maxComputeWorkgroupStorageSize: 64 })).toThrow(refused)
  expect(() => lowered(small, { ...Limits.portable, maxComputeInvocationsPerWorkgroup: 1 })).toThrow(refused)
})

test("the budget is what the kernels declare", () => {
  const legal = [...prefills, ...decodes].filter((s) => Budget.legal(s, Limits.portable, D, E, "f32", 1))
  const graph = graphOf(flashText({ head: [D, E] }))
  for (const schedule of legal) {
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), Limits.portable)
    const most = Math.max(...kernels.map((k) => k.workgroupBytes))
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeGreaterThanOrEqual(most)
    expect(Budget.workgroupBytes(schedule, D, E, 1)).toBeLessThan(most + 64)
  }
})

test("several logits cost registers and share workgroup memory", () => {
  const one = Budget.decodeTile(small.decode, 4, 8, 8) as Budget.Tile
  const two = Budget.decodeTile(small.decode, 4, [8, 4], 8) as Budget.Tile
  expect([one.terms, two.terms]).toEqual([1, 2])
  expect(Budget.decodeTile({ ...small.decode, keysPerSplit: 16 }, 16, [8, 8, 8, 8], 256)).toBeUndefined()
  const text = flashText({
    head: [D, E],
    more: [[1, 1, 17]],
    score: ["%sum: f32[] = add %logit, %logit1"]
  })
  const graph = graphOf(text)
  for (const schedule of [...prefills, ...decodes]) {
    if (!Budget.legal(schedule, Limits.portable, [D, 17], E, "f32", 1)) continue
    const { kernels } = lower(planOf(graph, schedulesOf(schedule)(graph)), Limits.portable)
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
            const schedule = Budget.choose(limits, sizes, other, group)
            expect(Budget.illegal(schedule, limits, sizes, other, "f16", group)).toBeUndefined()
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
  for (const kind of ["gpu", "cpu"] as const) {
    for (const shaderF16 of [false, true]) {
      for (const dtype of ["f32", "f16", "bf16"]) {
        for (const program of programs) {
          const graph = graphOf(flashText({ outputs: ["result", "lse"], ...program, dtype }))
          const lowered = lower(planOf(graph), { ...Limits.portable, kind, shaderF16 })
          expect(lowered.kernels.some((k) => k.requires.f16 === true)).toBe(
            shaderF16 && lowered.kernels.some((k) => k.bindings.some((b) => b.dtype === "f16"))
          )
          await validate(lowered)
        }
      }
    }
  }
})

test("a head size that is a symbol is refused by name", () => {
  const graph = graphOf(`
%q: f32[1, 2, T, D] = input {name = "q"}
%k: f32[1, 2, S, D] = input {name = "k"}
%v: f32[1, 2, S, 8] = input {name = "v"}
%o: f32[1, 2, T, 8] = flash_attention %q, %k, %v {
  score = {
    %logit: f32[] = input {name = "logit"}
    %b: i32[] = input {name = "b"}
    %h: i32[] = input {name = "h"}
    %i: i32[] = input {name = "i"}
    %j: i32[] = input {name = "j"}
    return %logit
  },
  fill = -inf,
  output = "result"
}
return %o`)
  expect(() => lower(planOf(graph), Limits.portable)).toThrow(/head size D is symbolic/)
})
