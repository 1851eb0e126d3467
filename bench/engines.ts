import { type SpawnSyncOptions, spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("./", import.meta.url))

/** What of the other engines is used here. */
export interface OrtTensor {
  readonly data: Float32Array
}

export interface Ort {
  readonly InferenceSession: {
    readonly create: (
      model: Uint8Array,
      options?: { readonly [name: string]: unknown }
    ) => Promise<{
      readonly run: (feeds: {
        readonly [name: string]: unknown
      }) => Promise<{ readonly [name: string]: OrtTensor }>
    }>
  }
  readonly Tensor: new (
    type: "float32" | "int64",
    data: Float32Array | BigInt64Array,
    dims: ReadonlyArray<number>
  ) => OrtTensor
}

/** Runs what nothing goes on without; it has said itself why it failed. */
const must = (command: string, args: ReadonlyArray<string>, options: SpawnSyncOptions = {}): void => {
  const { status, error } = spawnSync(command, args, { ...options, stdio: ["ignore", "ignore", "inherit"] })
  if (error !== undefined) console.error(`${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 130)
}

/** Writes `dist/`, so that what runs is what is published; a test run has done so before its tests. */
export const build = (): void => {
  if (process.env["EFFUSE_BUILT"] === "1") return
  must(process.execPath, [fileURLToPath(new URL("../scripts/build.mjs", import.meta.url))])
}

/** Puts what `package.json` here names into `node_modules` here, once. Install scripts would fetch what is not needed. */
export const install = (): void => {
  const { dependencies } = JSON.parse(readFileSync(`${folder}package.json`, "utf8")) as {
    readonly dependencies: { readonly [name: string]: string }
  }
  const isThere = ([name, version]: readonly [string, string]): boolean => {
    const file = `${folder}node_modules/${name}/package.json`
    return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).version === version
  }
  if (Object.entries(dependencies).every(isThere)) return
  console.error(`installing ${Object.keys(dependencies).join(", ")}, once`)
  const flags = ["--no-save", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
  must("npm", ["install", ...flags], {
    cwd: folder,
    shell: process.platform === "win32",
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" }
  })
}

export const onnxruntime = (): Ort => {
  install()
  return createRequire(`${folder}package.json`)("onnxruntime-node") as Ort
}
