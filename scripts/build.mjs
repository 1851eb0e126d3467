/** Emits `dist/` with tsc, makes it load faster, then removes what sources that are gone had left there. */
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "rolldown/parseAst"

const root = fileURLToPath(new URL("..", import.meta.url))
const dist = join(root, "dist")

const tsc = join(root, "node_modules", ".bin", "tsc")
const { status } = spawnSync(tsc, ["-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
  shell: process.platform === "win32"
})
if (status !== 0) process.exit(status ?? 1)

// The folder is cleaned afterwards, not before, so that a test that reads it meanwhile finds it whole.
for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  const source = file.replace(/\.(js|js\.map|d\.ts)$/, ".ts")
  if (source !== file && !existsSync(join(root, source))) rmSync(join(dist, file))
  else if (file.endsWith(".js")) rewrite(join(dist, file), (text) => parsedOnce(importSingly(text)))
}

/**
 * Lines stay where they are, for the source maps.
 * @param {string} file
 * @param {(text: string) => string} change
 */
function rewrite(file, change) {
  const text = readFileSync(file, "utf8")
  const changed = change(text)
  if (changed !== text) writeFileSync(file, changed)
}

/**
 * The index of Effect loads all of its modules, which takes longer than all that is ours.
 * @param {string} text
 */
function importSingly(text) {
  return text.replace(/^import \{ ([\w, ]+) \} from "effect";$/gm, (_, /** @type {string} */ names) =>
    names
      .split(", ")
      .map((name) => `import * as ${name} from "effect/${name}";`)
      .join(" ")
  )
}

/**
 * V8 compiles a function in parentheses with the module around it. Any other it reads twice: to find its end, and when it is first called. A
 * first call of ours calls most of them.
 * @param {string} text
 */
function parsedOnce(text) {
  /** @type {Array<readonly [at: number, parenthesis: string]>} */
  const found = []
  /** @param {unknown} node */
  const visit = (node) => {
    if (typeof node !== "object" || node === null) return
    if ("type" in node && node.type === "ArrowFunctionExpression" && "start" in node && "end" in node)
      found.push([Number(node.start), "("], [Number(node.end), ")"])
    Object.values(node).forEach(visit)
  }
  visit(parseAst(text))
  let [out, last] = ["", 0]
  // What ends here comes before what begins here.
  for (const [at, parenthesis] of found.sort((a, b) => a[0] - b[0] || b[1].localeCompare(a[1]))) {
    out += text.slice(last, at) + parenthesis
    last = at
  }
  return out + text.slice(last)
}

const cli = join(dist, "src", "cli", "main.js")
if (existsSync(cli)) chmodSync(cli, 0o755)
