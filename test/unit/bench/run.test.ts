/** `npm run bench` as a process: to its end as JSON, and as text until it is interrupted. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"

const script = fileURLToPath(new URL("../../../bench/run.ts", import.meta.url))

/** Runs it, and sends a signal once so much was said. */
const bench = (args: ReadonlyArray<string>, interruptAfter?: RegExp) =>
  new Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>((resolve) => {
    const child = spawn(process.execPath, ["--no-warnings", script, ...args])
    let [out, err, isSent] = ["", "", false]
    child.stderr.on("data", (text) => {
      err += text
    })
    child.stdout.on("data", (text) => {
      out += text
      if (isSent || interruptAfter?.test(out) !== true) return
      isSent = true
      child.kill("SIGINT")
    })
    child.on("close", (code) => resolve({ code, out, err }))
  })

const alone = ["--cpu", "--peers", "effuse", "--threads", "1"]

test("a run prints its cases, what was wanted, and one last line; as JSON it says that on the error stream", async () => {
  const { code, out, err } = await bench([
    ...alone,
    ...["--only", "decode-4096,512-f16,512-causal", "--rounds", "1", "--json"]
  ])
  expect(code).toBe(0)
  expect(err).toMatch(/^decode-4096, 0\.01 GFLOP +median +quarters +calls/m)
  expect(err).toMatch(/^512-f16 beside 512-causal, 1 thread +[\d.]+× +≤ 1\.20×/m)
  const last = "bench cpu: prefill – decode – of the best wasm peer, prefill – decode – of native"
  expect(err.trimEnd().split("\n").at(-1)).toBe(last)
  const { complete, results, line } = JSON.parse(out)
  expect({ complete, line }).toEqual({ complete: true, line: last })
  for (const { entries } of results)
    expect(entries).toMatchObject([{ contender: "effuse 1t", state: "right", threads: 1 }])
})

test("an interrupted run says what it knows by then", async () => {
  const { code, out } = await bench(alone, /^ {2}effuse 1t/m)
  expect(code).toBe(130)
  expect(out).toMatch(/^ {2}effuse 1t +[\d.]+ ms/m)
  expect(out).toMatch(/^interrupted, not run: .*8192-window/m)
  expect(out.trimEnd()).toMatch(/\nbench cpu: prefill – .*$/)
})

test("what is mistyped is said on the error stream", async () => {
  expect(await bench(["--only", "512-casual"])).toEqual({
    code: 2,
    out: "",
    err: expect.stringContaining("did you mean 512-causal?")
  })
})
