import { describe, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import { input } from "../../support/irText.ts"

const lengths = [0, 1, 2, 5, 33, 257]

describe("reductions", () => {
  const ops = ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"]
  test.each(ops)("%s over the last axis, of any length", async (op) => {
    const text = `${input("f32[T, S]")}\n%1: f32[T] = ${op} %x {axes = [1]}\nreturn %1`
    for (const S of lengths) await agree(text, { T: 3, S })
    await agree(text, { T: 0, S: 4 })
  })

  test.each(ops)("%s over other axes and dtypes", async (op) => {
    for (const d of [
      "f16",
      "bf16",
      "i32",
      "u32",
      ...(op === "reduce_max" || op === "reduce_min" ? ["bool"] : [])
    ]) {
      await agree(`${input(`${d}[2, T, 3, 5]`)}\n%1: ${d}[T, 5] = ${op} %x {axes = [2, 0]}\nreturn %1`, {
        T: 7
      })
    }
    await agree(`${input("f32[T, 3]")}\n%1: f32[] = ${op} %x {axes = [0, 1]}\nreturn %1`, { T: 50 })
    await agree(`${input("f32[T, 3]")}\n%1: f32[T, 3] = ${op} %x {axes = []}\nreturn %1`, { T: 3 })
  })

  test("argmax gives the first of equals", async () => {
    for (const d of ["f32", "bf16", "i32", "u32"]) {
      const text = `${input(`${d}[T, S, 2]`)}\n%1: i32[T, 2] = argmax %x {axis = 1}\nreturn %1`
      for (const S of d === "i32" ? lengths : [1, 40]) await agree(text, { T: 3, S })
    }
  })

  test("cumsum", async () => {
    for (const d of ["f32", "f16", "i32", "u32"]) {
      const text = `${input(`${d}[T, S, 3]`)}\n%1: ${d}[T, S, 3] = cumsum %x {axis = 1}\nreturn %1`
      for (const S of d === "i32" ? lengths : [40]) await agree(text, { T: 2, S })
    }
  })
})

describe("normalisations", () => {
  const attrs: { readonly [op: string]: string } = {
    softmax: "{axis = 1}",
    logsumexp: "{axis = 1}",
    layer_norm: "{axis = 1, epsilon = 0.001}",
    rms_norm: "{axis = 1, epsilon = 0.001}"
  }
  const type = (op: string, d: string, more = "") => `${d}[T${op === "logsumexp" ? "" : ", S"}${more}]`

  test.each(Object.keys(attrs))("%s of a row that holds NaN is NaN", async (op) => {
    const x = HostArray.fromNumbers("f32", [2, 3], Float64Array.of(1, NaN, 2, 1, 2, 3))
    const text = `${input("f32[T, S]")}\n%1: ${type(op, "f32")} = ${op} %x ${attrs[op]}\nreturn %1`
    await agree(text, { T: 2, S: 3 }, { inputs: [x] })
  })

  test.each(Object.keys(attrs))("%s", async (op) => {
    for (const S of lengths) {
      await agree(`${input("f32[T, S]")}\n%1: ${type(op, "f32")} = ${op} %x ${attrs[op]}\nreturn %1`, {
        T: 3,
        S
      })
    }
    for (const d of ["f16", "bf16"]) {
      await agree(`${input(`${d}[T, S, 3]`)}\n%1: ${type(op, d, ", 3")} = ${op} %x ${attrs[op]}\nreturn %1`, {
        T: 3,
        S: 7
      })
    }
    await agree(`${input("f32[T, S]")}\n%1: ${type(op, "f32")} = ${op} %x ${attrs[op]}\nreturn %1`, {
      T: 40,
      S: 3
    })
  })

  test("rows with -inf, and rows of nothing else", async () => {
    const text = `graph {
      ${input("f32[T, S]")}
      ${input("bool[T, 1]", "keep")}
      %none: f32[] = constant {values = [-inf]}
      %0: f32[T, S] = select %keep, %x, %none
      %1: f32[T, S] = softmax %0 {axis = 1}
      %2: f32[T] = logsumexp %0 {axis = 1}
      return "p": %1, "lse": %2
    }`
    await agree(text, { T: 6, S: 9 }, { data: "holes" })
  })

  test("16-bit rows that lie in pairs", async () => {
    for (const d of ["f16", "bf16"]) {
      for (const op of ["softmax", "layer_norm", "rms_norm"]) {
        await agree(`${input(`${d}[T, 6]`)}\n%1: ${d}[T, 6] = ${op} %x ${attrs[op]}\nreturn %1`, { T: 5 })
      }
    }
  })

  test("large scores", () =>
    agree(
      `${input("f16[T, S]")}\n%1: f16[T, S] = softmax %x {axis = 1}\nreturn %1`,
      { T: 3, S: 17 },
      { data: "huge" }
    ))
})
