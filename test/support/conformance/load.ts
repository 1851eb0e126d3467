import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { HostArray } from "../../../ir/HostArray.ts"
import type { Case } from "./Case.ts"
import { type LayerCase, layerCase } from "./layers.ts"
import { type Literal, literalCase } from "./literals.ts"
import { onnxCase } from "./onnx.ts"

/** The folder of published cases: `EFFUSE_CONFORMANCE`, or the one beside the project. */
export const folder = (): string => process.env["EFFUSE_CONFORMANCE"] ?? "../shared/conformance"

/** Why there are no cases, where there are none. */
export const missing = (at: string = folder()): string | undefined =>
  existsSync(join(at, "onnx-attention.json"))
    ? undefined
    : `no published cases in ${at} (set EFFUSE_CONFORMANCE to their folder)`

interface Stored {
  readonly shape: ReadonlyArray<number>
  readonly dtype: string
  readonly offset: number
  readonly bytes: number
}

/** An operator case as the files hold it. */
export interface StoredCase {
  readonly name: string
  readonly op: string
  readonly attributes: { readonly [name: string]: unknown }
  readonly inputs: { readonly [name: string]: Stored }
  readonly outputs: { readonly [name: string]: Stored }
}

const array = (blob: ArrayBuffer, { shape, dtype, offset, bytes }: Stored): HostArray => {
  const raw = blob.slice(offset, offset + bytes)
  switch (dtype) {
    case "float32":
      return { dtype: "f32", shape, data: new Float32Array(raw) }
    case "float64":
      return { dtype: "f64", shape, data: new Float64Array(raw) }
    case "float16":
      return { dtype: "f16", shape, data: new Uint16Array(raw) }
    case "int32":
      return { dtype: "i32", shape, data: new Int32Array(raw) }
    case "int64":
      // Positions and lengths: all fit.
      return { dtype: "i32", shape, data: Int32Array.from(new BigInt64Array(raw), Number) }
    case "bool":
      return { dtype: "bool", shape, data: new Uint8Array(raw) }
    default:
      throw new Error(`a published tensor has the dtype ${dtype}`)
  }
}

const arrays = (
  blob: ArrayBuffer,
  stored: { readonly [name: string]: Stored }
): { readonly [name: string]: HostArray } =>
  Object.fromEntries(Object.entries(stored).map(([name, s]) => [name, array(blob, s)]))

const json = (file: string): unknown => JSON.parse(readFileSync(file, "utf8"))

const operators = new Set([
  "Attention",
  "FlexAttention",
  "RotaryEmbedding",
  "RMSNormalization",
  "Softmax",
  "TensorScatter"
])
const literals = new Set(["gqa", "mha", "qkv-layer", "keras-dot", "quiet-softmax", "onnx-window"])

/** All cases of the folder that are rebuilt here. */
export const cases = (at: string = folder()): ReadonlyArray<Case> => {
  const found: Array<Case> = []
  for (const file of ["onnx-attention", "onnx-extra"]) {
    const { cases: stored, blob: name } = json(join(at, `${file}.json`)) as {
      readonly cases: ReadonlyArray<StoredCase>
      readonly blob: string
    }
    const buffer = readFileSync(join(at, name))
    const blob = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) as ArrayBuffer
    for (const one of stored) {
      if (!operators.has(one.op)) continue
      found.push(onnxCase(one, arrays(blob, one.inputs), arrays(blob, one.outputs)))
    }
  }
  const literal = json(join(at, "literals.json")) as ReadonlyArray<{ readonly kind: string }>
  for (const one of literal) if (literals.has(one.kind)) found.push(literalCase(one))
  return found
}

/** The literals through layers. Throws where there is a kind that no layer gives. */
export const layerCases = (at: string = folder()): ReadonlyArray<LayerCase> =>
  (json(join(at, "literals.json")) as ReadonlyArray<Literal>).map((literal) => {
    const made = layerCase(literal)
    if (made === undefined) throw new Error(`no layer is known for literals of the kind ${literal.kind}`)
    return made
  })
