/**
 * Effuse and its peers side by side: each in a process of its own, in turns, every result compared with float64 loops over the definition.
 *
 *     npm run bench               WebGPU
 *     npm run bench -- --cpu      WebAssembly, and native code
 *     npm run bench -- --help     all options
 */
import { type Case, cpuCases, gpuCases } from "./cases/cases.ts"
import { inputsOf } from "./cases/inputs.ts"
import { judge } from "./cases/program.ts"
import { reference } from "./cases/reference.ts"
import { install } from "./engines.ts"
import { generateAll, generatedText, generateLine } from "./generation/race.ts"
import { type Options, parse } from "./options.ts"
import { type Peer, peers } from "./peers/index.ts"
import { child } from "./race/child.ts"
import { caseText, cpuLeads, cpuLine, gpuLeads, gpuLine, type Result, threadsOf } from "./race/report.ts"
import { type Contender, type Rates, race } from "./race/turns.ts"

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
const say = options.json ? console.error : console.log

const onProcessor = ({ threads, peers: names }: Options): ReadonlyArray<Contender> =>
  names.flatMap((peer): ReadonlyArray<Contender> => {
    const own: Peer = peers[peer]
    if (own.cpu === undefined) return []
    return threads.map((count) => ({
      label: `${peer} ${count}t`,
      peer,
      threads: count,
      child: child("./worker.ts", [peer, String(count), "cpu"]),
      skips: own.skips === true
    }))
  })

const onGpu = ({ mode, peers: names }: Options): ReadonlyArray<Contender> =>
  names.flatMap((peer): ReadonlyArray<Contender> => {
    const own: Peer = peers[peer]
    if (own.webgpu === undefined || (mode === "browser" && own.webgpu === "node")) return []
    const inPage = mode === "browser" || own.webgpu === "browser"
    const script = inPage ? "./pageWorker.ts" : "./worker.ts"
    const label = inPage && mode !== "browser" ? `${peer}, Chromium` : peer
    const skips = own.skips === true
    return [{ label, peer, threads: undefined, child: child(script, [peer, "1", "webgpu"]), skips }]
  })

/** Those that have the model. */
const generating = (): ReadonlyArray<Contender> => {
  const names = options.peers.filter((peer) => peer !== "plain" && peer !== "tfjs")
  const most = Math.max(...options.threads)
  const gpu = onGpu({ ...options, peers: names }).map((own) => ({ ...own, label: `${own.label}, WebGPU` }))
  return [...onProcessor({ ...options, peers: names, threads: [most] }), ...gpu]
}

/** Cases that take long have more of the time. */
const weight = (c: Case): number => (c.kind === "attention" && c.T >= 2048 ? 3 : 1)

const run = async (): Promise<void> => {
  install()
  const started = performance.now()
  const seconds = (): string => ((performance.now() - started) / 1000).toFixed(0)
  if (options.mode === "generate") {
    const contenders = generating()
    const all = await generateAll(contenders, options.rounds, 90_000)
    for (const { child: own } of contenders) own.close()
    if (options.json) console.log(JSON.stringify({ mode: options.mode, results: all }, undefined, 2))
    say(`${generatedText(all)}\n\nmedians; ${seconds()} s\n${generateLine(all)}`)
    return
  }
  const cpu = options.mode === "cpu"
  const limits = cpu
    ? { seconds: 240, turn: 120, callLimit: 2500, skipLimit: 6000, coldLimit: 15_000, tryAll: true }
    : { seconds: 400, turn: 250, callLimit: 3000, skipLimit: 20_000, coldLimit: 40_000, tryAll: false }
  const cases = (cpu ? cpuCases : gpuCases).filter((c) => options.only.includes(c.name))
  const all = cases.reduce((sum, c) => sum + weight(c), 0)
  const contenders = cpu ? onProcessor(options) : onGpu(options)
  const rates: Rates = new Map()
  const results: Array<Result> = []
  let spent = 0
  for (const c of cases) {
    const share = (part: number): number => started + (limits.seconds * 1000 * part) / all
    const late = performance.now() > share(spent + weight(c) / 2)
    spent += weight(c)
    const expected = reference(c, inputsOf(c))
    const entries = await race(c, contenders, rates, {
      rounds: options.rounds,
      ...limits,
      // A run that is late leaves the slow ones out.
      skipLimit: late ? limits.callLimit : limits.skipLimit,
      until: share(spent),
      judge: (own, actual) => judge(own, actual, expected)
    })
    results.push({ case: c, entries })
    say(`${caseText({ case: c, entries })}\n`)
  }
  for (const { child: own } of contenders) own.close()
  const threads = threadsOf(results)
  if (options.json) console.log(JSON.stringify({ mode: options.mode, results }, undefined, 2))
  say(`${cpu ? cpuLeads(results) : gpuLeads(results)}\n`)
  const counted = threads === undefined ? "" : `, ${threads} ${threads === 1 ? "thread" : "threads"} each`
  say(`medians${counted}; ${seconds()} s`)
  say(cpu ? cpuLine(results) : gpuLine(results))
}

await run()
process.exit(0)
