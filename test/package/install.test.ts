/** The package as others get it: packed, installed in an empty folder, type-checked, run in Node and in a browser. */
import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, expect, test } from "vitest"
import { withPage } from "../support/browser.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const run = promisify(execFile)

interface Manifest {
  readonly name: string
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>
}

const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Manifest
const entries = Object.entries(manifest.exports).flatMap(([name, target]) =>
  typeof target === "string" ? [] : [{ specifier: join(manifest.name, name), target }]
)

let folder = ""
let packed: ReadonlyArray<string> = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "effuse-consumer-"))
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root })
  const [report] = JSON.parse(stdout) as [{ filename: string; files: ReadonlyArray<{ path: string }> }]
  packed = report.files.map(({ path }) => path)
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  const flags = ["--no-audit", "--no-fund", "--prefer-offline"]
  await run("npm", ["install", ...flags, join(folder, report.filename)], { cwd: folder })
}, 240_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

const node = (script: string) => run(process.execPath, ["--input-type=module", "-e", script], { cwd: folder })

/** Compiles the files of `consumer/` into the folder with a consumer's own settings. */
const compileConsumer = async (lib: ReadonlyArray<string>): Promise<void> => {
  await mkdir(join(folder, "source"), { recursive: true })
  for (const file of ["program.ts", "types.ts"]) {
    await copyFile(join(root, "test", "package", "consumer", file), join(folder, "source", file))
  }
  const compilerOptions = {
    ...{ strict: true, target: "ES2023", module: "NodeNext", lib, types: [], skipLibCheck: true },
    ...{ rootDir: "source", outDir: "built" }
  }
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["source"] }))
  await run(join(root, "node_modules", ".bin", "tsc"), ["-p", "."], { cwd: folder }).catch((error) => {
    throw new Error(`a consumer's program does not type-check:\n${error.stdout}`)
  })
}

test("the package holds what its entry points name, and no tests", () => {
  for (const { target } of entries) {
    for (const file of [target.types, target.default]) expect(packed).toContain(file.replace("./", ""))
  }
  expect(packed).toContain("README.md")
  expect(packed).toContain("LICENSE")
  expect(
    packed.filter(
      (file) =>
        !/^(bin\/effuse\.mjs|dist\/(ir|passes|backends|src)\/|package\.json|README|LICENSE)/.test(file)
    )
  ).toEqual([])
})

test("no file of it loads the whole of Effect, none has its functions read twice", async () => {
  const files = packed.filter((file) => file.endsWith(".js"))
  const texts = await Promise.all(files.map((file) => readFile(join(root, file), "utf8")))
  const having = (what: RegExp) => files.filter((_, i) => what.test(texts[i] as string))
  expect(files.length).toBeGreaterThan(100)
  expect(having(/^(?:im|ex)port .*from "effect"/m)).toEqual([])
  // A thread's script is a text.
  const twice = having(/^(?:export )?const \w+ = (?:\w+|\([^()]*\)) =>/m)
  expect(twice.filter((file) => !file.endsWith("/threads/source.js"))).toEqual([])
  expect(having(/^(?:export )?const \w+ = \((?:\w+|\([^()]*\)) =>/m).length).toBeGreaterThan(100)
})

test.for(entries)("Node imports $specifier", async ({ specifier }) => {
  const { stdout, stderr } = await node(
    `console.log(Object.keys(await import(${JSON.stringify(specifier)})).length)`
  )
  expect(Number(stdout)).toBeGreaterThan(0)
  expect(stderr).toBe("")
})

const libraries = [{ lib: ["ES2023"] }, { lib: ["ES2023", "DOM"] }]
test.for(libraries)("a consumer's program type-checks with $lib", ({ lib }) => compileConsumer(lib))

test("a consumer's program runs in Node", async () => {
  await compileConsumer(["ES2023"])
  const { stdout } = await node(
    `console.log(JSON.stringify(await (await import("./built/program.js")).run()))`
  )
  expect(JSON.parse(stdout)).toEqual([3, 7])
})

test("a consumer's program runs in a browser", async () => {
  await compileConsumer(["ES2023", "DOM"])
  await withPage(join(folder, "built", "program.js"), async (evaluate) => {
    expect(await evaluate("run")).toEqual([3, 7])
  })
})

test("threads start from the package, in Node and in a page", async () => {
  await compileConsumer(["ES2023", "DOM"])
  const expected = [expect.stringMatching(/2 threads$/), 3]
  const { stdout } = await node(
    `console.log(JSON.stringify(await (await import("./built/program.js")).onThreads()))`
  )
  expect(JSON.parse(stdout)).toEqual(expected)
  const headers = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp"
  }
  await withPage(
    join(folder, "built", "program.js"),
    async (evaluate) => {
      expect(await evaluate("onThreads")).toEqual(expected)
    },
    undefined,
    { headers }
  )
})

test("the command answers", async () => {
  const { stdout } = await run(join(folder, "node_modules", ".bin", "effuse"), ["--help"], { cwd: folder })
  expect(stdout).toContain("effuse")
})
