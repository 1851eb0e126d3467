import type { Result } from "effect"
import * as Attr from "../../ir/Attr.ts"
import * as DType from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { type FileError, quoted, reading, refuse } from "./FileError.ts"

/**
 * Tensors as JSON: nested arrays of numbers (read as f32) or of booleans, or `{ "dtype", "shape", "data" }` with flat or nested data; or
 * an object of such, by name. Numbers that JSON lacks are the strings "inf", "-inf", "nan" and "-0". Runs anywhere.
 */
export type Contents = HostArray.HostArray | ReadonlyMap<string, HostArray.HostArray>

const maxRank = 32

const words: { readonly [word: string]: number } = {
  inf: Infinity,
  "-inf": -Infinity,
  nan: Number.NaN,
  "-0": -0
}

const isRecord = (x: unknown): x is { readonly [key: string]: unknown } =>
  typeof x === "object" && x !== null && !Array.isArray(x)

interface Flat {
  readonly shape: ReadonlyArray<number>
  readonly numbers: ReadonlyArray<number>
  readonly booleans: boolean
}

/** Flattens nested arrays, which must all have one shape. */
const flatten = (file: string, what: string, nested: unknown): Flat => {
  const shape: Array<number> = []
  for (let at = nested; Array.isArray(at); at = at[0]) {
    shape.push(at.length)
    if (shape.length > maxRank) throw refuse(file, `${what} is nested deeper than ${maxRank} arrays`)
  }
  const numbers: Array<number> = []
  let booleans = 0
  const leaf = (x: unknown, path: string): number => {
    if (typeof x === "number") return x
    if (typeof x === "boolean") {
      booleans++
      return x ? 1 : 0
    }
    const word = typeof x === "string" && Object.hasOwn(words, x) ? words[x] : undefined
    if (word !== undefined) return word
    const found = Array.isArray(x)
      ? "an array"
      : x === null
        ? "null"
        : isRecord(x)
          ? "an object"
          : quoted(String(x))
    throw refuse(file, `${what}${path} is ${found} where a number is expected`)
  }
  const visit = (x: unknown, axis: number, path: string): void => {
    if (axis === shape.length) {
      numbers.push(leaf(x, path))
      return
    }
    if (!Array.isArray(x) || x.length !== shape[axis]) {
      const found = Array.isArray(x) ? `${x.length} elements` : "no array"
      throw refuse(
        file,
        `${what}${path} has ${found} where ${shape[axis]} elements are expected`,
        "all rows need one length"
      )
    }
    x.forEach((element, i) => {
      visit(element, axis + 1, `${path}[${i}]`)
    })
  }
  visit(nested, 0, "")
  if (booleans > 0 && booleans < numbers.length) throw refuse(file, `${what} mixes numbers and booleans`)
  return { shape, numbers, booleans: booleans > 0 }
}

const parseArray = (file: string, what: string, json: unknown): HostArray.HostArray => {
  if (!isRecord(json)) {
    const { shape, numbers, booleans } = flatten(file, what, json)
    return HostArray.fromNumbers(booleans ? "bool" : "f32", shape, numbers)
  }
  const { dtype, shape, data } = json
  if (!DType.isDType(dtype)) {
    throw refuse(file, `${what} has the dtype ${quoted(String(dtype))}`, `use one of ${DType.all.join(", ")}`)
  }
  const flat = flatten(file, what, data)
  const sizes = shape === undefined ? flat.shape : shape
  if (!Array.isArray(sizes) || !sizes.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw refuse(file, `${what} has the shape ${quoted(JSON.stringify(shape))}, which is no list of sizes`)
  }
  const size = (sizes as ReadonlyArray<number>).reduce((a, b) => a * b, 1)
  if (size !== flat.numbers.length) {
    throw refuse(
      file,
      `${what}: ${flat.numbers.length} elements do not fill [${sizes.join(", ")}], which holds ${size}`
    )
  }
  return HostArray.fromNumbers(dtype, sizes as ReadonlyArray<number>, flat.numbers)
}

const parse = (text: string, file: string): Contents => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw refuse(file, `is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  if (!isRecord(json) || "data" in json) return parseArray(file, "the array", json)
  return new Map(
    Object.entries(json).map(([name, value]) => [name, parseArray(file, quoted(name), value)] as const)
  )
}

/** Reads one array or several by name. Fails with `FileError`. */
export const read = (text: string | Uint8Array, file = "arrays.json"): Result.Result<Contents, FileError> =>
  reading(() => parse(typeof text === "string" ? text : new TextDecoder().decode(text), file))

/** `{ "dtype", "shape", "data" }` on one line, data flat. */
export const write = (array: HostArray.HostArray): string => {
  const data = Array.from(HostArray.toNumbers(array), (x) =>
    array.dtype === "bool" ? x !== 0 : Number.isFinite(x) && !Object.is(x, -0) ? x : Attr.printNumber(x)
  )
  return JSON.stringify({ dtype: array.dtype, shape: array.shape, data })
}
