import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as DType from "../../../ir/DType.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as JsonArray from "../../../src/files/JsonArray.ts"
import { read } from "../../../src/files/read.ts"
import { array, random } from "../../support/arrays.ts"
import { bytesOf } from "../../support/numpyFiles.ts"

const contents = (text: string) => Result.getOrThrow(JsonArray.read(text))
const refusal = (text: string): string => {
  const result = JsonArray.read(text, "x.json")
  expect(Result.isFailure(result)).toBe(true)
  return Result.isFailure(result) ? result.failure.message : ""
}

describe("JSON", () => {
  it("reads nested numbers as f32 and nested booleans as bool", () => {
    expect(contents("[[1, 2, 3], [4, 5.5, -1e-3]]")).toEqual(
      HostArray.fromNumbers("f32", [2, 3], [1, 2, 3, 4, 5.5, -1e-3])
    )
    expect(contents("[true, false]")).toEqual(HostArray.fromNumbers("bool", [2], [1, 0]))
    expect(contents("2.5")).toEqual(HostArray.scalar("f32", 2.5))
    expect(contents("[[], []]")).toEqual(HostArray.zeros("f32", [2, 0]))
  })

  it("reads a record, its data flat or nested, and names", () => {
    const expected = HostArray.fromNumbers("i32", [2, 2], [1, 2, 3, 4])
    expect(contents('{"dtype": "i32", "shape": [2, 2], "data": [1, 2, 3, 4]}')).toEqual(expected)
    expect(contents('{"dtype": "i32", "data": [[1, 2], [3, 4]]}')).toEqual(expected)
    expect(contents('{"q": {"dtype": "i32", "data": [[1, 2], [3, 4]]}, "__proto__": [1]}')).toEqual(
      new Map<string, HostArray.HostArray>([
        ["q", expected],
        ["__proto__", HostArray.fromNumbers("f32", [1], [1])]
      ])
    )
  })

  it("round-trips every dtype, with numbers that JSON lacks", () => {
    for (const [i, dtype] of DType.all.entries()) {
      const original = array(random(i), dtype, [2, 3], DType.isFloat(dtype) ? "holes" : "huge")
      if (DType.isFloat(dtype)) {
        ;[Number.NaN, Infinity, -0].forEach((x, at) => {
          HostArray.set(original, at, x)
        })
      }
      expect(contents(JsonArray.write(original))).toEqual(original)
    }
  })

  it.each([
    ["[[1, 2], [3]]", "the array[1] has 1 elements where 2 elements are expected"],
    ["[[1, 2], 3]", "the array[1] has no array where 2 elements are expected"],
    ["[1, [2]]", "the array[1] is an array where a number is expected"],
    ["[1, null]", "the array[1] is null"],
    ['["seven"]', 'the array[0] is "seven"'],
    ["[1, true]", "mixes numbers and booleans"],
    ['{"dtype": "f33", "data": [1]}', 'has the dtype "f33"'],
    ['{"dtype": "f32", "shape": [3], "data": [1]}', "1 elements do not fill [3]"],
    ['{"dtype": "f32", "shape": [-1], "data": [1]}', "is no list of sizes"],
    [`${"[".repeat(40)}${"]".repeat(40)}`, "nested deeper than 32"],
    [`${"[".repeat(100_000)}`, "x.json: is not JSON"],
    ["[1, 2", "x.json: is not JSON"],
    ["", "x.json: is not JSON"]
  ])("refuses %.30s", (text, message) => {
    expect(refusal(text)).toContain(message)
  })
})

describe("reading by extension", () => {
  it("finds the reader, whatever the case and the folder", () => {
    expect(Result.getOrThrow(read(bytesOf("int64"), "some.dir/x.NPY"))).toEqual(
      HostArray.fromNumbers("i32", [2], [1, -5])
    )
  })

  it.each(["x.txt", "npy", "dir.npy/x", "x.constructor"])("refuses %s", (file) => {
    const result = read(new Uint8Array(0), file)
    expect(Result.isFailure(result) && result.failure.message).toContain("unknown extension")
  })
})
