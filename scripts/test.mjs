/**
 * Every promise of the repository in one run, counted on the last line.
 *
 *     npm test                  everything
 *     npm test -- unit          one kind: a folder of test/, or a check by its name
 *     npm test -- gpu flash     tests of a kind whose file or name contains the word
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const kinds = ["types", "unit", "filetests", "laws", "differential", "gpu", "browser", "package"]

const bin = (/** @type {string} */ name) => join("node_modules", ".bin", name)
/** Checks by name, in two rows that run side by side: of the sources, and of what the build makes of them. */
const ofSources = {
  lint: [bin("biome"), "check", "--error-on-warnings", "--max-diagnostics=50"],
  check: [bin("tsc"), "-p", "tsconfig.json"],
  page: [bin("tsc"), "-p", "examples/browser"],
  knip: [bin("knip"), "--no-progress"]
}
const ofBuild = {
  build: [process.execPath, "scripts/build.mjs"],
  publint: [bin("publint"), "--strict"],
  attw: [bin("attw"), "--pack", ".", "--profile", "esm-only", "--no-emoji", "--format", "ascii"],
  size: [process.execPath, "scripts/size.mjs"]
}
const checks = { ...ofSources, ...ofBuild }

/** @type {Array<import("./reporter.mjs").Outcome>} */
const outcomes = []

const seconds = (/** @type {number} */ since) => `${((Date.now() - since) / 1000).toFixed(1)} s`

const runCheck = async (/** @type {keyof typeof checks} */ name) => {
  const [command = "", ...args] = checks[name]
  const started = Date.now()
  const child = spawn(command, args, { cwd: root, shell: process.platform === "win32" })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text))
  /** @type {boolean} */
  const ok = await new Promise((resolve) => {
    child.on("error", (error) => (output += error.message))
    child.on("close", (code) => resolve(code === 0))
  })
  console.log(`${ok ? "passed" : "FAILED"}  ${name}  ${seconds(started)}`)
  if (!ok || name === "size") console.log(output.trim().replace(/^/gm, "    "))
  outcomes.push({
    kind: "checks",
    name,
    state: ok ? "passed" : "failed",
    note: ok ? "" : "see its output above"
  })
}

/** Test files of a kind, as paths. */
const filesOf = (/** @type {string} */ kind) => {
  const folder = join("test", kind)
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.test(-d)?\.ts$/.test(file))
    .map((file) => join(folder, file))
}

/**
 * @param {ReadonlyArray<string>} chosen
 * @param {ReadonlyArray<string>} words
 * @param {ReadonlyArray<string>} flags
 */
const runVitest = (chosen, words, flags) => {
  const files = chosen.flatMap(filesOf)
  if (files.length === 0) return
  const isFile = (/** @type {string} */ word) => files.some((file) => file.includes(word))
  const paths = words.filter(isFile)
  const names = words.filter((word) => !isFile(word))
  const folder = mkdtempSync(join(tmpdir(), "effuse-test-"))
  const report = join(folder, "outcomes.json")
  const started = Date.now()
  const isBuilt = outcomes.some(({ name, state }) => name === "build" && state === "passed")
  const { status } = spawnSync(
    process.execPath,
    [
      ...[join("node_modules", "vitest", "vitest.mjs"), "run", ...paths],
      ...chosen.flatMap((kind) => ["--project", kind]),
      ...(names.length === 0 ? [] : ["-t", names.join(".*")]),
      ...["--reporter=default", "--reporter=./scripts/reporter.mjs", "--passWithNoTests", ...flags]
    ],
    {
      cwd: root,
      stdio: "inherit",
      env: {
        // Programs of ours that tests start come in through code that Node has compiled before.
        NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "effuse", "compiled"),
        ...process.env,
        EFFUSE_TEST_OUTCOMES: report,
        ...(isBuilt ? { EFFUSE_BUILT: "1" } : {})
      }
    }
  )
  /** @type {typeof outcomes} */
  const found = existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) : []
  rmSync(folder, { recursive: true })
  for (const outcome of found) {
    if (outcome.state !== "skipped" || outcome.note !== "") outcomes.push(outcome)
    // A name filter skips all others and gives no reason; anything else owes one.
    else if (names.length === 0)
      outcomes.push({ ...outcome, state: "failed", note: "skipped without a reason" })
  }
  if (status !== 0 && !outcomes.some(({ state }) => state === "failed")) {
    outcomes.push({ kind: "checks", name: "vitest", state: "failed", note: `ended with status ${status}` })
  }
  console.log(`vitest took ${seconds(started)}`)
}

const summarise = () => {
  const of = (/** @type {string} */ state) => outcomes.filter((outcome) => outcome.state === state)
  const list = (/** @type {string} */ state) => {
    if (of(state).length > 0) console.log(`\n${state}:`)
    for (const { kind, name, note } of of(state))
      console.log(`  [${kind}] ${name}\n      ${note.split("\n")[0]}`)
  }
  console.log("")
  for (const kind of ["checks", ...kinds, "unhandled"]) {
    const own = outcomes.filter((outcome) => outcome.kind === kind)
    const count = (/** @type {string} */ state) => own.filter((outcome) => outcome.state === state).length
    if (own.length === 0) continue
    console.log(
      `${kind.padEnd(13)} ${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped`
    )
  }
  list("skipped")
  list("failed")
  if (outcomes.length === 0) console.log("No test ran: is the filter right?")
  process.exitCode = outcomes.length === 0 || of("failed").length > 0 ? 1 : 0
  console.log(
    `\n${of("passed").length} passed, ${of("failed").length} failed, ${of("skipped").length} skipped`
  )
}

const args = process.argv.slice(2)
const flags = args.filter((arg) => arg.startsWith("-"))
const words = args.filter((arg) => !arg.startsWith("-"))
const checkNames = /** @type {Array<keyof typeof checks>} */ (Object.keys(checks))
const chosenKinds = kinds.filter((kind) => words.includes(kind))
const chosenChecks = checkNames.filter((name) => words.includes(name))
const rest = words.filter((word) => !kinds.includes(word) && !checkNames.some((name) => name === word))

// `npx effuse` prefers dist/ to the sources, so a test that makes it takes it away again.
const dist = join(root, "dist")
const built = existsSync(dist)

console.log(`Node ${process.version}`)
const wanted = words.length === 0 ? checkNames : chosenChecks
await Promise.all(
  [ofSources, ofBuild].map(async (row) => {
    for (const name of wanted) if (name in row) await runCheck(name)
  })
)
if (words.length === 0 || chosenKinds.length > 0 || rest.length > 0) {
  if (chosenKinds.includes("package") && !chosenChecks.includes("build")) await runCheck("build")
  runVitest(chosenKinds.length > 0 ? chosenKinds : kinds, rest, flags)
}
if (!built) rmSync(dist, { recursive: true, force: true })
summarise()
