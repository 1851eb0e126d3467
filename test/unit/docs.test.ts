/** What the documents say: programs run and print what is shown, commands work, links lead somewhere, tables are fresh. */
import { execFile } from "node:child_process"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { format, promisify } from "node:util"
import { describe, expect, test, vi } from "vitest"
import { fresh } from "../../scripts/docs.ts"
import * as errors from "../../src/errors.ts"
import { effuse } from "../support/cli.ts"
import { blocksOf, documents, textOf, writeConfig, writeProgram } from "../support/docs/blocks.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>
}

rmSync(`${root}.cache/docs`, { recursive: true, force: true })

const programs = documents.flatMap((file) => {
  const blocks = blocksOf(file)
  return blocks.flatMap((block, i) => {
    if (block.info !== "ts run" && block.info !== "ts page") return []
    const next = blocks[i + 1]
    const output = next?.info === "output" ? next : undefined
    const name = `${file.replaceAll(/\W+/g, "-")}-${block.line}`
    return [{ file, block, output, path: writeProgram(name, block.text) }]
  })
})

const run = async (path: string): Promise<string> => {
  const lines: Array<string> = []
  const log = vi.spyOn(console, "log").mockImplementation((...args) => void lines.push(format(...args)))
  try {
    await import(path)
  } finally {
    log.mockRestore()
  }
  return lines.map((line) => `${line}\n`).join("")
}

describe("programs", () => {
  for (const { file, block, output, path } of programs) {
    if (block.info !== "ts run") continue
    test(`${file}:${block.line} runs${output === undefined ? "" : " and prints what is shown"}`, async () => {
      const printed = await run(path)
      if (output === undefined) return
      if (process.env["EFFUSE_BLESS"] === "1") {
        const text = textOf(file)
        const from = text.indexOf("```output\n", text.indexOf(block.text)) + "```output\n".length
        writeFileSync(root + file, text.slice(0, from) + printed + text.slice(text.indexOf("```", from)))
      } else expect(printed).toBe(output.text)
    })
  }

  test("type-check", async () => {
    expect(programs.length).toBeGreaterThan(4)
    const tsc = join(root, "node_modules", ".bin", "tsc")
    const checked = await promisify(execFile)(tsc, ["-p", writeConfig()]).catch((error) => error)
    expect(checked.stdout).toBe("")
  })
})

describe("commands", () => {
  const lines = documents.flatMap((file) =>
    blocksOf(file)
      .filter(({ info }) => info === "sh")
      .flatMap(({ text }) => text.split("\n"))
      .map((line) => line.replace(/\s+# .*$/, "").trim())
      .filter((line) => line !== "")
      .map((line) => ({ file, line }))
  )
  const onReference = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
    ["run", "verify", "bench"].includes(args[0] ?? "") ? [...args, "--backend", "reference"] : args

  for (const { file, line } of lines) {
    test(`${file}: ${line}`, async () => {
      const [command = "", ...args] = line.replace(/^npx effuse/, "effuse").split(/\s+/)
      if (command === "effuse") {
        const { code, err } = await effuse(onReference(args))
        // A machine without an adapter is a machine that doctor says so of.
        expect(args[0] === "doctor" && code === 4 ? 0 : code, err).toBe(0)
      } else if (command === "npm") {
        const script = args[0] === "run" ? args[1] : args[0]
        expect(Object.keys(manifest.scripts)).toContain(script)
      } else {
        // Paths are those of files here; tools are those installed here.
        expect(["node", "npx", "git", "EFFUSE_BLESS=1"]).toContain(command)
        const paths = args.filter((arg) => /^(scripts|test|ir|passes|backends|src|examples)\//.test(arg))
        expect(paths.filter((path) => !existsSync(root + path))).toEqual([])
      }
    })
  }
})

test("every npm script is named", () => {
  const text = documents.map(textOf).join("\n")
  const named = new Set([...text.matchAll(/npm (?:run )?([\w:]+)/g)].map((found) => found[1]))
  expect(Object.keys(manifest.scripts).filter((script) => !named.has(script))).toEqual([])
})

test("relative links lead to files", () => {
  const links = documents.flatMap((file) =>
    [...textOf(file).matchAll(/\]\(([^)\s]+)\)/g)].map((found) => ({ file, to: found[1] as string }))
  )
  const relative = links.filter(({ to }) => !/^[a-z]+:|^#/.test(to))
  expect(relative.length).toBeGreaterThan(10)
  const broken = relative.filter(
    ({ file, to }) => !existsSync(join(root, dirname(file), to.replace(/#.*/, "")))
  )
  expect(broken).toEqual([])
})

test("generated parts are fresh: `node scripts/docs.ts` writes them", () => {
  for (const { file, text } of fresh()) expect([file, textOf(file)]).toEqual([file, text])
})

test("the table of errors names each of them once", () => {
  const tags = Object.keys(errors).sort()
  const rows = [...textOf("README.md").matchAll(/^\| `(\w+)` +\| .* \| .* \|$/gm)].map((found) => found[1])
  expect(tags.length).toBeGreaterThan(10)
  for (const tag of tags) expect(rows.filter((row) => row === tag)).toEqual([tag])
})

test("files that the documents name in code exist", () => {
  // Those that the reader of a how-to writes.
  const written = ["backends/webgpu/kernels/inner.ts", "backends/scalar/Backend.ts", "src/Scalar.ts"]
  const named = documents.flatMap((file) =>
    [...textOf(file).matchAll(/`((?:ir|passes|backends|src|test|scripts|examples)\/[\w./-]*\w\/?)`/g)].map(
      (found) => ({ file, path: found[1] as string })
    )
  )
  expect(named.filter(({ path }) => !written.includes(path) && !existsSync(root + path))).toEqual([])
})
