import type { Result } from "effect"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Elements from "./elements.ts"
import { type FileError, quoted, reading, refuse } from "./FileError.ts"

/**
 * Safetensors: the length of a JSON header in 8 bytes, the header, the elements of all tensors without holes.
 * Source: github.com/huggingface/safetensors, "Format". Runs anywhere.
 */
const storedOf: { readonly [dtype: string]: Elements.Stored } = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U64: "u64",
  U32: "u32",
  U16: "u16",
  U8: "u8",
  BOOL: "bool"
}

/** A tensor of a file: what it is, and the bytes of the data that hold it. */
export interface Entry {
  readonly name: string
  readonly stored: Elements.Stored
  readonly shape: ReadonlyArray<number>
  readonly start: number
  readonly end: number
}

const isRecord = (x: unknown): x is { readonly [key: string]: unknown } =>
  typeof x === "object" && x !== null && !Array.isArray(x)

const parseEntry = (file: string, name: string, value: unknown, available: number): Entry => {
  const what = `tensor ${quoted(name)}`
  if (!isRecord(value) || !Array.isArray(value["shape"]) || !Array.isArray(value["data_offsets"])) {
    throw refuse(file, `${what} lacks a dtype, a shape or data_offsets in the header`)
  }
  const dtype = String(value["dtype"])
  const stored = Object.hasOwn(storedOf, dtype) ? storedOf[dtype] : undefined
  if (stored === undefined) {
    throw refuse(
      file,
      `${what} has the dtype ${quoted(dtype)}`,
      `supported are ${Object.keys(storedOf).join(", ")}`
    )
  }
  const [start, end, ...more] = value["data_offsets"] as ReadonlyArray<unknown>
  const whole = (x: unknown): x is number => typeof x === "number" && Number.isSafeInteger(x) && x >= 0
  if (!whole(start) || !whole(end) || start > end || more.length > 0) {
    throw refuse(file, `${what} has the offsets ${quoted(JSON.stringify(value["data_offsets"]))}`)
  }
  if (end > available) {
    throw refuse(
      file,
      `${what} ends at byte ${end} of the data, which has ${available}`,
      "the file may be truncated"
    )
  }
  return {
    name,
    stored,
    shape: Elements.checkShape({ file, what }, value["shape"], stored, end - start),
    start,
    end
  }
}

/** Tensors may neither overlap nor leave bytes that belong to none. */
const checkCover = (file: string, entries: ReadonlyArray<Entry>, available: number): void => {
  let at = 0
  for (const { name, start, end } of [...entries].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (start !== at) {
      const how = start < at ? "overlaps the tensor before it" : "leaves a hole before it"
      throw refuse(file, `tensor ${quoted(name)} begins at byte ${start} of the data and ${how}`)
    }
    at = end
  }
  if (at !== available) throw refuse(file, `${available - at} bytes at the end belong to no tensor`)
}

/** Where the tensors of a file are, and where their elements begin. */
export interface Header {
  readonly entries: ReadonlyArray<Entry>
  /** Byte of the file that offsets count from. */
  readonly dataStart: number
}

/** As the format's own reader has it. */
const maxHeader = 100_000_000

/** Bytes of a file's header, its length included, from the first 8 of them; `size` is the file's. */
const headerSize = (bytes: Uint8Array, size: number, file: string): number => {
  if (bytes.length < 8)
    throw refuse(
      file,
      `${bytes.length} bytes are too few for a safetensors file`,
      "the file may be truncated"
    )
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
  if (length > BigInt(maxHeader) && length <= BigInt(size - 8))
    throw refuse(file, `the header of ${length} bytes is longer than the ${maxHeader} that are read`)
  if (length > BigInt(size - 8)) {
    throw refuse(
      file,
      `the header claims ${length} bytes, but ${size - 8} follow its length`,
      "the file is truncated, or no safetensors file"
    )
  }
  return 8 + Number(length)
}

/** The header, from the bytes of a file up to where its data begins, or more. */
const headerOf = (bytes: Uint8Array, size: number, file: string): Header => {
  const dataStart = headerSize(bytes, size, file)
  const header = parseJson(file, new TextDecoder().decode(bytes.subarray(8, dataStart)))
  const entries = Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => parseEntry(file, name, value, size - dataStart))
  checkCover(file, entries, size - dataStart)
  return { entries, dataStart }
}

const arrayOf = (file: string, { name, stored, shape }: Entry, data: Uint8Array): HostArray =>
  Elements.decode({ file, what: `tensor ${quoted(name)}` }, data, stored, shape)

const parse = (bytes: Uint8Array, file: string): ReadonlyMap<string, HostArray> => {
  const { entries, dataStart } = headerOf(bytes, bytes.length, file)
  const data = bytes.subarray(dataStart)
  return new Map(entries.map((e) => [e.name, arrayOf(file, e, data.subarray(e.start, e.end))] as const))
}

/** How many bytes of a file hold its header, from the first 8 of its `size` bytes. Fails with `FileError`. */
export const headerBytes = (
  bytes: Uint8Array,
  size: number,
  file: string
): Result.Result<number, FileError> => reading(() => headerSize(bytes, size, file))

/** What a file of `size` bytes holds, from the bytes of its header. Fails with `FileError`. */
export const header = (bytes: Uint8Array, size: number, file: string): Result.Result<Header, FileError> =>
  reading(() => headerOf(bytes, size, file))

/** One tensor from its own bytes. Fails with `FileError`. */
export const element = (file: string, entry: Entry, bytes: Uint8Array): Result.Result<HostArray, FileError> =>
  reading(() => arrayOf(file, entry, bytes))

const parseJson = (file: string, text: string): { readonly [name: string]: unknown } => {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw refuse(file, `the header is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  if (!isRecord(header)) throw refuse(file, "the header is not a JSON object")
  return header
}

/** Reads all tensors by name. 64-bit integers are narrowed after a range check. Fails with `FileError`. */
export const read = (
  bytes: Uint8Array,
  file = "model.safetensors"
): Result.Result<ReadonlyMap<string, HostArray>, FileError> => reading(() => parse(bytes, file))

const nameOf = {
  f64: "F64",
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  i32: "I32",
  u32: "U32",
  bool: "BOOL"
} as const

/** Writes tensors in the order of the map; the data begins at a multiple of 8 bytes. `metadata` is for people and other readers. */
export const write = (
  tensors: ReadonlyMap<string, HostArray>,
  metadata?: { readonly [name: string]: string }
): Uint8Array => {
  const parts = [...tensors].map(([name, array]) => ({ name, array, data: Elements.encode(array) }))
  let at = 0
  const fields = parts.map(({ name, array, data }) => {
    const offsets = [at, at + data.length]
    at += data.length
    const entry = { dtype: nameOf[array.dtype], shape: array.shape, data_offsets: offsets }
    return `${JSON.stringify(name)}:${JSON.stringify(entry)}`
  })
  const about = metadata === undefined ? [] : [`"__metadata__":${JSON.stringify(metadata)}`]
  const encoded = new TextEncoder().encode(`{${[...about, ...fields].join(",")}}`)
  const header = new Uint8Array(Math.ceil(encoded.length / 8) * 8).fill(0x20)
  header.set(encoded)
  const result = new Uint8Array(8 + header.length + at)
  new DataView(result.buffer).setBigUint64(0, BigInt(header.length), true)
  result.set(header, 8)
  let offset = 8 + header.length
  for (const { data } of parts) {
    result.set(data, offset)
    offset += data.length
  }
  return result
}
