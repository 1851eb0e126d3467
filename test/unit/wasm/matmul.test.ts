import { describe, expect, test } from "vitest"
import { agree, compiled } from "../../support/onWasm.ts"

/** Few rows, around a tile, around a block, and nothing at all. */
const lengths = [1, 2, 3, 4, 5, 6, 7, 11, 16, 17, 59, 61, 66, 0].map((M) => ({ M }))

const dot = (lhs: string, rhs: string, attrs: string, result: string): string =>
  [
    `%a: ${lhs} = input {name = "a"}`,
    `%b: ${rhs} = input {name = "b"}`,
    `%c: ${result} = dot %a, %b {${attrs}}`,
    "return %c"
  ].join("\n")

const none = "lhsBatch = [], rhsBatch = []"

describe("matrix products, at any number of rows by the same kernels", () => {
  const cases: { readonly [name: string]: string } = {
    "rows times columns": dot(
      "f32[M, 7]",
      "f32[7, 45]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "f32[M, 45]"
    ),
    "columns that lie along the depth": dot(
      "f32[M, 9]",
      "f32[34, 9]",
      `${none}, lhsContract = [1], rhsContract = [1]`,
      "f32[M, 34]"
    ),
    // Parts of the depth, and what is left of it.
    "rows times columns, in parts": dot(
      "f32[M, 70]",
      "f32[70, 83]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "f32[M, 83]"
    ),
    "parts of integers": dot(
      "i32[M, 100]",
      "i32[100, 7]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "i32[M, 7]"
    ),
    "parts in batches, in 16 bits": dot(
      "f16[2, M, 64]",
      "f16[2, 64, 21]",
      "lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [1]",
      "f16[2, M, 21]"
    ),
    "rows that lie across": dot(
      "f32[6, M]",
      "f32[6, 5]",
      `${none}, lhsContract = [0], rhsContract = [0]`,
      "f32[M, 5]"
    ),
    // Panels of rows begin inside a vector, and end inside one.
    "rows of two axes that lie across": dot(
      "f32[5, M, 8]",
      "f32[5, 9]",
      `${none}, lhsContract = [0], rhsContract = [0]`,
      "f32[M, 8, 9]"
    ),
    "in 16 bits": dot(
      "f16[M, 12]",
      "f16[12, 33]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "f16[M, 33]"
    ),
    integers: dot("i32[M, 5]", "i32[5, 8]", `${none}, lhsContract = [1], rhsContract = [0]`, "i32[M, 8]"),
    "integers along the depth": dot(
      "u32[M, 5]",
      "u32[8, 5]",
      `${none}, lhsContract = [1], rhsContract = [1]`,
      "u32[M, 8]"
    ),
    "in batches": dot(
      "f32[3, M, 5]",
      "f32[3, 5, 10]",
      "lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [1]",
      "f32[3, M, 10]"
    ),
    // 26 panels, the last of 3 columns, in four parts.
    "in parts of columns": dot(
      "f32[M, 5]",
      "f32[5, 203]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "f32[M, 203]"
    ),
    // 41 panels in six parts.
    "in parts of columns and batches": dot(
      "f32[2, M, 3]",
      "f32[2, 3, 328]",
      "lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [1]",
      "f32[2, M, 328]"
    ),
    "over nothing": dot(
      "f32[M, 0]",
      "f32[0, 6]",
      `${none}, lhsContract = [1], rhsContract = [0]`,
      "f32[M, 6]"
    ),
    // Vectors of several sums, of one, and what is left.
    "far along the depth": dot(
      "f32[M, 107]",
      "f32[3, 107]",
      `${none}, lhsContract = [1], rhsContract = [1]`,
      "f32[M, 3]"
    ),
    "far along the depth, in 16 bits": dot(
      "bf16[M, 70]",
      "bf16[2, 70]",
      `${none}, lhsContract = [1], rhsContract = [1]`,
      "bf16[M, 2]"
    ),
    "integers far along the depth": dot(
      "i32[M, 69]",
      "i32[2, 69]",
      `${none}, lhsContract = [1], rhsContract = [1]`,
      "i32[M, 2]"
    ),
    "without columns": dot("f32[M, 3]", "f32[3]", `${none}, lhsContract = [1], rhsContract = [0]`, "f32[M]"),
    "over axes that lie side by side": dot(
      "f32[M, 3, 7]",
      "f32[9, 3, 7]",
      `${none}, lhsContract = [1, 2], rhsContract = [1, 2]`,
      "f32[M, 9]"
    ),
    "over several axes": dot(
      "f32[2, M, 3]",
      "f32[3, 9, 2]",
      `${none}, lhsContract = [0, 2], rhsContract = [2, 0]`,
      "f32[M, 9]"
    )
  }
  test.each(Object.entries(cases))("%s", (_, text) => agree(text, lengths))
})

test.each([0, 1, 31, 32, 33, 64, 100])("a depth of %i that is a length", (K) =>
  agree(dot("f32[2, K]", "f32[5, K]", `${none}, lhsContract = [1], rhsContract = [1]`, "f32[2, 5]"), [{ K }])
)

test.each([0, 1, 7, 8, 9, 65])("a depth of %i that is a length, by rows", (K) =>
  agree(dot("f32[2, K]", "f32[K, 37]", `${none}, lhsContract = [1], rhsContract = [0]`, "f32[2, 37]"), [
    { K }
  ])
)

test("a row times more columns than an item has", () =>
  agree(
    dot("f32[M, 2]", "f32[2, 65555]", `${none}, lhsContract = [1], rhsContract = [0]`, "f32[M, 65555]"),
    [1, 2].map((M) => ({ M }))
  ))

test("many rows times columns that lie along the depth, in several blocks", () =>
  agree(
    dot("f32[M, 3]", "f32[45, 3]", `${none}, lhsContract = [1], rhsContract = [1]`, "f32[M, 45]"),
    [240, 241, 500].map((M) => ({ M }))
  ))

test("columns that lie along the depth are packed where they are multiplied", async () => {
  const { executable } = await compiled(
    dot("f32[M, 7]", "f32[45, 7]", `${none}, lhsContract = [1], rhsContract = [1]`, "f32[M, 45]")
  )
  expect([16, 17].map((M) => executable.stats({ M }).dispatches)).toEqual([1, 2])
  // Rows alone, what fills the last panel, and what a vector may read past them, in whole lines.
  expect(executable.stats({ M: 17 }).scratchBytes).toBe(Math.ceil((4 * 7 * (17 + 5) + 64) / 64) * 64)
})

test("few rows are multiplied where they lie, many are packed", async () => {
  const { executable } = await compiled(
    dot("f32[M, 7]", "f32[7, 45]", `${none}, lhsContract = [1], rhsContract = [0]`, "f32[M, 45]")
  )
  expect([1, 3, 4].map((M) => executable.stats({ M }).dispatches)).toEqual([1, 1, 3])
  expect(executable.stats({ M: 3 }).scratchBytes).toBe(0)
})
