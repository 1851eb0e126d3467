/**
 * Effuse and its peers side by side: each in a process of its own, in turns, every result compared with float64 loops over the definition.
 *
 *     npm run bench               WebGPU
 *     npm run bench -- --cpu      WebAssembly, and native code
 *     npm run bench -- --help     all options
 *     npm run --silent bench -- --json > results.json
 *
 * A run ends after a while, or when it is interrupted, and says what it knows by then.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { fileURLToPath } from "node:url"
import { bytesOf, type Case, cpuCases, gpuCases } from "./cases/cases.ts"
import { inputsOf } from "./cases/inputs.ts"
import { judge } from "./cases/program.ts"
import { reference } from "./cases/reference.ts"
import { type LimitsOf, limitOf, type Rates } from "./ceilings/limit.ts"
import { type ThreadCeilings, threadCeilings } from "./ceilings/threads.ts"
import type { GpuCeilings } from "./ceilings/webgpu.ts"
import { contendersOf, generating } from "./contenders.ts"
import { build, install } from "./engines.ts"
import { generateAll, generatedText, generateLine } from "./generation/race.ts"
import { parse } from "./options.ts"
import { cpuGoals, goalsText, gpuGoals } from "./race/goals.ts"
import { record } from "./race/record.ts"
import {
  caseText,
  cpuLeads,
  cpuLine,
  digits,
  gpuLeads,
  gpuLine,
  type Result,
  threadsOf
} from "./race/report.ts"
import { nothingKnown, race, type Settings } from "./race/turns.ts"

const parsed = parse(process.argv.slice(2))
if ("error" in parsed) {
  console.error(parsed.error)
  process.exit(2)
}
if ("help" in parsed) {
  console.log(parsed.help)
  process.exit(0)
}
const { options } = parsed
const said: Array<string> = []
const say = (text: string): void => {
  said.push(text)
  if (options.json) console.error(text)
  else console.log(text)
}
const isCpu = options.mode === "cpu"
const contenders = options.mode === "generate" ? generating(options) : contendersOf(options)

const started = performance.now()
const elapsed = (): number => (performance.now() - started) / 1000
let deadline = started + options.seconds * 1000
let interrupted = false

/** Whoever computes is stopped, and the run goes on to its end, which has nothing left to wait for. */
const interrupt = (): void => {
  // Terminals and npm both pass it on, so that it comes more than once; who means it again waits a little.
  if (interrupted && performance.now() - deadline > 2000) process.exit(130)
  if (interrupted) return
  interrupted = true
  deadline = performance.now()
  for (const { child } of contenders) child.close()
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, interrupt)

/** A line that the next one overwrites, for people who wait. */
const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${text}`)
}

const limits = isCpu
  ? { turn: 120, slow: 500, callLimit: 6000, coldAllowance: 3000, skipLimit: 6000, tryAll: true }
  : { turn: 250, slow: 500, callLimit: 10_000, coldAllowance: 5000, skipLimit: 12_000, tryAll: false }

const isAlone = (c: Case): boolean => c.kind === "attention" && c.alone === true

/** Cases that take long have more of the time. */
const weight = (c: Case): number =>
  c.kind === "block" || (c.kind === "attention" && c.T >= 2048 && !isAlone(c)) ? 3 : 1

/** Seconds that are kept for engines to start, before the first case. */
const opening = 20

const settingsOf = (c: Case, until: number): Settings => {
  const expected = reference(c, inputsOf(c))
  return {
    ...{ rounds: options.rounds, ...limits, until, deadline: () => deadline },
    judge: (asked, actual) =>
      judge(asked, actual, asked === c ? expected : reference(asked, inputsOf(asked))),
    progress: (label) => progress(`${c.name}: ${label}, ${elapsed().toFixed(0)} s`)
  }
}

/** The results of all cases, or of those that the run came to. */
const raced = async (cases: ReadonlyArray<Case>, limits: LimitsOf): Promise<ReadonlyArray<Result>> => {
  const results: Array<Result> = []
  const all = cases.reduce((sum, c) => sum + weight(c), 0)
  const known = nothingKnown()
  let spent = 0
  for (const c of cases) {
    if (performance.now() >= deadline) return results
    spent += weight(c)
    const until = started + 1000 * (opening + ((options.seconds * 0.9 - opening) * spent) / all)
    const own = contenders.filter(({ peer }) => !isAlone(c) || peer === "effuse")
    const result = { case: c, entries: await race(c, own, known, settingsOf(c, until)) }
    progress("")
    results.push(result)
    say(`${caseText(result, limits)}\n`)
  }
  return results
}

const isDecode = (c: Case): boolean => c.kind === "attention" && c.T === 1 && c.S === 16384

/** What the processor does at best, for each number of threads: in registers, in tiles, and reading what the longest decodes read. */
const ceilingsOf = async (cases: ReadonlyArray<Case>): Promise<ReadonlyArray<ThreadCeilings>> => {
  const sizes = Object.fromEntries(cases.filter(isDecode).map((c) => [c.name, bytesOf(c)]))
  const found: Array<ThreadCeilings> = []
  if (isCpu) for (const threads of options.threads) found.push(await threadCeilings(threads, sizes))
  return found
}

/** What the device does at best; it is Node's, also where contenders run in a browser. */
const deviceCeilings = (): GpuCeilings | undefined => {
  if (isCpu) return undefined
  const script = fileURLToPath(new URL("ceilings/device.ts", import.meta.url))
  const text = execFileSync(process.execPath, [script], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"]
  })
  return text === "" ? undefined : JSON.parse(text)
}

/** What no contender can be faster than, whose registers are as wide as those that were measured. */
const limitsFrom =
  (threads: ReadonlyArray<ThreadCeilings>, device: GpuCeilings | undefined): LimitsOf =>
  (c, count) => {
    const own = count === undefined ? undefined : threads[options.threads.indexOf(count)]
    const rates: Rates | undefined =
      own === undefined ? device : { flops: own.flops, bytes: own.reads[c.name] }
    return rates === undefined ? undefined : limitOf(c, rates).milliseconds
  }

/** The more of each: others on the machine only make it less. */
const more = (
  before: ReadonlyArray<ThreadCeilings>,
  after: ReadonlyArray<ThreadCeilings>
): ReadonlyArray<ThreadCeilings> =>
  before.map(({ flops, tile, reads }, n) => ({
    flops: Math.max(flops, after[n]?.flops ?? 0),
    tile: Math.max(tile, after[n]?.tile ?? 0),
    reads: Object.fromEntries(
      Object.entries(reads).map(([name, read]) => [name, Math.max(read, after[n]?.reads[name] ?? 0)])
    )
  }))

const ceilingText = ({ flops, tile, reads }: ThreadCeilings, n: number): string => {
  const parts = Object.entries(reads).map(([name, read]) => `${digits(read)} GB/s read of ${name}`)
  return `${options.threads[n]}t at best: ${[`${digits(flops)} GFLOP/s in registers, ${digits(tile)} in tiles`, ...parts].join(", ")}\n`
}

/** Why a run is over before its end, and what of it is missing. */
const ended = (missing: ReadonlyArray<string>): string =>
  `${interrupted ? "interrupted" : `ended after --seconds ${options.seconds}`}, not run: ${missing.join(", ") || "the last of them"}`

const generate = async (): Promise<void> => {
  const all = await generateAll(contenders, options.rounds, 90_000, () => deadline)
  const missing = contenders
    .map(({ label }) => label)
    .filter((label) => !all.some(({ contender }) => contender === label))
  const complete = performance.now() < deadline && missing.length === 0
  if (options.json) console.log(JSON.stringify({ mode: options.mode, complete, results: all }, undefined, 2))
  say(`${generatedText(all)}\n\nmedians; ${elapsed().toFixed(0)} s`)
  if (!complete) say(ended(missing))
  say(generateLine(all))
}

const run = async (): Promise<void> => {
  const all = isCpu ? cpuCases : gpuCases
  const cases = all.filter((c) => options.only.includes(c.name))
  const cores = `${cpus().length} processors, ${cpus()[0]?.model.trim() ?? "of some kind"}`
  const machine = `${cores}, load ${loadavg()[0]?.toFixed(1)}; Node ${process.version}`
  say(`${machine}; times in milliseconds\n`)
  const before = await ceilingsOf(cases)
  const device = deviceCeilings()
  const results = await raced(cases, limitsFrom(before, device))
  const ceilings = more(before, interrupted ? [] : await ceilingsOf(cases))
  const limits = limitsFrom(ceilings, device)
  const everyGoal = isCpu
    ? options.threads.flatMap((threads, n) => cpuGoals(results, threads, ceilings[n], limits))
    : gpuGoals(results, limits)
  // Of chosen cases only what they tell of.
  const goals = everyGoal.filter((g) => g.reached !== undefined || cases.length === all.length)
  const line = isCpu ? cpuLine(results) : gpuLine(results)
  const missing = cases.filter((c) => !results.some((r) => r.case === c)).map((c) => c.name)
  const seconds = Math.round(elapsed())
  const complete = !interrupted && missing.length === 0
  const about = { mode: options.mode, browser: options.browser, machine }
  if (options.json)
    console.log(
      JSON.stringify(
        { ...about, complete, seconds, ceilings: isCpu ? ceilings : device, results, goals, line },
        undefined,
        2
      )
    )
  const ahead = isCpu ? cpuLeads(results) : gpuLeads(results)
  if (ahead !== "") say(`${ahead}\n`)
  say(`${ceilings.map(ceilingText).join("")}${goalsText(goals)}\n`)
  const threads = threadsOf(results)
  const counted = threads === undefined ? "" : `, ${threads} ${threads === 1 ? "thread" : "threads"} each`
  say(`medians${counted}; ${seconds} s`)
  if (!complete) say(ended(missing))
  say(line)
  if (options.save && complete) save()
}

const save = (): void => {
  const file = fileURLToPath(new URL("RESULTS.md", import.meta.url))
  const title = `${isCpu ? "WebAssembly and native code" : "WebGPU"}${options.browser ? " in Chromium" : ""}`
  writeFileSync(file, record(existsSync(file) ? readFileSync(file, "utf8") : "", title, said.join("\n")))
}

if (!options.browser) build()
if (options.peers.some((peer) => peer !== "effuse" && peer !== "plain")) install()
await (options.mode === "generate" ? generate() : run())
for (const { child } of contenders) child.close()
process.exit(interrupted ? 130 : 0)
