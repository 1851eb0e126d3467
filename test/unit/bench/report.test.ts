import { describe, expect, test } from "vitest"
import type { Case } from "../../../bench/cases/cases.ts"
import { parse } from "../../../bench/options.ts"
import { bar, caseText, cpuLine, digits, gpuLine, lead, type Result } from "../../../bench/race/report.ts"
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

  test("a kernel of one's own is no peer, and where Effuse is wrong nothing is claimed", () => {
    const results: ReadonlyArray<Result> = [
      { case: attention("a", "prefill"), entries: [entry("effuse", 1), entry("plain", 2), entry("tfjs", 3)] },
      { case: attention("b", "decode"), entries: [entry("effuse", 1, "wrong"), entry("tfjs", 9)] }
    ]
    expect(gpuLine(results)).toBe("bench: prefill 3.00× decode – of the best correct WebGPU peer")
    expect(lead(results[0]?.entries ?? [], undefined, (peer) => peer === "plain")).toEqual({
      times: 2,
      peer: "plain"
    })
  })
})

test("a case says what is wrong, too slow or missing", () => {
  const slow: Entry = {
    ...{ contender: "tfjs", peer: "tfjs", threads: undefined },
    state: "slow",
    note: "more than 9 s",
    variant: ""
  }
  const text = caseText({
    case: attention("a"),
    entries: [entry("effuse", 2), entry("jax-js", 1, "wrong"), slow]
  })
  expect(text.split("\n")).toHaveLength(4)
  expect(text).toMatch(/effuse +2\.00 ms .* █{24}/)
  expect(text).toMatch(/jax-js +1\.00 ms .* WRONG: far off/)
  expect(text).toMatch(/tfjs +too slow +more than 9 s/)
})

test("bars show eighths, digits are three", () => {
  expect([bar(1, 2), bar(0.5, 2), bar(0.07, 2), bar(0, 2), bar(9, 2)]).toEqual(["██", "█", "▏", "▏", "██"])
  expect([digits(1234.5), digits(12.34), digits(1.234)]).toEqual(["1,235", "12.3", "1.23"])
})

describe("options", () => {
  test("are WebGPU, all cases and all peers unless told otherwise", () => {
    expect(parse([])).toMatchObject({ options: { mode: "webgpu", json: false, rounds: 3, threads: [1, 2] } })
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
    [["--cpu", "--browser"], "--cpu and --browser are different runs"]
  ])("%j is refused", (args, message) => {
    const parsed = parse(args)
    expect("error" in parsed ? parsed.error : "").toContain(message)
  })

  test("help names cases and peers", () => {
    const parsed = parse(["--help"])
    expect("help" in parsed ? parsed.help : "").toMatch(/--only[\s\S]*onnxruntime-web[\s\S]*8192-window/)
  })
})
