import { describe, expect, it } from "vitest"
import * as Half from "../../../ir/Half.ts"
import { random } from "../../support/arrays.ts"

const patterns = Array.from({ length: 65536 }, (_, bits) => bits)
const formats = [
  {
    name: "f16",
    bitsOf: Half.f16Bits,
    valueOf: Half.f16Value,
    round: Half.roundF16,
    infinity: 0x7c00,
    nan: 0x7e00
  },
  {
    name: "bf16",
    bitsOf: Half.bf16Bits,
    valueOf: Half.bf16Value,
    round: Half.roundBf16,
    infinity: 0x7f80,
    nan: 0x7fc0
  }
]

describe.each(formats)("$name", ({ bitsOf, valueOf, round, infinity, nan }) => {
  const isNan = (bits: number): boolean => (bits & 0x7fff) > infinity

  it("reads back every one of the 65536 patterns", () => {
    const wrong = patterns.filter((bits) => bitsOf(valueOf(bits)) !== (isNan(bits) ? nan : bits))
    expect(wrong).toEqual([])
  })

  it("leaves values of the format alone", () => {
    const wrong = patterns.filter((bits) => !isNan(bits) && !Object.is(round(valueOf(bits)), valueOf(bits)))
    expect(wrong).toEqual([])
  })

  it("orders positive patterns by value", () => {
    for (let bits = 0; bits < infinity; bits++) expect(valueOf(bits + 1) > valueOf(bits)).toBe(true)
  })

  it("rounds the middle between neighbours to the even one, and everything else to the nearer one", () => {
    const wrong: Array<number> = []
    for (let bits = 0; bits + 1 < infinity; bits++) {
      const [low, high] = [valueOf(bits), valueOf(bits + 1)]
      const middle = (low + high) / 2
      const step = (high - low) / 1024
      const even = bits % 2 === 0 ? bits : bits + 1
      const ok =
        bitsOf(middle) === even &&
        bitsOf(middle - step) === bits &&
        bitsOf(middle + step) === bits + 1 &&
        bitsOf(-middle) === (even | 0x8000)
      if (!ok) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })

  it("overflows to infinity half a unit past the largest value", () => {
    const largest = valueOf(infinity - 1)
    const halfUnit = (largest - valueOf(infinity - 2)) / 2
    expect(round(largest + halfUnit * 0.999)).toBe(largest)
    expect(round(largest + halfUnit)).toBe(Infinity)
    expect(round(-largest - halfUnit)).toBe(-Infinity)
    expect(round(Number.MAX_VALUE)).toBe(Infinity)
    expect(bitsOf(-Infinity)).toBe(infinity | 0x8000)
  })

  it("keeps the sign of what rounds to zero", () => {
    expect(Object.is(round(-1e-300), -0)).toBe(true)
    expect(Object.is(round(Number.MIN_VALUE), 0)).toBe(true)
    expect(bitsOf(-0)).toBe(0x8000)
  })

  it("gives NaN for NaN", () => {
    expect(round(Number.NaN)).toBeNaN()
    expect(patterns.filter((bits) => isNan(bits) !== Number.isNaN(valueOf(bits)))).toEqual([])
  })
})

it("knows published values", () => {
  expect(Half.f16Bits(1)).toBe(0x3c00)
  expect(Half.f16Bits(65504)).toBe(0x7bff)
  expect(Half.f16Bits(2 ** -24)).toBe(0x0001)
  expect(Half.f16Bits(1 / 3)).toBe(0x3555)
  expect(Half.bf16Bits(1)).toBe(0x3f80)
  expect(Half.bf16Bits(Math.PI)).toBe(0x4049)
})

it("rounds bf16 as the upper half of a float32 is rounded", () => {
  const { next } = random(7)
  const float = new Float32Array(1)
  const word = new Uint32Array(float.buffer)
  for (let i = 0; i < 20_000; i++) {
    word[0] = Math.floor(next() * 2 ** 32)
    const x = float[0] as number
    if (Number.isNaN(x)) continue
    const bits = word[0] as number
    const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
    expect(Half.bf16Bits(x)).toBe(rounded & 0xffff)
  }
})
