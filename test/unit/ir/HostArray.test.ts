import { describe, expect, it } from "vitest"
import { DTypeError, ShapeError } from "../../../ir/errors.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Scalar from "../../../ir/Scalar.ts"

describe("storing numbers", () => {
  const numbers = [1.5, -1.5, 3e9, -3e9, 5e9, Number.NaN, Infinity, -0]

  it("truncates and saturates into integers", () => {
    const i32 = HostArray.fromNumbers("i32", [8], numbers)
    expect([...i32.data]).toEqual([1, -1, 2147483647, -2147483648, 2147483647, 0, 2147483647, 0])
    const u32 = HostArray.fromNumbers("u32", [8], numbers)
    expect([...u32.data]).toEqual([1, 0, 3000000000, 0, 4294967295, 0, 4294967295, 0])
  })

  it("takes everything but zero as true, NaN included", () => {
    expect([...HostArray.fromNumbers("bool", [8], numbers).data]).toEqual([1, 1, 1, 1, 1, 1, 1, 0])
  })

  it("keeps 16-bit floats as bits", () => {
    const f16 = HostArray.fromNumbers("f16", [2], [1, 1 / 3])
    expect([...f16.data]).toEqual([0x3c00, 0x3555])
    expect([...HostArray.toNumbers(f16)]).toEqual([1, 0.333251953125])
  })

  it("wraps the results of integer arithmetic", () => {
    expect(Scalar.wrap.i32(2 ** 31)).toBe(-(2 ** 31))
    expect(Scalar.wrap.u32(-1)).toBe(2 ** 32 - 1)
    expect(Scalar.wrap.i32(Infinity)).toBe(0)
  })

  it("casts integers to integers by their low bits, floats by saturation", () => {
    expect(Scalar.cast("u32", "i32")(2 ** 32 - 1)).toBe(-1)
    expect(Scalar.cast("f32", "i32")(2 ** 32 - 1)).toBe(2 ** 31 - 1)
    expect(Scalar.cast("f32", "u32")(-0.5)).toBe(0)
  })

  it("reads and writes single elements", () => {
    const array = HostArray.zeros("bf16", [2, 2])
    HostArray.set(array, 3, Math.PI)
    expect(HostArray.get(array, 3)).toBe(3.140625)
    expect(HostArray.get(array, 0)).toBe(0)
  })
})

describe("validation", () => {
  it("refuses data that does not fill the shape", () => {
    expect(() => HostArray.make("f32", [2, 3], new Float32Array(5))).toThrow(ShapeError)
    expect(() => HostArray.fromNumbers("f32", [2], [1, 2, 3])).toThrow("3 numbers do not fill f32[2]")
  })

  it("refuses a typed array of another dtype", () => {
    const wrong = { dtype: "f16", shape: [1], data: new Float32Array(1) } as unknown as HostArray.HostArray
    expect(() => HostArray.validate(wrong)).toThrow(DTypeError)
  })

  it.each([[[-1]], [[1.5]], [[Number.NaN]], [[2 ** 40, 2 ** 40]]])("refuses the shape %j", (shape) => {
    expect(() => HostArray.sizeOf(shape)).toThrow(ShapeError)
  })

  it("takes scalars and empty arrays", () => {
    expect(HostArray.scalar("i32", 7).data[0]).toBe(7)
    expect(HostArray.fromNumbers("f32", [3, 0], []).data.length).toBe(0)
  })
})
