import { describe, expect, test } from "vitest"
import { agree } from "../../support/agree.ts"
import { dispatched } from "../../support/dispatched.ts"
import { fused, input } from "../../support/irText.ts"

const product = (d: string, more = ""): string =>
  `${input(`${d}[M, K]`)}\n${input(`${d}[K, N]`, "y")}\n%1: ${d}[M, N] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}${more}`

describe("products of matrices", () => {
  const sizes = [
    { M: 1, K: 7, N: 33 },
    { M: 3, K: 1, N: 2 },
    { M: 17, K: 19, N: 13 },
    { M: 33, K: 16, N: 65 },
    { M: 2, K: 0, N: 3 },
    { M: 0, K: 3, N: 3 },
    { M: 4, K: 33, N: 1 }
  ]
  test("of any size", async () => {
    for (const s of sizes) await agree(`${product("f32")}\nreturn %1`, s)
  })

  test.each(["f16", "bf16", "i32", "u32"])("of %s", async (d) => {
    await agree(`${product(d)}\nreturn %1`, { M: 5, K: 9, N: 7 })
  })

  test("of 16-bit results that lie in pairs", async () => {
    for (const d of ["f16", "bf16"]) {
      const text = `${input(`${d}[M, 5]`)}\n${input(`${d}[5, 6]`, "y")}\n%1: ${d}[M, 6] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}\nreturn %1`
      await agree(text, { M: 7 })
    }
  })

  test("of constant sizes", async () => {
    for (const [M, K, N] of [
      [1, 8, 40],
      [2, 12, 8],
      [8, 16, 4],
      [5, 4, 3]
    ]) {
      const text = `${input(`f32[${M}, ${K}]`)}\n${input(`f32[${K}, ${N}]`, "y")}\n%1: f32[${M}, ${N}] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}\nreturn %1`
      await agree(text)
    }
  })
})

describe("contractions", () => {
  test("batches in different places, several contracted and free axes", async () => {
    const text = `${input("f32[T, 3, B, 2, 5]")}\n${input("f32[5, B, S, 3, 4]", "y")}
%1: f32[B, T, 2, S, 4] = dot %x, %y {lhsBatch = [2], rhsBatch = [1], lhsContract = [1, 4], rhsContract = [3, 0]}\nreturn %1`
    await agree(text, { B: 2, T: 3, S: 5 })
  })

  test("the scores of attention, with a transposed key", async () => {
    const text = `graph {
      ${input("f32[B, T, 2, 8]", "q")}
      ${input("f32[B, S, 2, 8]", "k")}
      %0: f32[B, 2, T, 8] = transpose %q {perm = [0, 2, 1, 3]}
      %1: f32[B, 2, 8, S] = transpose %k {perm = [0, 2, 3, 1]}
      %2: f32[B, 2, T, S] = dot %0, %1 {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [2]}
      return %2
    }`
    await agree(text, { B: 2, T: 5, S: 7 })
  })

  test("16-bit operands that are widened and read four at a time", async () => {
    for (const d of ["f16", "bf16"]) {
      const text = `graph {
        ${input(`${d}[B, T, 8]`, "q")}
        ${input(`${d}[B, S, 8]`, "k")}
        %0: f32[B, T, 8] = cast %q
        %1: f32[B, S, 8] = cast %k
        %2: f32[B, T, S] = dot %0, %1 {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
        return "scores": %2
      }`
      const fusedText = fused(
        [
          ["q", `${d}[B, T, 8]`],
          ["k", `${d}[B, 8, S]`]
        ],
        "f32[B, T, S]",
        [
          "%0: f32[B, T, 8] = cast %q",
          "%t: f32[B, 8, S] = cast %k",
          "%2: f32[B, T, S] = dot %0, %t {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [1]}"
        ],
        "2"
      )
      await agree(text, { B: 2, T: 5, S: 3 })
      await agree(fusedText, { B: 2, T: 5, S: 3 }, { kind: "cpu" })
      await agree(fusedText.replaceAll("S]", "12]"), { B: 2, T: 5 }, { kind: "cpu" })
    }
  })

  test.each(["cpu", "gpu"] as const)(
    "of heads side by side that come before their rows, on a %s",
    async (kind) => {
      const text = `graph {
      ${input("f32[B, 3, T, 8]")}
      ${input("f32[24, 20]", "w")}
      %0: f32[B, T, 3, 8] = transpose %x {perm = [0, 2, 1, 3]}
      %1: f32[B, T, 24] = reshape %0
      %2: f32[B, T, 20] = dot %1, %w {lhsBatch = [], rhsBatch = [], lhsContract = [2], rhsContract = [0]}
      return %2
    }`
      const calls = [
        { B: 1, T: 1 },
        { B: 2, T: 5 },
        { B: 3, T: 13 },
        { B: 0, T: 3 }
      ].map((sizes) => ({ sizes }))
      const names = await dispatched(text, calls, { kind })
      expect(names.map((n) => n.length)).toEqual([1, 1, 1, 0])
    }
  )

  test("no free axes, no contracted axes", async () => {
    await agree(
      `${input("f32[T]")}\n${input("f32[T]", "y")}\n%1: f32[] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}\nreturn %1`,
      { T: 37 }
    )
    await agree(
      `${input("f32[T]")}\n${input("f32[S]", "y")}\n%1: f32[T, S] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [], rhsContract = []}\nreturn %1`,
      { T: 5, S: 3 }
    )
    await agree(
      `${input("f32[T]")}\n${input("f32[T]", "y")}\n%1: f32[T] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [], rhsContract = []}\nreturn %1`,
      { T: 5 }
    )
  })
})
