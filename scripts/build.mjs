/** Emits `dist/` with tsc, lets it import single modules of Effect, then removes what sources that are gone had left there. */
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

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
  else if (file.endsWith(".js")) importSingly(join(dist, file))
}

/**
 * The index of Effect loads all of its modules, which takes longer than all that is ours. Lines stay where they are, for the source maps.
 * @param {string} file
 */
function importSingly(file) {
  const text = readFileSync(file, "utf8")
  const single = text.replace(/^import \{ ([\w, ]+) \} from "effect";$/gm, (_, /** @type {string} */ names) =>
    names
      .split(", ")
      .map((name) => `import * as ${name} from "effect/${name}";`)
      .join(" ")
  )
  if (single !== text) writeFileSync(file, single)
}

const cli = join(dist, "src", "cli", "main.js")
if (existsSync(cli)) chmodSync(cli, 0o755)
