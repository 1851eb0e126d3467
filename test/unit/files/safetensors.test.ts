import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as DType from "../../../ir/DType.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { FileError } from "../../../src/files/FileError.ts"
import * as Safetensors from "../../../src/files/Safetensors.ts"
import { array, random } from "../../support/arrays.ts"

/** A file from the text of its header and its data, as the specification lays it out. */
const file = (header: string | object, data: ReadonlyArray<number> = [], claimed?: number): Uint8Array => {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header))
  const bytes = new Uint8Array(8 + text.length + data.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(claimed ?? text.length), true)
  bytes.set(text, 8)
  bytes.set(data, 8 + text.length)
  return bytes
}

const refusal = (bytes: Uint8Array): string => {
  const result = Safetensors.read(bytes, "m.safetensors")
  expect(Result.isFailure(result)).toBe(true)
  return Result.isFailure(result) ? result.failure.message : ""
}

describe("a file laid out by hand", () => {
  it("gives its tensors by name", () => {
    const bytes = file(
      {
        __metadata__: { format: "pt" },
        b: { dtype: "I64", shape: [1], data_offsets: [4, 12] },
        a: { dtype: "F16", shape: [2], data_offsets: [0, 4] },
        none: { dtype: "F32", shape: [0, 3], data_offsets: [12, 12] }
      },
      [0x00, 0x3c, 0x00, 0xc0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    )
    expect(Result.getOrThrow(Safetensors.read(bytes))).toEqual(
      new Map<string, HostArray.HostArray>([
        ["b", HostArray.fromNumbers("i32", [1], [-2])],
        ["a", HostArray.fromNumbers("f16", [2], [1, -2])],
        ["none", HostArray.zeros("f32", [0, 3])]
      ])
    )
  })

  it("keeps names that mean something to JavaScript", () => {
    const bytes = file(`{"__proto__":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, [7])
    const expected = HostArray.fromNumbers("bool", [1], [1])
    expect([...Result.getOrThrow(Safetensors.read(bytes))]).toEqual([["__proto__", expected]])
  })
})

const all = new Map(
  DType.all.map((dtype, i) => [`t.${dtype}`, array(random(i), dtype, [2, 3], "huge")] as const)
)

it("round-trips every dtype", () => {
  const written = Safetensors.write(all)
  expect(Result.getOrThrow(Safetensors.read(written))).toEqual(all)
  expect(new DataView(written.buffer).getUint32(0, true) % 8).toBe(0)
  expect(Result.getOrThrow(Safetensors.read(Safetensors.write(new Map())))).toEqual(new Map())
})

it("refuses a file cut off at any byte", () => {
  const whole = Safetensors.write(new Map([["x", HostArray.fromNumbers("f32", [2], [1, 2])]]))
  for (let length = 0; length < whole.length; length++) {
    const result = Safetensors.read(whole.subarray(0, length))
    expect(Result.isFailure(result) && result.failure instanceof FileError, `${length} bytes`).toBe(true)
  }
})

describe("refusals", () => {
  const x = (fields: object) => ({ x: { dtype: "F32", shape: [1], data_offsets: [0, 4], ...fields } })
  const four = [0, 0, 0, 0]

  it.each([
    ["a header beyond the file", file("{}", [], 2 ** 40), "claims 1099511627776 bytes, but 2 follow"],
    ["a header that is not JSON", file("{"), "the header is not JSON"],
    ["a header that is a list", file("[]"), "not a JSON object"],
    ["an unknown dtype", file(x({ dtype: "F8_E4M3" }), four), 'has the dtype "F8_E4M3"'],
    [
      "a dtype that is a property of objects",
      file(x({ dtype: "constructor" }), four),
      'has the dtype "constructor"'
    ],
    ["missing fields", file({ x: { dtype: "F32" } }, four), "lacks a dtype, a shape or data_offsets"],
    ["a shape that does not fit", file(x({ shape: [2] }), four), "f32[2] takes 8 bytes, but 4 are there"],
    ["a negative size", file(x({ shape: [-1] }), four), "size -1"],
    ["a hostile size", file(x({ shape: [2 ** 52, 2 ** 52] }), four), "takes"],
    [
      "offsets beyond the data",
      file(x({ data_offsets: [4, 8] }), four),
      "ends at byte 8 of the data, which has 4"
    ],
    ["offsets in reverse", file(x({ data_offsets: [4, 0] }), four), "has the offsets"],
    ["a hole", file(x({ data_offsets: [4, 8] }), [...four, ...four]), "leaves a hole before it"],
    ["bytes left over", file(x({}), [...four, 0]), "1 bytes at the end belong to no tensor"],
    [
      "an overlap",
      file({ ...x({}), y: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }, four),
      "overlaps the tensor before it"
    ],
    [
      "an integer out of range",
      file(x({ dtype: "U64", data_offsets: [0, 8] }), [0, 0, 0, 0, 1, 0, 0, 0]),
      "holds 4294967296 at element 0, which does not fit into u32"
    ]
  ])("%s", (_, bytes, message) => {
    expect(refusal(bytes)).toContain(message)
  })

  it("shortens and escapes hostile names", () => {
    const message = refusal(file({ [`\u001b[31m${"x".repeat(500)}`]: {} }))
    expect(message.includes("\u001b")).toBe(false)
    expect(message.length).toBeLessThan(200)
  })
})
