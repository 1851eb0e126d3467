import { expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import { statsOf } from "../../../backends/webgpu/stats.ts"
import { choose } from "../../../ir/chooseFlash.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { agree } from "../../support/agree.ts"
import { graphOf } from "../../support/evaluate.ts"
import {
  type Attention,
  causal,
  flashText,
  schedulesOf,
  small,
  smallDecode,
  window
} from "../../support/flashText.ts"
import { planOf } from "../../support/plans.ts"
import { sharedSession } from "../../support/runProgram.ts"

const costOf = (attention: Attention, schedule: Flash) => {
  const graph = graphOf(flashText(attention))
  const plan = planOf(graph, schedulesOf(schedule)(graph))
  const program = lower(plan, Limits.portable)
  return (sizes: { readonly [s: string]: number }) => statsOf(plan, program, Limits.portable, sizes)
}

/** Bytes of one key and its value: f32, D = E = 8. */
const perKey = (8 + 8) * 4

/** Two threads, each of which reads for rows of its own. */
const readers = small.prefill.threads

test("keys are read once for each block of rows of a group, and only those that may be visible", () => {
  // Blocks of 4 rows; 2 key/value heads.
  const full = costOf({ heads: [4, 2] }, small)
  expect(full({ T: 8, S: 16 }).keyValueBytesRead).toBe(2 * 4 * readers * 16 * perKey)
  const triangle = costOf({ ...causal, heads: [2, 2] }, small)
  expect(triangle({ T: 16, S: 16 }).keyValueBytesRead).toBe(2 * readers * (4 + 8 + 12 + 16) * perKey)
  const near = costOf({ ...window(4), heads: [2, 2] }, small)
  const [short, long] = [near({ T: 64, S: 64 }), near({ T: 640, S: 640 })]
  expect(long.keyValueBytesRead / short.keyValueBytesRead).toBeLessThan(10.5)
})

test("a decode reads every key once, whatever the splits", () => {
  const decode = costOf({ heads: [4, 2] }, smallDecode)
  for (const S of [1, 5, 100]) expect(decode({ T: 1, S }).keyValueBytesRead).toBe(2 * S * perKey)
})

test("on the schedules that are chosen: once per group and tile of queries, half under a causal mask, flat in length under a window", () => {
  for (const kind of ["cpu", "gpu"] as const) {
    const chosen = choose({ ...Limits.portable, kind }, 64, 64, 4)
    const cost = (attention: Attention) => costOf({ heads: [8, 2], head: [64, 64], ...attention }, chosen)
    const bytes = (attention: Attention, T: number) => cost(attention)({ T, S: T }).keyValueBytesRead
    const [T, blocks] = [512, Math.ceil((4 * 512) / chosen.prefill.rows)]
    expect(bytes({}, T)).toBe(2 * blocks * T * 128 * 4 * (kind === "cpu" ? chosen.prefill.threads : 1))
    const half = bytes(causal, 4096) / bytes({}, 4096)
    expect(half).toBeGreaterThan(0.5)
    expect(half).toBeLessThan(0.51)
    const perQuery = [4096, 16384].map((length) => bytes(window(256), length) / length) as [number, number]
    expect(Math.abs(perQuery[1] / perQuery[0] - 1)).toBeLessThan(0.15)
    // A call of few queries reads each key once.
    for (const [few, S] of [
      [1, 4096],
      [kind === "gpu" ? 8 : 1, 16384]
    ] as const) {
      expect(cost({})({ T: few, S }).keyValueBytesRead).toBe(2 * S * 128 * 4)
    }
  }
})

test("every logit's keys are read, values only where they are used", () => {
  const bytes = (attention: Attention) => costOf(attention, small)({ T: 4, S: 16 }).keyValueBytesRead
  // The second logit's keys have 4 elements and are shared by the heads, each of which reads them.
  expect(bytes({ more: [[1, 1, 4]], score: ["%sum: f32[] = add %logit, %logit1"] })).toBe(
    2 * readers * 16 * (perKey + 4 * 4)
  )
  expect(bytes({ outputs: ["max"] })).toBe((2 * readers * 16 * perKey) / 2)
  expect(bytes({ ...causal, normaliser: "none" })).toBe(2 * readers * 4 * perKey)
})

test("lengths choose the kernels, and compile none", async () => {
  const graph = graphOf(flashText({ heads: [4, 2] }))
  const schedules = schedulesOf(smallDecode)
  const program = lower(planOf(graph, schedules(graph)), Limits.portable)
  const kernelsAt = (sizes: { readonly [s: string]: number }) =>
    Program.steps(program, sizes).map((s) => program.kernels[s.kernel]?.name)
  expect(kernelsAt({ T: 1, S: 4 })).toEqual(["flash_decode"])
  expect(kernelsAt({ T: 1, S: 5 })).toEqual(["flash_decode", "flash_combine"])
  expect(kernelsAt({ T: 4, S: 5 })).toEqual(["flash_decode", "flash_combine"])
  expect(kernelsAt({ T: 5, S: 5 })).toEqual(["flash_prefill"])
  expect(kernelsAt({ T: 0, S: 5 })).toEqual([])
  const session = await sharedSession()
  for (const [T, S] of [
    [1, 4],
    [2, 5],
    [5, 5]
  ] as const) {
    await agree(graph, { T, S }, { kind: "cpu", schedules })
  }
  const created = session.pipelinesCreated()
  for (const [T, S] of [
    [1, 9],
    [4, 30],
    [5, 30],
    [17, 3]
  ] as const) {
    await agree(graph, { T, S }, { kind: "cpu", schedules })
  }
  expect(session.pipelinesCreated()).toBe(created)
})

test("scratch does not grow with the queries of a prefill, nor with the keys", () => {
  const cost = costOf({ heads: [4, 2] }, smallDecode)
  expect(cost({ T: 1000, S: 100000 }).scratchBytes).toBe(0)
  expect(cost({ T: 4, S: 100000 }).scratchBytes).toBe(cost({ T: 4, S: 100 }).scratchBytes)
})
