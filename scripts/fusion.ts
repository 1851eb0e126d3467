/**
 * Draws attention programs along the axes of people's spellings, compiles them, and says which became one node and computed what
 * they say.
 *
 *     npm run fusion -- --programs 20000 --seed 1     programs of the seeds 1, 2, …; every one is checked on the reference
 *     npm run fusion -- --programs 1 --seed 513       one of them again
 *     npm run fusion -- --gpu                         on WebGPU, too: a software driver takes seconds for each
 *     npm run fusion -- --keep                        the smallest form of each failure becomes a file of test/filetests/fusion
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Print from "../ir/Print.ts"
import { table } from "../src/cli/table.ts"
import { coverage } from "../test/support/programs/coverage.ts"
import { changes, judge, traced, type Verdict } from "../test/support/programs/judge.ts"
import { onWebgpu } from "../test/support/programs/onWebgpu.ts"
import { describe, draw, type Program, turned } from "../test/support/programs/Program.ts"
import { shrink } from "../test/support/programs/shrink.ts"
import { shrinkGraph } from "../test/support/programs/shrinkGraph.ts"

const usage = "npm run fusion -- [--programs 2000] [--seed 1] [--gpu] [--keep]"

const refuse = (message: string): never => {
  console.error(`fusion: ${message}\nusage: ${usage}`)
  process.exit(2)
}

const flags = () => {
  try {
    return parseArgs({
      options: {
        programs: { type: "string", default: "2000" },
        seed: { type: "string", default: "1" },
        gpu: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false }
      }
    }).values
  } catch (error) {
    return refuse((error as Error).message)
  }
}

const whole = (name: string, text: string, least: number): number => {
  const value = Number(text)
  const isWhole = /^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least && value <= 2 ** 31
  return isWhole ? value : refuse(`--${name} ${text}: a whole number from ${least} to 2147483648 is wanted`)
}

const { programs, seed, gpu, keep, help } = flags()
if (help) {
  console.log(usage)
  process.exit(0)
}
const [count, first] = [whole("programs", programs, 1), whole("seed", seed, 0)]

/** Every failure counts; this many different ones are made small and printed. */
const mostShown = 20

const folder = fileURLToPath(new URL("../test/filetests/fusion/", import.meta.url))

/** A failure made small, once for all programs that shrink to the same. */
const shown = new Map<string, number>()

const report = (p: Program, { outcome, why }: Verdict): void => {
  if (why.startsWith("on WebGPU")) {
    console.log(`\n${outcome}: ${describe(p)}\n${why}`)
    return
  }
  if (shown.size >= mostShown) return
  const small = shrink(p, (candidate) => judge(candidate).outcome === outcome)
  const name = [outcome, ...turned(small).map((a) => `${a} ${small.choices[a]}`)].join(" ")
  shown.set(name, (shown.get(name) ?? 0) + 1)
  if (shown.get(name) !== 1) return
  const whole = traced(small)
  // What misses is attention only as a whole; what is wrong is wrong of any graph.
  const graph =
    outcome === "wrong" && changes(small, whole) ? shrinkGraph(whole, (g) => changes(small, g)) : whole
  const text = Print.graph(graph)
  console.log(`\n${outcome}: ${describe(p)}\nsmallest: ${describe(small)}\n${judge(small).why}\n${text}`)
  if (!keep) return
  const path = `${folder}${name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 80)}.eir`
  const passes = "canonicalize,normalize-softmax,normalize-mask,unexpand-heads,fuse-attention"
  writeFileSync(path, `// RUN: opt --passes ${passes}\n// ${describe(small)}\n${text}\n`)
  console.log(`written to ${path}; EFFUSE_BLESS=1 writes what is expected, once it is right`)
}

const seen = coverage()
const started = performance.now()
for (let i = 0; i < count; i++) {
  const p = draw(first + i)
  const offline = judge(p)
  const verdict = gpu && offline.outcome === "fused" ? await onWebgpu(p) : offline
  seen.add(p, verdict.outcome)
  if (verdict.outcome !== "fused") report(p, verdict)
  if (process.stderr.isTTY && (i % 50 === 49 || i + 1 === count)) {
    const rate = (i + 1) / ((performance.now() - started) / 1000)
    const left = Math.round((count - i - 1) / rate)
    process.stderr.write(`\r\u001b[K${i + 1} of ${count}, ${Math.round(rate)} a second, ${left} s left`)
  }
}
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")

const rows = seen.rows()
const cells = rows.map((r, i) => [
  r.axis === rows[i - 1]?.axis ? "" : r.axis,
  r.value,
  String(r.programs),
  String(r.fused)
])
console.log(table([["axis", "choice", "programs", "fused"], ...cells], [2, 3]))
const [fused, missed, wrong] = [seen.count("fused"), seen.count("missed"), seen.count("wrong")]
console.log(`fusion: ${count} programs, ${fused} fused, ${missed} missed, ${wrong} wrong`)
// The device keeps the process alive.
process.exit(missed + wrong > 0 ? 1 : 0)
