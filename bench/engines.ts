import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
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

/** onnxruntime-node; installed next to this file the first time it is asked for. Its install script would fetch what is not needed here. */
export const onnxruntime = (): Ort => {
  const name = "onnxruntime-node"
  if (!existsSync(`${folder}node_modules/${name}`)) {
    console.error(`installing ${name}, once`)
    execFileSync("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--no-package-lock"], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" }
    })
  }
  return createRequire(`${folder}package.json`)(name) as Ort
}
