import { describe, expect, test } from "vitest"
import { type Case, cpuCases } from "../../../bench/cases/cases.ts"
import { limitOf, unknown } from "../../../bench/ceilings/limit.ts"
import { parse } from "../../../bench/options.ts"
import { cpuGoals, type Goal, goalsText, gpuGoals } from "../../../bench/race/goals.ts"
import { record } from "../../../bench/race/record.ts"
import {
  bar,
  caseText,
  cpuLine,
  digits,
  gpuLeads,
  gpuLine,
  lead,
  leadOfClosest,
  type Result,
  times
} from "../../../bench/race/report.ts"
import { geometricMean, summary } from "../../../bench/race/statistics.ts"
import type { Entry } from "../../../bench/race/turns.ts"

const attention = (name: string, counts?: "prefill" | "decode"): Case => ({
  ...{ kind: "attention", name, T: 64, S: 64, heads: [1, 1], D: 16, causal: true, dtype: "f32" },
  ...(counts === undefined ? {} : { counts })
})

const entry = (peer: string, median: number, state: Entry["state"] = "right", threads?: number): Entry => ({
  ...{
    contender: threads === undefined ? peer : `${peer} ${threads}t`,
    peer,
    threads,
    state,
    variant: "",
    note: "far off"
  },
  time: { median, low: median, high: median, least: median, count: 3 }
})

const stopped = (peer: string, above: number): Entry => ({
  ...{ contender: peer, peer, threads: undefined, state: "slow", variant: "", note: "stopped", above }
})

describe("statistics", () => {
  test("medians and quartiles lie between neighbours", () => {
    expect(summary([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1.75, high: 3.25, least: 1, count: 4 })
    expect(summary([7])).toEqual({ median: 7, low: 7, high: 7, least: 7, count: 1 })
    expect(() => summary([])).toThrow("there are no times")
  })

  test("ratios have a geometric mean, none have none", () => {
    expect(geometricMean([2, 8])).toBeCloseTo(4)
    expect(geometricMean([])).toBeUndefined()
  })
})

describe("the last line", () => {
  test("counts the best correct peer of each case, at equal threads", () => {
    const results: ReadonlyArray<Result> = [
      {
        case: attention("a", "prefill"),
        entries: [
          entry("effuse", 10, "right", 1),
          entry("effuse", 5, "right", 2),
          entry("onnxruntime-web", 1, "right", 1),
          entry("onnxruntime-web", 20, "right", 2),
          entry("tfjs", 1, "wrong", 2),
          entry("onnxruntime-node", 10, "right", 2)
        ]
      },
      {
        case: attention("b", "decode"),
        entries: [entry("effuse", 4, "right", 2), entry("jax-js", 2, "right", 2)]
      },
      { case: attention("c"), entries: [entry("effuse", 1, "right", 2), entry("jax-js", 100, "right", 2)] }
    ]
    expect(cpuLine(results)).toBe(
      "bench cpu: prefill 4.00× decode 0.50× of the best wasm peer, prefill 2.00× decode – of native"
    )
  })

  test("where every peer was stopped the lead is more than that, and is no part of the mean", () => {
    const entries = [entry("effuse", 10), stopped("tfjs", 1000), stopped("jax-js", 500)]
    const one = lead(entries, undefined, () => true)
    expect(one).toEqual({ times: 50, isMore: true, peer: "jax-js" })
    expect(times(one)).toBe(">50.00×")
    const other = [entry("effuse", 10), entry("tfjs", 20), entry("plain", 5, "closest")]
    const results = [entries, other].map((all, n) => ({ case: attention(`${n}`, "prefill"), entries: all }))
    expect(gpuLine(results)).toBe("bench: prefill 2.00× decode – of the best correct WebGPU peer")
    expect(leadOfClosest(other)).toMatchObject({ times: 0.5 })
    expect(lead(other, undefined, (peer) => peer === "plain")).toBeUndefined()
  })

  test("a kernel of one's own is no peer, and where Effuse is wrong nothing is claimed", () => {
    const results: ReadonlyArray<Result> = [
      { case: attention("a", "prefill"), entries: [entry("effuse", 1), entry("plain", 2), entry("tfjs", 3)] },
      { case: attention("b", "decode"), entries: [entry("effuse", 1, "wrong"), entry("tfjs", 9)] }
    ]
    expect(gpuLine(results)).toBe("bench: prefill 3.00× decode – of the best correct WebGPU peer")
    expect(lead(results[0]?.entries ?? [], undefined, (peer) => peer === "plain")).toEqual({
      times: 2,
      isMore: false,
      peer: "plain"
    })
  })
})

test("each case has its leads, or why there are none", () => {
  const cannot = (peer: string): Entry => ({
    ...{ contender: peer, peer, threads: undefined, state: "cannot", variant: "", note: "has none" }
  })
  const slow: Entry = { ...cannot("tfjs"), state: "slow" }
  const lines = gpuLeads([
    { case: attention("near"), entries: [entry("effuse", 2), entry("plain", 3, "closest"), slow] },
    { case: attention("other"), entries: [entry("effuse", 2), cannot("plain"), entry("tfjs", 1, "wrong")] },
    { case: attention("alone"), entries: [entry("effuse", 2)] }
  ]).split("\n")
  expect(lines).toHaveLength(4)
  expect(lines[0]).toMatch(/^near +of the best peer +– +too slow to be run$/)
  expect(lines[1]).toMatch(/of the plain kernel +1\.50× +█+ plain$/)
  expect(lines[2]).toMatch(/^other +of the best peer +– +no correct peer$/)
  expect(lines[3]).toMatch(/of the plain kernel +– +cannot$/)
})

test("a case says what is wrong, too slow or missing, and how often each was called", () => {
  const entries = [
    { ...entry("effuse", 2), wrong: ["fused"], variant: "plain", cold: { prepare: 30, first: 12 } },
    entry("jax-js", 1, "wrong"),
    entry("onnxruntime-web", 5),
    { ...entry("plain", 8, "closest"), variant: "every key before" },
    stopped("tfjs", 9000)
  ]
  const text = caseText({ case: attention("a"), entries }, () => 1.5)
  expect(text.split("\n")).toHaveLength(6)
  expect(text).toMatch(
    /^a, 0\.00 GFLOP +median +quarters +calls +GFLOP\/s +of limit +cold +compile +of Effuse/
  )
  expect(text).toMatch(
    /effuse +2\.00 ms +2\.00 to 2\.00 +3 +0\.07 +75 % +42\.0 +30\.0 +█{24} plain \(fused is WRONG\)/
  )
  expect(caseText({ case: attention("a"), entries }, unknown)).not.toMatch("%")
  expect(text).toMatch(/jax-js +1\.00 ms .* WRONG: far off/)
  expect(text).toMatch(/onnxruntime-web +5\.00 ms .* 2\.50× +█{9}▋/)
  expect(text).toMatch(/plain +8\.00 ms .* 4\.00× +█{6} stands in: every key before/)
  expect(text).toMatch(/tfjs +too slow +>4500\.00× +stopped/)
})

describe("goals", () => {
  const sized = (name: string, T: number, entries: ReadonlyArray<Entry>): Result => ({
    case: { ...attention(name), T, S: T } as Case,
    entries
  })
  const lineOf = (text: string, goals: ReadonlyArray<Goal>): string =>
    goalsText(goals)
      .split("\n")
      .find((line) => line.startsWith(text)) ?? ""

  test("of WebGPU: peers, the kernel written by hand, what stands in for a window, growth", () => {
    const goals = gpuGoals(
      [
        sized("512-causal", 512, [
          { ...entry("effuse", 10), cold: { prepare: 300, first: 100 } },
          entry("plain", 12),
          entry("tfjs", 50)
        ]),
        sized("2048-causal", 2048, [entry("effuse", 5), stopped("tfjs", 100)]),
        sized("2048-full", 2048, [entry("effuse", 8)]),
        sized("4096-window", 4096, [entry("effuse", 4), entry("plain", 44, "closest")]),
        // A machine that was busy then makes calls longer, not shorter.
        sized("16384-window", 16384, [
          { ...entry("effuse", 30), time: { median: 30, low: 25, high: 35, least: 20, count: 3 } }
        ]),
        sized("decode-4096", 1, [entry("effuse", 1, "wrong"), entry("tfjs", 3)])
      ],
      unknown
    )
    expect(lineOf("512-causal beside the best correct peer", goals)).toMatch(
      /5\.00× +≥ 4\.00×, aim 6\.00× +✓/
    )
    expect(lineOf("512-causal beside the plain", goals)).toMatch(/1\.20× +≥ 1\.30× +✗/)
    expect(lineOf("2048-causal beside the best", goals)).toMatch(/>20\.00× +≥ 4\.00×.* ✓/)
    expect(lineOf("4096-window beside the best causal-only", goals)).toMatch(/11\.00× +≥ 10\.00× +✓/)
    expect(lineOf("first call of 512", goals)).toMatch(/400 ms +≤ 1,000 ms, aim 500 ms +✓/)
    expect(lineOf("a query of 16384-window", goals)).toMatch(/1\.25× +≤ 1\.15× +✗/)
    expect(lineOf("2048-causal beside 2048-full", goals)).toMatch(/0\.63× +≤ 0\.57× +✗/)
    expect(lineOf("decode-4096", goals)).toMatch(/– +≥ 2\.50× +not measured/)
    expect(goalsText(goals)).toMatch(/4 of 7 reached$/)
  })

  test("of the processor: equal threads, and parts of what it does at best", () => {
    const c = cpuCases.find(({ name }) => name === "decode-16384") as Case
    const product = cpuCases.find(({ name }) => name === "matmul-1024") as Case
    const goals = cpuGoals(
      [
        sized("512-causal", 512, [
          entry("effuse", 10, "right", 1),
          entry("effuse", 5, "right", 2),
          entry("tfjs", 15, "right", 2),
          entry("onnxruntime-node", 4, "right", 2)
        ]),
        // 16.8 MB in a millisecond.
        { case: c, entries: [entry("effuse", 1, "right", 2)] },
        {
          case: product,
          entries: [entry("effuse", 20, "right", 2), entry("onnxruntime-web", 30, "right", 2)]
        }
      ],
      2,
      { flops: 300, tile: 200, reads: { "decode-16384": 20 } },
      // Half of what onnxruntime takes is 15 ms.
      ({ name }) => ({ "512-causal": 5, "matmul-1024": 14 })[name]
    )
    expect(lineOf("512-causal beside the best wasm peer, 2 threads", goals)).toMatch(/3\.00× .* ✓/)
    expect(lineOf("512-causal beside native, 2 threads", goals)).toMatch(
      /0\.80× +≥ 1\.00× +✗ █+▊? needs 125 % of the limit$/
    )
    expect(lineOf("decode-16384 of what can be read", goals)).toMatch(/84 % +≥ 60 % +✓/)
    expect(lineOf("matmul-1024 of the ceiling", goals)).toMatch(/54 % +≥ 65 % +✗/)
    expect(lineOf("matmul-1024 beside onnxruntime-web", goals)).toMatch(/1\.50× +≥ 2\.00× +✗ █+$/)
    expect(lineOf("first call", goals)).toMatch(/not measured/)
    expect(goalsText(goals)).toMatch(/2 of 5 reached, 1 of the others are past the limit of this machine$/)
  })

  test("what is to be read is past the limit where arithmetic takes longer", () => {
    const c = cpuCases.find(({ name }) => name === "decode-16384") as Case
    const goals = cpuGoals(
      [{ case: c, entries: [entry("effuse", 1, "right", 2)] }],
      2,
      { flops: 40, tile: 30, reads: { "decode-16384": 60 } },
      unknown
    )
    // 0.84 ms of arithmetic, 0.47 ms to read.
    expect(lineOf("decode-16384 of what can be read", goals)).toMatch(/28 % +≥ 60 % +✗ .* needs 180 % of/)
  })
})

test("a run that is kept replaces what the last of its kind said, and nothing else", () => {
  const one = record("", "WebGPU", "first\n")
  const two = record(one, "Processor", "second")
  const three = record(two, "WebGPU", "third")
  expect(three).toContain("## Processor\n\n```text\nsecond\n```\n\n## WebGPU\n\n```text\nthird\n```\n")
  expect(three).not.toContain("first")
  expect(record(three, "WebGPU", "third")).toBe(three)
})

test("bars show eighths, digits are three", () => {
  expect([bar(1, 2), bar(0.5, 2), bar(0.07, 2), bar(0, 2), bar(9, 2)]).toEqual(["██", "█", "▏", "▏", "██"])
  expect([digits(1234.5), digits(12.34), digits(1.234)]).toEqual(["1,235", "12.3", "1.23"])
})

describe("options", () => {
  test("are WebGPU, all cases and all peers unless told otherwise", () => {
    expect(parse([])).toMatchObject({
      options: { mode: "webgpu", browser: false, json: false, rounds: 3, threads: [1, 2], seconds: 350 }
    })
    expect(parse(["--cpu", "--browser", "--seconds=60"])).toMatchObject({
      options: { mode: "cpu", browser: true, seconds: 60 }
    })
    expect(
      parse(["--cpu", "--only=512-causal,decode-4096", "--peers", "jax-js", "--rounds", "2"])
    ).toMatchObject({
      options: { mode: "cpu", only: ["512-causal", "decode-4096"], peers: ["effuse", "jax-js"], rounds: 2 }
    })
  })

  test.each([
    [["--cqu"], "there is no option --cqu, did you mean --cpu?"],
    [["--only", "512-casual"], "there is no case 512-casual, did you mean 512-causal?"],
    [["--only", "8192-window"], "There are: 512-causal"],
    [["--only", "everything"], "there is no case everything. There are: 512-causal"],
    [["--peers", "jax"], "There are: effuse, plain, onnxruntime-web, onnxruntime-node, jax-js, tfjs"],
    [["--rounds", "0"], "--rounds is a whole number of 1 or more, not 0"],
    [["--threads", "two"], "--threads are whole numbers of 1 or more, not two"],
    [["--only"], "--only needs a value"],
    [["--only", "--json"], "--only needs a value"],
    [["--cpu", "--generate"], "--cpu and --generate are different runs"],
    [["--browser", "--generate"], "--generate runs in Node only"],
    [["--save", "--generate"], "--save is for runs of all cases"],
    [["--save", "--only", "512-causal"], "--save is for runs of all cases"],
    [["--seconds", "never"], "--seconds is a number above 0, not never"]
  ])("%j is refused", (args, message) => {
    const parsed = parse(args)
    expect("error" in parsed ? parsed.error : "").toContain(message)
  })

  test("help names cases and peers", () => {
    const parsed = parse(["--help"])
    expect("help" in parsed ? parsed.help : "").toMatch(/--only[\s\S]*onnxruntime-web[\s\S]*8192-window/)
  })
})

test("the limit of a case is the longest of what it needs", () => {
  // 2.147 GFLOP, 12.58 MB.
  const product = cpuCases.find(({ name }) => name === "matmul-1024") as Case
  expect(limitOf(product, { flops: 100 }).milliseconds).toBeCloseTo(21.47)
  expect(limitOf(product, { flops: 100, bytes: 1 }, 12.6)).toMatchObject({ of: "arithmetic" })
  expect(limitOf(product, { flops: 1000, bytes: 1 })).toMatchObject({ of: "memory" })
  expect(limitOf(product, { flops: 1000, bytes: 1, loads: 0.2 })).toMatchObject({ of: "loads" })
  expect(limitOf(product, { flops: 1000 }, 3)).toEqual({ milliseconds: 3, of: "dispatch" })
})
