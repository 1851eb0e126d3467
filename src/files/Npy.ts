import type { Result } from "effect"
import * as HostArray from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Elements from "./elements.ts"
import { type FileError, quoted, reading, refuse } from "./FileError.ts"

/**
 * NumPy's .npy: magic, version, a Python dictionary as header, the elements.
 * Source: NEP 1 and numpy.lib.format, versions 1.0, 2.0 and 3.0. Runs anywhere.
 */
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]

/** A header describes one array; NumPy itself refuses to read more than 10000 bytes. */
const maxHeader = 65535

const storedOf: { readonly [descr: string]: Elements.Stored } = {
  f8: "f64",
  f4: "f32",
  f2: "f16",
  i8: "i64",
  i4: "i32",
  i2: "i16",
  i1: "i8",
  u8: "u64",
  u4: "u32",
  u2: "u16",
  u1: "u8",
  b1: "bool"
}

interface Header {
  readonly stored: Elements.Stored
  readonly little: boolean
  readonly fortran: boolean
  readonly shape: ReadonlyArray<number>
}

const headerPattern =
  /^\s*\{(?=.*'descr'\s*:\s*'([^']*)')(?=.*'fortran_order'\s*:\s*(True|False))(?=.*'shape'\s*:\s*\(([^)]*)\)).*\}\s*$/s

const parseHeader = (file: string, text: string): Header => {
  if (/'descr'\s*:\s*\[/.test(text)) {
    throw refuse(file, "structured dtypes are not supported", "save one plain array for each field")
  }
  const [, descr, order, sizes] = headerPattern.exec(text) ?? []
  if (descr === undefined || order === undefined || sizes === undefined) {
    throw refuse(file, `the header ${quoted(text.trim())} is not one that NumPy writes`)
  }
  const stored = /^[<>|=]/.test(descr) ? storedOf[descr.slice(1)] : undefined
  if (stored === undefined) {
    const known = "float16 to float64, int8 to uint64 and bool are read"
    throw refuse(file, `the dtype ${quoted(descr)} is not supported`, known)
  }
  const listed = sizes.split(",").map((size) => size.trim())
  if (listed.at(-1) === "") listed.pop()
  const shape = listed.map((size) => (/^\d+L?$/.test(size) ? Number.parseInt(size, 10) : Number.NaN))
  return { stored, little: !descr.startsWith(">"), fortran: order === "True", shape }
}

/** Fortran order is row-major order of the reversed shape, transposed. */
const fromFortran = (array: HostArray.HostArray): HostArray.HostArray => {
  const { shape } = array
  const result = HostArray.zeros(array.dtype, shape)
  const own = Shape.strides(shape)
  let stride = 1
  const columnStrides = shape.map((size) => {
    const step = stride
    stride *= size
    return step
  })
  for (let i = 0; i < result.data.length; i++) {
    let at = 0
    for (let axis = 0; axis < shape.length; axis++) {
      at +=
        (Math.floor(i / (own[axis] as number)) % (shape[axis] as number)) * (columnStrides[axis] as number)
    }
    result.data[i] = array.data[at] as number
  }
  return result
}

const parse = (bytes: Uint8Array, file: string): HostArray.HostArray => {
  if (bytes.length < 10)
    throw refuse(file, `${bytes.length} bytes are too few for a .npy file`, "the file may be truncated")
  if (magic.some((byte, i) => bytes[i] !== byte)) {
    throw refuse(file, "does not begin like a .npy file (\\x93NUMPY)", "check the extension")
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = bytes[6] as number
  if (version < 1 || version > 3) throw refuse(file, `.npy version ${version}.${bytes[7]} is not known`)
  const start = version === 1 ? 10 : 12
  if (bytes.length < start)
    throw refuse(file, "ends in the middle of the header", "the file may be truncated")
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > maxHeader && start + length <= bytes.length) {
    throw refuse(file, `the header of ${length} bytes is longer than the ${maxHeader} that are read`)
  }
  if (start + length > bytes.length) {
    throw refuse(
      file,
      `the header claims ${length} bytes from byte ${start} on, but the file has ${bytes.length}`,
      "the file may be truncated"
    )
  }
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(
    bytes.subarray(start, start + length)
  )
  const header = parseHeader(file, text)
  const data = bytes.subarray(start + length)
  const place = { file, what: "the array" }
  const shape = Elements.checkShape(place, header.shape, header.stored, data.length)
  const array = Elements.decode(place, data, header.stored, shape, header.little)
  return header.fortran ? fromFortran(array) : array
}

/**
 * Reads a .npy file. int64 and uint64 are narrowed after a range check, small integers widen, Fortran order is put into row-major order.
 * Fails with `FileError`: truncated, wrong magic, unsupported dtype, shape and size that disagree.
 */
export const read = (bytes: Uint8Array, file = "array.npy"): Result.Result<HostArray.HostArray, FileError> =>
  reading(() => parse(bytes, file))

const descrOf = { f64: "<f8", f32: "<f4", f16: "<f2", i32: "<i4", u32: "<u4", bool: "|b1" } as const

/** Writes version 1.0. NumPy has no bfloat16: such an array is written as float32, which holds its values exactly. */
export const write = (array: HostArray.HostArray): Uint8Array => {
  if (array.dtype === "bf16")
    return write(HostArray.fromNumbers("f32", array.shape, HostArray.toNumbers(array)))
  const shape = array.shape.length === 1 ? `${array.shape[0]},` : array.shape.join(", ")
  const dictionary = `{'descr': '${descrOf[array.dtype]}', 'fortran_order': False, 'shape': (${shape}), }`
  // The data begins at a multiple of 64 bytes, as NumPy's does.
  const header = `${dictionary.padEnd(Math.ceil((dictionary.length + 11) / 64) * 64 - 11)}\n`
  const data = Elements.encode(array)
  const result = new Uint8Array(10 + header.length + data.length)
  result.set(magic)
  result.set([1, 0, header.length & 0xff, header.length >>> 8], 6)
  result.set(new TextEncoder().encode(header), 10)
  result.set(data, 10 + header.length)
  return result
}
