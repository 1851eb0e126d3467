import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as DType from "../../../ir/DType.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { FileError } from "../../../src/files/FileError.ts"
import * as Npy from "../../../src/files/Npy.ts"
import * as Npz from "../../../src/files/Npz.ts"
import { crc32 } from "../../../src/files/Zip.ts"
import { array, random } from "../../support/arrays.ts"
import { bytesOf } from "../../support/numpyFiles.ts"

const read = (bytes: Uint8Array): HostArray.HostArray => Result.getOrThrow(Npy.read(bytes))
const numbers = (array: HostArray.HostArray): ReadonlyArray<number> => [...HostArray.toNumbers(array)]
/** The message of the refusal; fails where there is none. */
const refusal = (result: Result.Result<unknown, FileError>): string => {
  expect(Result.isFailure(result)).toBe(true)
  return Result.isFailure(result) ? result.failure.message : ""
}
const count = (n: number) => Array.from({ length: n }, (_, i) => i)

describe(".npy as NumPy writes it", () => {
  it("reads floats, NaN and infinities included", () => {
    const found = read(bytesOf("f32"))
    expect([found.dtype, found.shape]).toEqual(["f32", [2, 3]])
    expect(numbers(found)).toEqual([1.5, -2, Infinity, Number.NaN, 0, -0])
  })

  it("puts Fortran order into row-major order", () => {
    const found = read(bytesOf("fortran"))
    expect([found.dtype, found.shape]).toEqual(["f64", [2, 3, 4]])
    expect(numbers(found)).toEqual(count(24))
  })

  it("reads big-endian numbers", () => {
    expect(numbers(read(bytesOf("bigEndian")))).toEqual([1, -2, 2147483647])
  })

  it("narrows int64 after a range check", () => {
    expect(read(bytesOf("int64"))).toEqual(HostArray.fromNumbers("i32", [2], [1, -5]))
    expect(refusal(Npy.read(bytesOf("int64Large"), "x.npy"))).toBe(
      "x.npy: the array holds 2147483648 at element 1, which does not fit into i32"
    )
  })

  it("reads scalars, empty arrays and version 2", () => {
    expect(read(bytesOf("scalar"))).toEqual(HostArray.scalar("f16", 7))
    expect(read(bytesOf("empty"))).toEqual(HostArray.zeros("bool", [3, 0]))
    expect(read(bytesOf("version2"))).toEqual(HostArray.fromNumbers("u32", [2], [1, 2]))
  })

  it("refuses dtypes that it lacks, by name", () => {
    expect(refusal(Npy.read(bytesOf("structured")))).toContain("structured dtypes")
    expect(refusal(Npy.read(bytesOf("complex")))).toContain('the dtype "<c8" is not supported')
  })

  it("is written byte for byte the same", () => {
    for (const file of ["f32", "scalar", "empty"] as const)
      expect(Npy.write(read(bytesOf(file)))).toEqual(bytesOf(file))
  })
})

describe("damaged .npy", () => {
  it("is refused when cut off at any byte", () => {
    const whole = bytesOf("f32")
    for (let length = 0; length < whole.length; length++) {
      const result = Npy.read(whole.subarray(0, length))
      expect(Result.isFailure(result) && result.failure instanceof FileError, `${length} bytes`).toBe(true)
    }
    expect(refusal(Npy.read(Uint8Array.of(...whole, 0)))).toContain("takes 24 bytes, but 25 are there")
  })

  it("is refused by name for every kind of damage", () => {
    const header = (text: string) => {
      const bytes = bytesOf("f32").slice()
      bytes.fill(0x20, 10, 127)
      bytes.set(new TextEncoder().encode(text), 10)
      return Npy.read(bytes)
    }
    expect(refusal(Npy.read(Uint8Array.from({ length: 200 }, () => 65)))).toContain(
      "does not begin like a .npy file"
    )
    expect(refusal(header("nonsense"))).toContain("not one that NumPy writes")
    expect(refusal(header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }"))).toContain(
      "no integer of 0 or more"
    )
    const hostile = "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"
    expect(refusal(header(hostile))).toContain("takes 73786976294838210000 bytes")
    expect(
      refusal(header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }"))
    ).toContain("no integer")
    const unknown = bytesOf("f32").slice()
    unknown[6] = 9
    expect(refusal(Npy.read(unknown))).toContain("version 9.0")
  })
})

const all = DType.all.map((dtype, i) => [dtype, array(random(i), dtype, [3, 1, 5], "huge")] as const)

it.each(all)("round-trips %s", (dtype, original) => {
  const back = read(Npy.write(original))
  // NumPy has no bfloat16; float32 holds its values.
  expect(back.dtype).toBe(dtype === "bf16" ? "f32" : dtype)
  expect(numbers(back)).toEqual(numbers(original))
  expect(back.shape).toEqual(original.shape)
})

describe(".npz", () => {
  const expected = new Map<string, HostArray.HostArray>([
    ["q", HostArray.fromNumbers("i32", [3], [0, 1, 2])],
    ["k", HostArray.fromNumbers("f32", [1, 2], [1, 1])]
  ])

  it.each(["savez", "savezCompressed"] as const)("reads what numpy.%s writes", (file) => {
    expect(Result.getOrThrow(Npz.read(bytesOf(file)))).toEqual(expected)
  })

  it.each([false, true])("round-trips, compressed: %s", (compressed) => {
    expect(Result.getOrThrow(Npz.read(Npz.write(expected, { compressed })))).toEqual(expected)
    expect(Result.getOrThrow(Npz.read(Npz.write(new Map(), { compressed })))).toEqual(new Map())
  })

  it("keeps names that mean something to JavaScript", () => {
    const named = new Map([["__proto__", HostArray.scalar("f32", 1)]])
    expect([...Result.getOrThrow(Npz.read(Npz.write(named))).keys()]).toEqual(["__proto__"])
  })

  it.each(["savez", "savezCompressed"] as const)("refuses %s cut off at any byte", (file) => {
    const whole = bytesOf(file)
    for (let length = 0; length < whole.length; length++) {
      expect(Result.isFailure(Npz.read(whole.subarray(0, length))), `${length} bytes`).toBe(true)
    }
  })

  it.each(["savez", "savezCompressed"] as const)("survives %s with any byte changed", (file) => {
    const whole = bytesOf(file)
    for (let at = 0; at < whole.length; at++) {
      const changed = whole.slice()
      changed[at] = (changed[at] as number) ^ 0xff
      // Some bytes (dates, flags of the writer) carry no meaning; what is read must then be unharmed.
      const result = Npz.read(changed)
      if (Result.isSuccess(result)) expect([...result.success.values()]).toEqual([...expected.values()])
    }
  })

  it("refuses foreign entries", () => {
    const name = new Map([["x", HostArray.scalar("f32", 1)]])
    const renamed = Buffer.from(Npz.write(name)).toString("latin1").replaceAll("x.npy", "x.txt")
    expect(refusal(Npz.read(new Uint8Array(Buffer.from(renamed, "latin1"))))).toContain(
      'entry "x.txt" is no .npy file'
    )
  })

  it("computes the CRC-32 of the check string", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926)
  })
})
