import { type FileError, quoted, refuse } from "./FileError.ts"

/**
 * The part of ZIP that .npz files use: stored and deflated entries, no encryption, no ZIP64 sizes.
 * Source: PKWARE APPNOTE 6.3, sections 4.3 and 4.4.
 */
export interface Entry {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Inflates raw deflate data to exactly `size` bytes, or throws. */
export type Inflate = (data: Uint8Array, size: number) => Uint8Array
/** Raw deflate data of some bytes. */
export type Deflate = (data: Uint8Array) => Uint8Array

const localSignature = 0x04034b50
const centralSignature = 0x02014b50
const endSignature = 0x06054b50
const endLength = 22

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c >>> 0
})

/** CRC-32 as ZIP, gzip and PNG use it. */
export const crc32 = (bytes: Uint8Array): number => {
  let c = 0xffffffff
  for (const byte of bytes) c = (crcTable[(c ^ byte) & 0xff] as number) ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}

const findEnd = (file: string, view: DataView): number => {
  // A comment of at most 65535 bytes may follow.
  for (let at = view.byteLength - endLength; at >= 0 && at >= view.byteLength - endLength - 0xffff; at--) {
    if (
      view.getUint32(at, true) === endSignature &&
      at + endLength + view.getUint16(at + 20, true) === view.byteLength
    ) {
      return at
    }
  }
  throw refuse(file, "has no end-of-archive record", "the file is truncated, or no ZIP archive")
}

/** An entry as it lies in the archive. */
export interface Packed {
  readonly name: string
  readonly bytes: Uint8Array
  /** 0 is stored, 8 deflated. */
  readonly method: number
  /** Of the entry unpacked. */
  readonly size: number
  readonly crc: number
}

/** The entries of an archive, packed, in its own order. Throws `FileError`. */
export const directory = (bytes: Uint8Array, file: string): ReadonlyArray<Packed> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = findEnd(file, view)
  const count = view.getUint16(end + 10, true)
  let at = view.getUint32(end + 16, true)
  const entries: Array<Packed> = []
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== centralSignature) {
      throw refuse(file, `directory entry ${i} of ${count} is damaged at byte ${at}`)
    }
    const method = view.getUint16(at + 10, true)
    const crc = view.getUint32(at + 16, true)
    const packed = view.getUint32(at + 20, true)
    const size = view.getUint32(at + 24, true)
    const nameLength = view.getUint16(at + 28, true)
    const next = at + 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    const local = view.getUint32(at + 42, true)
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength))
    const what = `entry ${quoted(name)}`
    if (next > end) throw refuse(file, `${what} runs past the directory`)
    if (view.getUint16(at + 8, true) & 1) throw refuse(file, `${what} is encrypted`)
    if (packed === 0xffffffff || size === 0xffffffff || local === 0xffffffff) {
      throw refuse(file, `${what} is larger than 4 GiB (ZIP64)`)
    }
    if (local + 30 > end || view.getUint32(local, true) !== localSignature) {
      throw refuse(file, `${what} has no local header at byte ${local}`)
    }
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
    if (start + packed > end)
      throw refuse(file, `${what} runs past the end of the data`, "the file may be truncated")
    if (method !== 0 && method !== 8)
      throw refuse(file, `${what} is compressed by method ${method}`, "save it with numpy.savez_compressed")
    entries.push({ name, bytes: bytes.subarray(start, start + packed), method, size, crc })
    at = next
  }
  return entries
}

/** What an entry unpacked to, if it is what the archive says. Throws `FileError`. */
export const checked = (file: string, { name, size, crc }: Packed, data: Uint8Array): Entry => {
  if (data.length === size && crc32(data) === crc) return { name, bytes: data }
  throw refuse(file, `entry ${quoted(name)} is damaged: its checksum does not match`)
}

/** Why an entry did not inflate. */
export const damaged = (file: string, { name, size }: Packed, cause: unknown): FileError =>
  refuse(
    file,
    `entry ${quoted(name)} does not inflate to ${size} bytes: ${cause instanceof Error ? cause.message : String(cause)}`
  )

/** The entries of an archive, in its own order. Throws `FileError`. */
export const read = (bytes: Uint8Array, file: string, inflate: Inflate): ReadonlyArray<Entry> =>
  directory(bytes, file).map((packed) => checked(file, packed, unpack(file, packed, inflate)))

const unpack = (file: string, packed: Packed, inflate: Inflate): Uint8Array => {
  if (packed.method === 0) return packed.bytes
  try {
    return inflate(packed.bytes, packed.size)
  } catch (cause) {
    throw damaged(file, packed, cause)
  }
}

/** An archive of entries, deflated where a function is given. Sizes past 4 GiB do not fit the format used. */
export const write = (entries: ReadonlyArray<Entry>, deflate?: Deflate): Uint8Array => {
  const files: Array<Uint8Array> = []
  const directory: Array<Uint8Array> = []
  let offset = 0
  for (const { name, bytes } of entries) {
    const encoded = new TextEncoder().encode(name)
    const data = deflate === undefined ? bytes : deflate(bytes)
    // From "version needed" to "extra length": the same in both headers.
    const common = new DataView(new ArrayBuffer(26))
    common.setUint16(0, 20, true)
    common.setUint16(2, 0x0800, true)
    common.setUint16(4, deflate === undefined ? 0 : 8, true)
    // DOS date of 1980-01-01: equal arrays make equal files.
    common.setUint16(8, 0x21, true)
    common.setUint32(10, crc32(bytes), true)
    common.setUint32(14, data.length, true)
    common.setUint32(18, bytes.length, true)
    common.setUint16(22, encoded.length, true)
    const shared = new Uint8Array(common.buffer)
    files.push(Uint8Array.of(0x50, 0x4b, 3, 4), shared, encoded, data)
    const tail = new DataView(new ArrayBuffer(14))
    tail.setUint32(10, offset, true)
    directory.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), shared, new Uint8Array(tail.buffer), encoded)
    offset += 30 + encoded.length + data.length
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0)
  const end = new DataView(new ArrayBuffer(endLength))
  end.setUint32(0, endSignature, true)
  end.setUint16(8, entries.length, true)
  end.setUint16(10, entries.length, true)
  end.setUint32(12, size, true)
  end.setUint32(16, offset, true)
  return join([...files, ...directory, new Uint8Array(end.buffer)])
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}
