import { describe, expect, test } from "vitest"
import { dispatched } from "../../support/dispatched.ts"
import { input } from "../../support/irText.ts"

const kinds = ["cpu", "gpu"] as const
const split = ["matmul_split", "matmul_combine"]

/** x [M, K] times w [K, N], plus a bias, through an activation. */
const product = (d: string, columns: number | string, out = d): string => `graph {
  ${input(`${d}[M, K]`)}
  ${input(`${d}[K, ${columns}]`, "w")}
  ${input(`f32[${columns}]`, "bias")}
  %0: f32[M, K] = cast %x
  %1: f32[K, ${columns}] = cast %w
  %2: f32[M, ${columns}] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
  %3: f32[M, ${columns}] = add %2, %bias
  %4: f32[M, ${columns}] = sigmoid %3
  %5: ${out}[M, ${columns}] = cast %4
  return "y": %5
}`

/** Without casts that change nothing, which are no ops. */
const f32 = (columns: number | string): string =>
  product("f32", columns)
    .split("\n")
    .filter((line) => !/%[015]: .* = cast/.test(line))
    .join("\n")
    .replace("dot %0, %1", "dot %x, %w")
    .replace('"y": %5', '"y": %4')

describe.each(kinds)("sums in parts, by kernels for a %s", (kind) => {
  test("long sums of few results are split, at lengths that are known at the call only", async () => {
    const call = (M: number, K: number) => ({ sizes: { M, K } })
    const names = await dispatched(
      f32(17),
      [call(4, 513), call(9, 4100), call(33, 1031), call(5, 256), call(1, 4100), call(5, 0), call(0, 999)],
      { kind }
    )
    expect(names).toEqual([split, split, split, ["matmul"], ["matmul_vector"], ["matmul"], []])
  })

  test("what has tiles enough is not", async () => {
    const [names] = await dispatched(f32(17), [{ sizes: { M: 9000, K: 300 } }], { kind })
    expect(names).toEqual(["matmul"])
  })

  test.each(["f16", "bf16"])("of %s, two results of a row in a word", async (d) => {
    const names = await dispatched(product(d, 6), [{ sizes: { M: 5, K: 700 } }], { kind })
    expect(names).toEqual([split])
    const odd = await dispatched(product(d, 3, "f32"), [{ sizes: { M: 5, K: 700 } }], { kind })
    expect(odd).toEqual([split])
  })

  test("of integers, in batches, of operands as they lie", async () => {
    const text = `graph {
      ${input("i32[2, 6, K]")}
      ${input("i32[9, K, 2]", "y")}
      %r: i32[2, 6, 9] = dot %x, %y {lhsBatch = [0], rhsBatch = [2], lhsContract = [2], rhsContract = [1]}
      %t: i32[2, 9, 6] = transpose %r {perm = [0, 2, 1]}
      return %t
    }`
    expect(await dispatched(text, [{ sizes: { K: 1030 } }], { kind })).toEqual([split])
  })

  test("two products of one input", async () => {
    const text = `graph {
      ${input("f32[T, 1024]")}
      ${input("f32[17, 1024]", "g")}
      ${input("f32[17, 1024]", "u")}
      %a: f32[T, 17] = dot %x, %g {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [1]}
      %b: f32[T, 17] = dot %x, %u {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [1]}
      %s: f32[T, 17] = sigmoid %a
      %r: f32[T, 17] = mul %s, %b
      return %r
    }`
    expect(await dispatched(text, [{ sizes: { T: 7 } }], { kind })).toEqual([split])
  })

  test("a sum over what a call decides", async () => {
    const text = `graph {
      ${input("f32[T, 16]")}
      %r: f32[16, 16] = dot %x, %x {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}
      return %r
    }`
    const calls = [0, 1, 200, 257, 5000].map((T) => ({ sizes: { T } }))
    expect(await dispatched(text, calls, { kind })).toEqual([
      ["matmul"],
      ["matmul"],
      ["matmul"],
      split,
      split
    ])
  })
})
