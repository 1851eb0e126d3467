/**
 * Makes the working copy ready, then runs the command given as arguments, if any, on the project's own Node:
 * `node scripts/ensure.mjs node scripts/demo.ts`. Needs Node 20 and npm, nothing else.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { softwareVulkan } from "./unpack.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const bin = join(root, "node_modules", ".bin")
const lockFile = join(root, "package-lock.json")
// npm writes this file last, so its age is the age of a finished install.
const installed = join(root, "node_modules", ".package-lock.json")
const mutex = join(root, ".cache-install-lock")
const windows = process.platform === "win32"

const fresh = () => existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockFile).mtimeMs

const install = () => {
  for (const how of ["ci", "install"]) {
    console.log(`npm ${how}: installing dependencies, once, about a minute…`)
    const started = Date.now()
    const { status } = spawnSync("npm", [how, "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: root,
      stdio: "inherit",
      shell: windows
    })
    if (status === 0 && existsSync(installed)) {
      // An install that changes nothing leaves the file's age alone.
      utimesSync(installed, new Date(), new Date())
      return console.log(`npm ${how} took ${Math.round((Date.now() - started) / 1000)} s`)
    }
    console.error(`npm ${how} failed with status ${status}`)
  }
  process.exit(1)
}

const alive = (/** @type {number} */ pid) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const sleep = (/** @type {number} */ ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** One install at a time: creating the lock file fails where it exists. A dead owner's lock is taken away. */
const ensureInstalled = () => {
  for (let waited = false; !fresh(); waited = true) {
    try {
      writeFileSync(mutex, String(process.pid), { flag: "wx" })
    } catch {
      if (!waited) console.log("Waiting for another install to finish…")
      sleep(500)
      const owner = existsSync(mutex) ? Number(readFileSync(mutex, "utf8")) : 0
      if (owner > 0 && !alive(owner)) rmSync(mutex, { force: true })
      continue
    }
    try {
      if (!fresh()) install()
    } finally {
      rmSync(mutex, { force: true })
    }
  }
}

/** The Node from npm where its install script ran, else the Node that runs this. */
const projectNode = () => {
  const node = join(bin, windows ? "node.cmd" : "node")
  return spawnSync(node, ["-v"], { shell: windows }).status === 0 ? node : process.execPath
}

ensureInstalled()
softwareVulkan()

const [command, ...args] = process.argv.slice(2)
if (command !== undefined) {
  // A shell may remember where `node` was before the install, so the command starts from here.
  const child = spawn(command === "node" ? projectNode() : command, args, {
    cwd: root,
    stdio: "inherit",
    shell: windows,
    env: { ...process.env, PATH: bin + delimiter + process.env["PATH"] }
  })
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"]))
    process.on(signal, () => child.kill(signal))
  child.on("exit", (code) => process.exit(code ?? 1))
}
