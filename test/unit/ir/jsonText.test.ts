import { describe, expect, test } from "vitest"
import { mistakeAt, offsetOf } from "../../../ir/JsonText.ts"

const parses = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const texts = [
  '{"a": [1, -2.5e3, "x\\"y", true], "b": {"c": null, "d": {}}, "e": []}',
  "[[], [[0]], {}]",
  '"\\u00e9"',
  " 12 \n"
]

describe("mistakeAt", () => {
  test("agrees with JSON.parse on every text that is one edit from JSON", () => {
    for (const text of texts) {
      expect(mistakeAt(text)).toBeUndefined()
      for (let i = 0; i <= text.length; i++) {
        for (const put of ["", ",", "]", "}", ":", '"', "0", "x", "{", "\\"]) {
          for (const damaged of [
            text.slice(0, i) + put + text.slice(i),
            text.slice(0, i) + put + text.slice(i + 1)
          ]) {
            expect(mistakeAt(damaged) === undefined, damaged).toBe(parses(damaged))
          }
        }
      }
    }
  })

  test("is where no continuation makes JSON of what stands before", () => {
    expect(mistakeAt('{"a": 1,, "b": 2}')).toBe(8)
    expect(mistakeAt('{"a": [1, 2')).toBe(11)
    expect(mistakeAt("[1] 2")).toBe(4)
  })

  test("reads deep and long texts", () => {
    expect(mistakeAt("[".repeat(100_000))).toBe(100_000)
    expect(mistakeAt(`["${"a\\n".repeat(100_000)}"`)).toBe(300_003)
  })
})

describe("offsetOf", () => {
  const text = '{"a": [1, {"a": 2}], "b": {"c": [3, 4]}}'
  test("finds the value, or the nearest around it", () => {
    expect(text.slice(offsetOf(text, ["a", 1, "a"]))).toMatch(/^2/)
    expect(text.slice(offsetOf(text, ["b", "c", 1]))).toMatch(/^4/)
    expect(text.slice(offsetOf(text, ["b", "c", 7]))).toMatch(/^\[3/)
    expect(offsetOf(text, ["nothing", "here"])).toBe(0)
  })
})
