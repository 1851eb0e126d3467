/**
 * Makes the working copy ready, then runs the command given as arguments, if any, on the project's own Node:
 * `node scripts/ensure.mjs node scripts/demo.ts`. Needs Node 20 and npm, nothing else.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
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

/**
 * Installs what the lock file says and leaves that file alone. Not `npm ci`, which refuses a lock file in which the
 * optional binaries of some other platform are missing.
 */
const install = () => {
  console.error("Installing dependencies, once, about a minute…")
  const started = Date.now()
  const { status } = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: root,
      // What the command prints may be for another program.
      stdio: ["inherit", 2, "inherit"],
      shell: windows
    }
  )
  if (status !== 0 || !existsSync(installed)) {
    console.error(`npm install failed with status ${status}`)
    return false
  }
  // An install that changes nothing leaves the file's age alone.
  utimesSync(installed, new Date(), new Date())
  console.error(`npm install took ${Math.round((Date.now() - started) / 1000)} s`)
  return true
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
      if (!waited) console.error("Waiting for another install to finish…")
      sleep(500)
      const owner = existsSync(mutex) ? Number(readFileSync(mutex, "utf8")) : 0
      if (owner > 0 && !alive(owner)) rmSync(mutex, { force: true })
      continue
    }
    const ok = fresh() || install()
    rmSync(mutex, { force: true })
    if (!ok) process.exit(1)
  }
}

/** The Node from npm where its install script ran, else the Node that runs this, which may be too old for `.ts` files. */
const projectNode = (/** @type {string | undefined} */ script) => {
  const node = join(bin, windows ? "node.cmd" : "node")
  if (spawnSync(node, ["-v"], { shell: windows }).status === 0) return node
  if (script?.endsWith(".ts") && !("typescript" in process.features)) {
    console.error(
      `Node ${process.version} does not run ${script}. Use Node 24, or let npm run the install script`
    )
    console.error("of the package `node`, which brings it: npm rebuild node --ignore-scripts=false")
    process.exit(1)
  }
  return process.execPath
}

/** Lets `npx effuse` find the command line of this clone, as it would in a project that depends on the package. */
const linkCommand = () => {
  try {
    if (windows)
      writeFileSync(join(bin, "effuse.cmd"), '@node "%~dp0..\\..\\scripts\\effuse.mjs" %*\r\n', {
        flag: "wx"
      })
    else symlinkSync("../../scripts/effuse.mjs", join(bin, "effuse"))
  } catch {
    // It is there, or the folder is somebody else's: nothing but `npx effuse` needs it.
  }
}

ensureInstalled()
linkCommand()
const vulkan = softwareVulkan()

const [command, ...args] = process.argv.slice(2)
if (command !== undefined) {
  // A shell may remember where `node` was before the install, so the command starts from here.
  // npm starts it in the root, people start `npx effuse` where their files are.
  const child = spawn(command === "node" ? projectNode(args[0]) : command, args, {
    stdio: "inherit",
    shell: windows,
    // A driver of this machine is preferred to the software one.
    env: {
      ...(vulkan === undefined ? {} : { EFFUSE_VULKAN: vulkan }),
      ...process.env,
      PATH: bin + delimiter + process.env["PATH"]
    }
  })
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"]))
    process.on(signal, () => child.kill(signal))
  child.on("exit", (code) => process.exit(code ?? 1))
}
