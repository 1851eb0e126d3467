/** `node src/cli/main.ts` as a new user meets it: help, typos, exit codes, pipes, knobs. */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { exitCodes } from "../../../src/cli/CliFailure.ts"
import { commands } from "../../../src/cli/commands.ts"
import { ansi, paintFor, plain } from "../../../src/cli/Paint.ts"
import { knobs } from "../../../src/knobs.ts"
import { effuse, spawnEffuse } from "../../support/cli.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const fixtures = fileURLToPath(new URL("fixtures/definitions.ts", import.meta.url))

describe("help", () => {
  test("lists every command and every exit code", async () => {
    const { code, out } = await effuse(["--help"])
    expect(code).toBe(0)
    for (const { name } of commands) expect(out).toMatch(new RegExp(`^  ${name} `, "m"))
    for (const { code, meaning } of Object.values(exitCodes)) expect(out).toContain(`${code}  ${meaning}`)
  })

  for (const { name } of commands) {
    test(`${name} --help says what it does, with an example`, async () => {
      const { code, out } = await effuse([name, "--help"])
      expect(code).toBe(0)
      expect(out).toMatch(new RegExp(`EXAMPLES[\\s\\S]*effuse ${name}`))
    })
  }

  test("--version is the package's", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }
    expect((await effuse(["--version"])).out.trim()).toBe(version)
  })
})

describe("typos", () => {
  const typos: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
    [["rnu", "x.eir"], "run"],
    [["dmup"], "dump"],
    [["dump", "x.eir", "--fromat", "svg"], "--format"],
    [["run", "x.eir", "--bakend", "webgpu"], "--backend"]
  ]
  for (const [args, meant] of typos) {
    test(`${args.join(" ")}: did you mean ${meant}?`, async () => {
      const { code, out, err } = await effuse(args)
      expect([code, out]).toEqual([2, ""])
      expect(err).toMatch(new RegExp(`Did you mean this\\?\\s+${meant}`))
      expect(err).toContain("--help")
    })
  }

  test("a value that is none of the choices names them", async () => {
    const { code, err } = await effuse(["run", "x.eir", "--backend", "cuda"])
    expect([code, err]).toEqual([2, expect.stringContaining("reference")])
  })

  test("an argument that is missing is named", async () => {
    const { code, err } = await effuse(["run"])
    expect([code, err]).toEqual([2, expect.stringContaining("target")])
  })
})

describe("the process", () => {
  test("ends with the code of what happened, results and complaints on their own streams", async () => {
    const done = await spawnEffuse(["dump", `${fixtures}#attention`, "--before"])
    expect([done.code, done.err]).toEqual([0, ""])
    expect(done.out).toMatch(/^graph \{/)
    const missing = await spawnEffuse(["dump", "nowhere.eir"])
    expect([missing.code, missing.out]).toEqual([3, ""])
    expect(missing.err).toBe(
      'error: "nowhere.eir": there is no such file\ntry: check the path, from the current folder\n'
    )
  })

  test("a module that is no TypeScript gets line, column and a caret", async () => {
    const folder = mkdtempSync(join(tmpdir(), "effuse-cli-"))
    const path = join(folder, "syntax.ts")
    writeFileSync(path, "export const a: number = (\n  const b = 2\n")
    const { code, err } = await spawnEffuse(["explain", path])
    rmSync(folder, { recursive: true })
    expect([code, err]).toEqual([3, expect.stringContaining("syntax.ts:2:3: error:")])
    expect(err).toMatch(/\n {2}\| {3}const b = 2\n {2}\| {3}\^+\n/)
  })

  test("reads standard input", async () => {
    const text = 'graph {\n  %0: f32[T] = input {name = "x"}\n  return %0\n}\n'
    expect((await spawnEffuse(["dump", "-", "--before"], { stdin: text })).out).toBe(text)
  })

  test("is quiet when the reader hangs up", async () => {
    const { err } = await spawnEffuse(["wgsl", `${fixtures}#attention`], { hangUp: true })
    expect(err).toBe("")
  })

  test("prints no colour into a pipe, unless it is forced", async () => {
    const escape = String.fromCharCode(27)
    const [piped, forced] = await Promise.all([
      spawnEffuse(["passes"], { env: { FORCE_COLOR: "0" } }),
      spawnEffuse(["passes"], { env: { FORCE_COLOR: "1", NO_COLOR: "" } })
    ])
    expect(piped.out).not.toContain(escape)
    expect(forced.out).toContain(escape)
  })
})

test("colour: a terminal has it, NO_COLOR and dumb terminals have not", () => {
  expect(paintFor(true, {})).toBe(ansi)
  expect(paintFor(false, {})).toBe(plain)
  expect(paintFor(true, { NO_COLOR: "1" })).toBe(plain)
  expect(paintFor(true, { NO_COLOR: "" })).toBe(ansi)
  expect(paintFor(true, { TERM: "dumb" })).toBe(plain)
  expect(paintFor(false, { FORCE_COLOR: "0" })).toBe(plain)
})

test("a module that is no JavaScript gets line, column and a caret", async () => {
  const folder = mkdtempSync(join(tmpdir(), "effuse-cli-"))
  const path = join(folder, "broken.mjs")
  writeFileSync(path, "export const a = 1\nexport const b = a(,)\n")
  const { code, err } = await spawnEffuse(["dump", path])
  rmSync(folder, { recursive: true })
  expect(code).toBe(3)
  expect(err).toContain("broken.mjs:2:20: error:")
  expect(err).toContain("  | export const b = a(,)\n  |                    ^")
})

describe("in a clone", () => {
  const started = (args: ReadonlyArray<string>, cwd: string) =>
    spawnSync(process.execPath, [join(root, "scripts/effuse.mjs"), ...args], { cwd, encoding: "utf8" })

  test("npx effuse runs the sources where the person stands, and passes the exit code on", () => {
    const { status, stdout, stderr } = started(["dump", "attention.eir", "--before"], join(root, "examples"))
    expect(stderr).toBe("")
    expect(status).toBe(0)
    expect(stdout).toMatch(/^graph \{\n[\s\S]*= softmax [\s\S]*\n\}\n$/)
    expect(started(["dmup"], root).status).toBe(2)
  })

  test("what is installed first says so beside the output", (context) => {
    if (process.platform === "win32") return context.skip("the npm that stands in is a shell script")
    const folder = mkdtempSync(join(tmpdir(), "effuse-clone-"))
    const own = (path: string) => join(folder, path)
    for (const path of ["scripts/ensure.mjs", "scripts/unpack.mjs"]) cpSync(join(root, path), own(path))
    writeFileSync(own("package-lock.json"), "{}")
    mkdirSync(own("bin"))
    const install = "echo added 9 packages; mkdir -p node_modules/.bin; touch node_modules/.package-lock.json"
    writeFileSync(own("bin/npm"), `#!/bin/sh\n${install}\n`, { mode: 0o755 })
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [own("scripts/ensure.mjs"), "node", "-p", "1 + 1"],
      { env: { ...process.env, PATH: own("bin") + delimiter + process.env["PATH"] }, encoding: "utf8" }
    )
    rmSync(folder, { recursive: true })
    expect([status, stdout]).toEqual([0, "2\n"])
    expect(stderr).toMatch(/^Installing dependencies, [\s\S]*added 9 packages\nnpm install took \d+ s\n$/)
  })

  // npx takes the program that `package.json` names, once it is there, before it looks into `node_modules/.bin`.
  test("the program of the package is that of the sources, with the software GPU, whatever was built", (context) => {
    if (process.platform !== "linux" || process.arch !== "x64")
      return context.skip("the software GPU is for Linux on x64")
    const { bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const { EFFUSE_VULKAN: _, ...env } = process.env
    const { stdout } = spawnSync(process.execPath, [join(root, bin.effuse), "doctor"], {
      ...{ cwd: root, env, encoding: "utf8" }
    })
    expect(stdout).toMatch(/✓ +software Vulkan +\//)
  })

  test("npx finds it", (context) => {
    if (process.platform === "win32") return context.skip("programs are scripts there, not links")
    started(["passes"], root)
    expect(realpathSync(join(root, "node_modules/.bin/effuse"))).toBe(join(root, "scripts/effuse.mjs"))
  })
})

describe("knobs", () => {
  const sources = ["src", "scripts", "test"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .map((name) => join(root, folder, name))
  )
  const used = new Set(
    sources
      .filter((file) => !file.endsWith("knobs.ts"))
      .flatMap((file) =>
        [...readFileSync(file, "utf8").matchAll(/env\w*\s*\[\s*"([A-Z_]+)"\s*\]/g)].map((m) => m[1] as string)
      )
  )
  // Read to find the system's own programs and drivers, and set for child processes: nobody turns them for Effuse.
  const system = new Set(["PATH", "TERM", "HOME", "VK_ICD_FILENAMES", "LD_LIBRARY_PATH"])

  test("every environment variable that the code reads is in the table", () => {
    const known = new Set(knobs.filter((k) => k.kind === "environment").map((k) => k.name))
    expect([...used].filter((name) => !known.has(name) && !system.has(name))).toEqual([])
  })

  test("every environment variable of the table is read somewhere", () => {
    const names = knobs.filter((k) => k.kind === "environment").map((k) => k.name)
    expect(names.filter((name) => !used.has(name))).toEqual([])
  })

  test("doctor prints every knob, and the value of those that are set", async () => {
    const { out } = await effuse(["doctor"], { env: { EFFUSE_SOFTWARE: "1" } })
    for (const { name } of knobs) expect(out).toContain(`  ${name} `)
    expect(out).toMatch(/EFFUSE_SOFTWARE +(= )?"1"/)
  })
})
