/**
 * Mutation testing of the recogniser: drops its side conditions one at a time, in a copy, and runs the tests that must notice.
 *
 *     npm run mutate                      every mutation
 *     npm run mutate -- --only mask       those whose name, file or theme contains a word
 *     npm run mutate -- --list            names only
 *
 * Prints a table and exits with 1 when one survives.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Mutation, occurrences, type Theme } from "./mutations/Mutation.ts"
import { themes } from "./mutations/themes.ts"

const parts = [
  ...["ir", "passes", "backends", "src", "test", "scripts", "examples"],
  ...["vitest.config.ts", "package.json", "tsconfig.json"]
]
const root = fileURLToPath(new URL("..", import.meta.url))
const { values } = parseArgs({ options: { only: { type: "string" }, list: { type: "boolean" } } })

const chosen = (theme: Theme): ReadonlyArray<Mutation> =>
  theme.mutations.filter(
    ({ name, file }) => values.only === undefined || [theme.name, name, file].join(" ").includes(values.only)
  )

interface Verdict {
  readonly mutation: Mutation
  readonly outcome: "killed" | "survived" | "broken"
  /** The test that failed first, or what is wrong with the mutation. */
  readonly by: string
}

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

/** The tests of a theme in a copy; undefined where all pass. */
const firstFailure = async (
  copy: string,
  tests: ReadonlyArray<string>
): Promise<Omit<Verdict, "mutation"> | undefined> => {
  const output = join(copy, "mutation.json")
  rmSync(output, { force: true })
  const vitest = join(root, "node_modules/vitest/vitest.mjs")
  const projects = ["unit", "filetests", "laws", "differential"].flatMap((p) => ["--project", p])
  // One thread that keeps its modules: starting is most of the time that a mutation takes.
  const flags = ["--bail", "1", "--pool", "threads", "--no-isolate", "--maxWorkers", "1"]
  const report = ["--reporter", "json", "--outputFile", output]
  const run = spawn(process.execPath, [vitest, "run", ...projects, ...flags, ...report, ...tests], {
    cwd: copy,
    stdio: "ignore"
  })
  const [code] = await once(run, "exit")
  if (code === 0) return undefined
  if (!existsSync(output)) return { outcome: "broken", by: `vitest exits with ${code} and writes no report` }
  const { testResults } = JSON.parse(readFileSync(output, "utf8")) as Report
  const file = (name: string): string => name.slice(name.indexOf("test/"))
  for (const result of testResults) {
    const failed = result.assertionResults.find((t) => t.status === "failed")
    if (failed !== undefined) return { outcome: "killed", by: `${file(result.name)}: ${failed.fullName}` }
  }
  return { outcome: "broken", by: testResults.find((r) => r.status === "failed")?.message ?? "" }
}

const check = async (mutation: Mutation, copy: string, tests: ReadonlyArray<string>): Promise<Verdict> => {
  const path = join(copy, mutation.file)
  const text = readFileSync(path, "utf8")
  const found = occurrences(text, mutation)
  if (found !== 1) return { mutation, outcome: "broken", by: `its text stands ${found} times in the file` }
  writeFileSync(
    path,
    text.replace(mutation.from, () => mutation.to)
  )
  const failure = await firstFailure(copy, tests)
  writeFileSync(path, text)
  return { mutation, ...(failure ?? { outcome: "survived", by: "" }) }
}

const copied = (): string => {
  const copy = mkdtempSync(join(tmpdir(), "effuse-mutate-"))
  for (const part of parts) cpSync(join(root, part), join(copy, part), { recursive: true })
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
  return copy
}

const show = ({ mutation, outcome, by }: Verdict): void =>
  console.log(`  ${outcome.padEnd(8)}  ${mutation.file}: ${mutation.name}${by && `\n            ${by}`}`)

/** Each mutation of a theme, in as many copies as there are cores. */
const hold = async (theme: Theme, copies: ReadonlyArray<string>): Promise<ReadonlyArray<Verdict>> => {
  const left = [...chosen(theme)]
  if (left.length === 0) return []
  console.log(`\n${theme.name}`)
  const sound = await firstFailure(copies[0] as string, theme.tests)
  if (sound !== undefined) throw new Error(`tests fail without a mutation: ${sound.by}`)
  const verdicts: Array<Verdict> = []
  const work = async (copy: string): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const verdict = await check(next, copy, theme.tests)
      show(verdict)
      verdicts.push(verdict)
    }
  }
  await Promise.all(copies.map(work))
  return verdicts
}

const main = async (): Promise<number> => {
  if (values.list) {
    for (const theme of themes) for (const { name, file } of chosen(theme)) console.log(`${file}: ${name}`)
    return 0
  }
  const copies = Array.from({ length: availableParallelism() }, copied)
  const verdicts: Array<Verdict> = []
  try {
    for (const theme of themes) verdicts.push(...(await hold(theme, copies)))
  } finally {
    for (const copy of copies) rmSync(copy, { recursive: true, force: true, maxRetries: 3 })
  }
  const of = (outcome: Verdict["outcome"]) => verdicts.filter((v) => v.outcome === outcome)
  const counts = `${of("killed").length} killed, ${of("survived").length} survived, ${of("broken").length} broken`
  const alive = [...of("survived"), ...of("broken")]
  if (alive.length > 0) console.log("\nNo test notices:")
  alive.forEach(show)
  console.log(`\nmutate: ${verdicts.length} mutations, ${counts}`)
  return alive.length === 0 ? 0 : 1
}

process.exitCode = await main()
