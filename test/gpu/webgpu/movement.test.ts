import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { agree } from "../../support/agree.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { input } from "../../support/irText.ts"
import { runGraph } from "../../support/runProgram.ts"

const dtypes = ["f32", "f16", "bf16", "i32", "u32", "bool"] as const

describe("views", () => {
  const bodies: { readonly [name: string]: (d: string) => string } = {
    transpose: (d) =>
      `${input(`${d}[B, T, 3]`)}\n%1: ${d}[3, B, T] = transpose %x {perm = [2, 0, 1]}\nreturn %1`,
    reshape: (d) => `${input(`${d}[B, T, 6]`)}\n%1: ${d}[B, 2, 3*T] = reshape %x\nreturn %1`,
    "reshape of a transpose": (d) =>
      `${input(`${d}[B, T, 6]`)}\n%1: ${d}[T, 6, B] = transpose %x {perm = [1, 2, 0]}\n%2: ${d}[6*T, B] = reshape %1\nreturn %2`,
    broadcast: (d) => `${input(`${d}[T, 1]`)}\n%1: ${d}[B, T, 5] = broadcast %x\nreturn %1`,
    slice: (d) =>
      `${input(`${d}[T, 9]`)}\n%1: ${d}[T - 1, 3] = slice %x {starts = [1, 2], stops = [T, 8], steps = [1, 2]}\nreturn %1`,
    concat: (d) =>
      `${input(`${d}[B, T]`)}\n${input(`${d}[B, 2]`, "y")}\n%1: ${d}[B, 2*T + 2] = concat %x, %y, %x {axis = 1}\nreturn %1`,
    pad: (d) =>
      `${input(`${d}[B, T]`)}\n%1: ${d}[B + 1, T + 3] = pad %x {low = [0, 2], high = [1, 1], value = 1}\nreturn %1`
  }
  for (const [name, body] of Object.entries(bodies)) {
    test(name, async () => {
      for (const d of dtypes) await agree(body(d), { B: 3, T: 5 }, { kind: "cpu" })
      if (name !== "slice") await agree(body("bf16"), { B: 2, T: 0 }, { kind: "cpu" })
      await agree(body("f32"), { B: 1, T: 1 }, { kind: "cpu" })
    })
  }

  test("every bit pattern of the 16-bit floats survives a move", async () => {
    for (const d of ["f16", "bf16"] as const) {
      const graph = graphOf(
        `${input(`${d}[256, 256]`)}\n%1: ${d}[256, 256] = transpose %x {perm = [1, 0]}\nreturn %1`
      )
      const x = {
        dtype: d,
        shape: [256, 256],
        data: Uint16Array.from({ length: 65536 }, (_, i) => i)
      } as HostArray.HostArray
      const [actual] = await runGraph(graph, [x], {})
      const [expected] = Reference.evaluate(graph, [x], {})
      const wrong = [...(actual?.data ?? [])].flatMap((bits, i) => {
        const wanted = Number(expected?.data[i])
        const isNaNs = (b: number) => (b & 0x7fff) > (d === "f16" ? 0x7c00 : 0x7f80)
        return Number(bits) === wanted || (isNaNs(Number(bits)) && isNaNs(wanted))
          ? []
          : [wanted.toString(16)]
      })
      expect(wrong).toEqual([])
    }
  })
})

describe("positions", () => {
  const positions = (shape: ReadonlyArray<number>) => arrays.integers(arrays.random(3), shape, -3, 12)

  test("gather clamps and takes any rank of indices", async () => {
    for (const d of dtypes) {
      const text = `${input(`${d}[4, 7, 3]`)}\n${input("i32[2, T]", "p")}\n%1: ${d}[4, 2, T, 3] = gather %x, %p {axis = 1}\nreturn %1`
      const x = arrays.array(arrays.random(1), d, [4, 7, 3])
      await agree(text, { T: 3 }, { kind: "cpu", inputs: [x, positions([2, 3])] })
    }
    const unsigned = `${input("f32[S]")}\n${input("u32[T]", "p")}\n%1: f32[T] = gather %x, %p {axis = 0}\nreturn %1`
    await agree(unsigned, { S: 5, T: 9 }, { kind: "cpu" })
    const p = arrays.array(arrays.random(1), "u32", [4])
    await agree(
      unsigned,
      { S: 0, T: 4 },
      { kind: "cpu", inputs: [HostArray.fromNumbers("f32", [0], new Float64Array(0)), p] }
    )
  })

  test("load", async () => {
    const text = `${input("f32[3, S]")}\n${input("i32[]", "i")}\n${input("i32[]", "j")}\n%1: f32[] = load %x, %i, %j\nreturn %1`
    const x = arrays.array(arrays.random(1), "f32", [3, 4])
    for (const [i, j] of [
      [0, 0],
      [2, 3],
      [-1, 9]
    ] as const) {
      const at = [i, j].map((v) => HostArray.fromNumbers("i32", [], Float64Array.of(v)))
      await agree(text, { S: 4 }, { kind: "cpu", inputs: [x, ...at] })
    }
  })

  test("update_slice drops or wraps", async () => {
    for (const wrap of [false, true]) {
      for (const d of ["f32", "f16", "bool"] as const) {
        const from = arrays.random(5)
        const x = arrays.array(from, d, [3, 6, 5])
        const update = arrays.array(from, d, [3, 4, 5])
        const each = `${input(`${d}[B, C, 5]`)}\n${input(`${d}[B, T, 5]`, "u")}\n${input("i32[B]", "s")}\n%1: ${d}[B, C, 5] = update_slice %x, %u, %s {axis = 1, wrap = ${wrap}}\nreturn %1`
        const starts = HostArray.fromNumbers("i32", [3], Float64Array.of(0, 4, -2))
        await agree(each, { B: 3, C: 6, T: 4 }, { kind: "cpu", inputs: [x, update, starts] })
        const one = each.replace("i32[B]", "i32[]")
        for (const s of [1, 5, 11]) {
          const start = HostArray.fromNumbers("i32", [], Float64Array.of(s))
          await agree(one, { B: 3, C: 6, T: 4 }, { kind: "cpu", inputs: [x, update, start] })
        }
      }
    }
  })
})

test("sources: iota, dim, random bits, constants", async () => {
  const text = `graph {
    ${input("u32[]", "seed")}
    ${input("f32[B, T]")}
    %0: i32[B*T] = iota
    %1: i32[] = dim {value = B*T - 2*B + 1}
    %2: i32[B*T] = add %0, %1
    %3: u32[B, T] = random_bits %seed
    %4: f32[3] = constant {values = [1.5, -inf, nan]}
    %5: f16[2, 2] = constant {values = [1, 2, 3, 4]}
    %6: bool[3] = constant {values = [1, 0, 1]}
    %7: i32[2] = constant {values = [-2147483648, 7]}
    return "a": %2, "b": %3, "c": %4, "d": %5, "e": %6, "f": %7, "g": %x
  }`
  await agree(text, { B: 3, T: 5 })
})
