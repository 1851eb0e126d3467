import { describe, expect, test } from "vitest"
import * as Half from "../../../ir/Half.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree, compiled } from "../../support/onWasm.ts"

/** Around vectors and lines of them, and nothing at all. */
const lengths = [
  { R: 1, C: 1 },
  { R: 3, C: 4 },
  { R: 5, C: 16 },
  { R: 40, C: 21 },
  { R: 7, C: 35 },
  { R: 2, C: 0 },
  { R: 0, C: 6 }
]

const on = (dtype: string, shape: string, op: string, attrs: string, result: string): string =>
  [`%x: ${dtype}[${shape}] = input {name = "x"}`, `%y: ${result} = ${op} %x {${attrs}}`, "return %y"].join(
    "\n"
  )

const reductions = ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"]

describe("rows whose elements do not lie next to each other, at any lengths", () => {
  test.each(reductions.flatMap((op) => ["f32", "i32", "u32", "f16"].map((dtype) => [op, dtype] as const)))(
    "%s, %s",
    async (op, dtype) => {
      await agree(on(dtype, "R, C", op, "axes = [0]", `${dtype}[C]`), lengths)
      await agree(on(dtype, "3, R, C", op, "axes = [1]", `${dtype}[3, C]`), lengths)
      await agree(on(dtype, "R, 2, C", op, "axes = [0, 1]", `${dtype}[C]`), lengths)
      await agree(on(dtype, "R, C, 20", op, "axes = [0]", `${dtype}[C, 20]`), lengths)
      await agree(on(dtype, "R, C, 3", op, "axes = [1]", `${dtype}[R, 3]`), lengths)
      await agree(on(dtype, "R, 3, C", op, "axes = [0, 2]", `${dtype}[3]`), lengths)
    }
  )
  test.each(["reduce_max", "reduce_min"])("%s of truths", (op) =>
    agree(on("bool", "R, C", op, "axes = [0]", "bool[C]"), lengths)
  )
  test.each(["argmax", "cumsum", "softmax", "logsumexp", "layer_norm", "rms_norm"])("%s", async (op) => {
    const attrs = op.endsWith("norm") ? "axis = 0, epsilon = 0.001" : "axis = 0"
    const inner = op === "argmax" ? "i32[C]" : op === "logsumexp" ? "f32[C]" : "f32[R, C]"
    await agree(on("f32", "R, C", op, attrs, inner), lengths)
    const middle = op === "argmax" ? "i32[2, C]" : op === "logsumexp" ? "f32[2, C]" : "f32[2, R, C]"
    await agree(on("f32", "2, R, C", op, attrs.replace("axis = 0", "axis = 1"), middle), lengths)
  })
  test.each(["softmax", "logsumexp"])("%s of infinities", (op) =>
    agree(on("f32", "R, C", op, "axis = 0", op === "softmax" ? "f32[R, C]" : "f32[C]"), lengths, {
      data: "holes"
    })
  )
})

test.each(["f32", "f64"] as const)(
  "NaN is the largest element only where it is the first, %s",
  async (dtype) => {
    const rows = [
      [1, Number.NaN, 0, 2, 0, 9, 1, 1],
      [-5, -6, -7, Number.NaN, -8, -9, -4, -3],
      [Number.NaN, 5, 6, 7, 8, 9, 1, 2]
    ]
    const data = HostArray.fromNumbers(dtype, [3, 8], Float64Array.from(rows.flat()))
    const { run } = await compiled(on(dtype, "R, C", "argmax", "axis = 1", "i32[R]"))
    const [found] = await run([data], { R: 3, C: 8 })
    expect([...HostArray.toNumbers(found as HostArray.HostArray)]).toEqual([5, 7, 0])
  }
)

test("every 16-bit float widens to the float that it is", async () => {
  const data = Uint16Array.from({ length: 65536 }, (_, i) => i)
  const { run } = await compiled(on("f16", "N", "cast", "", "f32[N]"))
  const [wide] = await run([{ dtype: "f16", shape: [65536], data }], { N: 65536 })
  expect(wide?.data).toEqual(Float32Array.from(data, Half.f16Value))
})
