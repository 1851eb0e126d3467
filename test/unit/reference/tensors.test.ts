import { describe, expect, it } from "vitest"
import { threefry2x32 } from "../../../backends/reference/threefry.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { array, integers, random } from "../../support/arrays.ts"
import { evaluate } from "../../support/evaluate.ts"

const numbers = (result: HostArray.HostArray | undefined): ReadonlyArray<number> => [
  ...HostArray.toNumbers(result as HostArray.HostArray)
]
const f32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>) =>
  HostArray.fromNumbers("f32", shape, values)
const i32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>) =>
  HostArray.fromNumbers("i32", shape, values)
const count = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

describe("sources", () => {
  it("spreads one constant value and keeps many", () => {
    expect(numbers(evaluate("%0: f32[2, 2] = constant {values = [0.5]}\nreturn %0")[0])).toEqual([
      0.5, 0.5, 0.5, 0.5
    ])
    expect(numbers(evaluate("%0: u32[2] = constant {values = [1, 4294967295]}\nreturn %0")[0])).toEqual([
      1, 4294967295
    ])
  })

  it("counts, and evaluates lengths", () => {
    expect(numbers(evaluate("%0: i32[T] = iota\nreturn %0", [], { T: 4 })[0])).toEqual([0, 1, 2, 3])
    expect(numbers(evaluate("%0: i32[] = dim {value = S - 2*T}\nreturn %0", [], { S: 3, T: 4 })[0])).toEqual([
      -5
    ])
  })

  it("gives the known answers of threefry2x32 with 20 rounds (Random123, kat_vectors)", () => {
    expect(threefry2x32([0, 0], [0, 0])).toEqual([0x6b200159, 0x99ba4efe])
    expect(threefry2x32([-1, -1], [-1, -1])).toEqual([0x1cb996fc, 0xbb002be7])
    expect(threefry2x32([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3])).toEqual([0xc4923a9c, 0x483df7a0])
  })

  it("draws the first word for each row-major index", () => {
    const text = `%0: u32[] = input {name = "seed"}\n%1: u32[2, 2] = random_bits %0\nreturn %1`
    const bits = numbers(evaluate(text, [HostArray.scalar("u32", 5)])[0])
    expect(bits).toEqual(count(4).map((i) => threefry2x32([5, 0], [i, 0])[0]))
    expect(new Set(bits).size).toBe(4)
  })
})

describe("reductions", () => {
  const reduce = (op: string, dtype: string, axes: string, x: HostArray.HostArray, result: string) =>
    evaluate(`%0: ${dtype} = input {name = "x"}\n%1: ${result} = ${op} %0 {axes = [${axes}]}\nreturn %1`, [
      x
    ])[0]

  it("folds any axes", () => {
    const x = f32([2, 3, 2], count(12))
    expect(numbers(reduce("reduce_sum", "f32[2, 3, 2]", "1", x, "f32[2, 2]"))).toEqual([6, 9, 24, 27])
    expect(numbers(reduce("reduce_sum", "f32[2, 3, 2]", "2, 0", x, "f32[3]"))).toEqual([14, 22, 30])
    expect(numbers(reduce("reduce_max", "f32[2, 3, 2]", "0, 1, 2", x, "f32[]"))).toEqual([11])
    expect(numbers(reduce("reduce_prod", "f32[2, 3, 2]", "1", x, "f32[2, 2]"))).toEqual([0, 15, 480, 693])
    expect(numbers(reduce("reduce_min", "f32[2, 3, 2]", "", x, "f32[2, 3, 2]"))).toEqual(count(12))
  })

  it("gives the neutral element over nothing", () => {
    const over = (op: string, dtype: "f32" | "i32" | "u32" | "bool") =>
      numbers(reduce(op, `${dtype}[2, 0]`, "1", HostArray.zeros(dtype, [2, 0]), `${dtype}[2]`))[0]
    expect(over("reduce_sum", "f32")).toBe(0)
    expect(over("reduce_prod", "i32")).toBe(1)
    expect([over("reduce_max", "f32"), over("reduce_max", "i32")]).toEqual([-Infinity, -2147483648])
    expect([over("reduce_max", "u32"), over("reduce_max", "bool")]).toEqual([0, 0])
    expect([over("reduce_min", "f32"), over("reduce_min", "i32")]).toEqual([Infinity, 2147483647])
    expect([over("reduce_min", "u32"), over("reduce_min", "bool")]).toEqual([4294967295, 1])
  })

  it("wraps integer sums and products", () => {
    const x = i32([3], [2147483647, 2147483647, 3])
    expect(numbers(reduce("reduce_sum", "i32[3]", "0", x, "i32[]"))).toEqual([1])
    expect(numbers(reduce("reduce_prod", "i32[3]", "0", x, "i32[]"))).toEqual([3])
  })

  it("accumulates f16 without rounding in between", () => {
    const ones = HostArray.fromNumbers("f16", [4096], new Float64Array(4096).fill(1))
    expect(numbers(reduce("reduce_sum", "f16[4096]", "0", ones, "f16[]"))).toEqual([4096])
  })

  it("finds the first largest element, and 0 over nothing", () => {
    const text = (n: number) =>
      `%0: f32[2, ${n}] = input {name = "x"}\n%1: i32[2] = argmax %0 {axis = 1}\nreturn %1`
    expect(numbers(evaluate(text(3), [f32([2, 3], [1, 5, 5, -Infinity, -Infinity, -Infinity])])[0])).toEqual([
      1, 0
    ])
    expect(numbers(evaluate(text(0), [f32([2, 0], [])])[0])).toEqual([0, 0])
  })

  it("sums up along an axis", () => {
    const text = `%0: i32[2, 3] = input {name = "x"}\n%1: i32[2, 3] = cumsum %0 {axis = 0}\nreturn %1`
    expect(numbers(evaluate(text, [i32([2, 3], [1, 2, 3, 4, 5, 6])])[0])).toEqual([1, 2, 3, 5, 7, 9])
  })
})

describe("dot", () => {
  it("multiplies matrices", () => {
    const text = `%0: f32[2, 3] = input {name = "a"}\n%1: f32[3, 2] = input {name = "b"}
      %2: f32[2, 2] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}\nreturn %2`
    const result = evaluate(text, [f32([2, 3], [1, 2, 3, 4, 5, 6]), f32([3, 2], [7, 8, 9, 10, 11, 12])])
    expect(numbers(result[0])).toEqual([58, 64, 139, 154])
  })

  it("agrees with the sum written out, for axes in any order", () => {
    const from = random(3)
    const [a, b] = [integers(from, [5, 2, 3, 4], -9, 9), integers(from, [4, 7, 5, 2], -9, 9)]
    const text = `%0: i32[5, 2, 3, 4] = input {name = "a"}\n%1: i32[4, 7, 5, 2] = input {name = "b"}
      %2: i32[2, 3, 7] = dot %0, %1 {lhsBatch = [1], rhsBatch = [3], lhsContract = [3, 0], rhsContract = [0, 2]}\nreturn %2`
    const expected: Array<number> = []
    for (let h = 0; h < 2; h++) {
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 7; j++) {
          let sum = 0
          for (let x = 0; x < 5; x++) {
            for (let y = 0; y < 4; y++) {
              sum +=
                (a.data[((x * 2 + h) * 3 + i) * 4 + y] as number) *
                (b.data[((y * 7 + j) * 5 + x) * 2 + h] as number)
            }
          }
          expected.push(sum)
        }
      }
    }
    expect(numbers(evaluate(text, [a, b])[0])).toEqual(expected)
  })

  it("gives zeros for an empty contraction and nothing for empty axes", () => {
    const text = `%0: f32[M, K] = input {name = "a"}\n%1: f32[K, N] = input {name = "b"}
      %2: f32[M, N] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}\nreturn %2`
    expect(numbers(evaluate(text, [f32([2, 0], []), f32([0, 3], [])])[0])).toEqual([0, 0, 0, 0, 0, 0])
    expect(evaluate(text, [f32([0, 2], []), f32([2, 3], count(6))])[0]?.shape).toEqual([0, 3])
  })

  it("wraps integer products exactly", () => {
    const text = `%0: i32[2] = input {name = "a"}\n%1: i32[2] = input {name = "b"}
      %2: i32[] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}\nreturn %2`
    expect(numbers(evaluate(text, [i32([2], [123456789, 2]), i32([2], [987654321, 3])])[0])).toEqual([
      -67153013
    ])
  })
})

describe("movement", () => {
  it("transposes by perm: result axis i is operand axis perm[i]", () => {
    const text = `%0: i32[2, 3, 4] = input {name = "x"}\n%1: i32[4, 2, 3] = transpose %0 {perm = [2, 0, 1]}\nreturn %1`
    const result = numbers(evaluate(text, [i32([2, 3, 4], count(24))])[0])
    const expected = count(4).flatMap((c) =>
      count(2).flatMap((a) => count(3).map((b) => (a * 3 + b) * 4 + c))
    )
    expect(result).toEqual(expected)
  })

  it("slices with starts, stops and steps", () => {
    const text = `%0: i32[5, 4] = input {name = "x"}
      %1: i32[2, 2] = slice %0 {starts = [1, 1], stops = [4, 4], steps = [2, 2]}\nreturn %1`
    expect(numbers(evaluate(text, [i32([5, 4], count(20))])[0])).toEqual([5, 7, 13, 15])
  })

  it("concatenates along an inner axis, empty parts included", () => {
    const text = `%0: i32[2, A] = input {name = "a"}\n%1: i32[2, B] = input {name = "b"}\n%2: i32[2, C] = input {name = "c"}
      %3: i32[2, A + B + C] = concat %0, %1, %2 {axis = 1}\nreturn %3`
    const parts = [i32([2, 1], [1, 2]), i32([2, 0], []), i32([2, 2], [3, 4, 5, 6])]
    expect(numbers(evaluate(text, parts)[0])).toEqual([1, 3, 4, 2, 5, 6])
  })

  it("pads with a value of the dtype", () => {
    const text = `%0: f16[1, 2] = input {name = "x"}
      %1: f16[2, 4] = pad %0 {low = [1, 0], high = [0, 2], value = 0.1}\nreturn %1`
    const tenth = 0.0999755859375
    expect(numbers(evaluate(text, [HostArray.fromNumbers("f16", [1, 2], [1, 2])])[0])).toEqual([
      tenth,
      tenth,
      tenth,
      tenth,
      1,
      2,
      tenth,
      tenth
    ])
  })

  it("broadcasts and reshapes", () => {
    const text = `%0: i32[2, 1] = input {name = "x"}\n%1: i32[3, 2, 2] = broadcast %0\n%2: i32[4, 3] = reshape %1\nreturn %2`
    expect(numbers(evaluate(text, [i32([2, 1], [1, 2])])[0])).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2])
  })
})

describe("positions that are data", () => {
  it("gathers along a middle axis and clamps", () => {
    const text = `%0: i32[2, 3, 2] = input {name = "x"}\n%1: i32[4] = input {name = "at"}
      %2: i32[2, 4, 2] = gather %0, %1 {axis = 1}\nreturn %2`
    const result = numbers(evaluate(text, [i32([2, 3, 2], count(12)), i32([4], [2, 0, -5, 9])])[0])
    expect(result).toEqual([4, 5, 0, 1, 0, 1, 4, 5, 10, 11, 6, 7, 6, 7, 10, 11])
  })

  it("loads one element, clamped on every axis", () => {
    const text = `%0: f32[2, 3] = input {name = "x"}\n%1: i32[] = input {name = "i"}\n%2: i32[] = input {name = "j"}
      %3: f32[] = load %0, %1, %2\nreturn %3`
    const at = (i: number, j: number) =>
      numbers(
        evaluate(text, [f32([2, 3], count(6)), HostArray.scalar("i32", i), HostArray.scalar("i32", j)])[0]
      )[0]
    expect([at(1, 1), at(-4, 7), at(9, 0)]).toEqual([4, 2, 3])
  })

  const update = (wrap: boolean, start: string) => `%0: i32[B, C, 2] = input {name = "cache"}
    %1: i32[B, T, 2] = input {name = "new"}\n%2: i32[${start}] = input {name = "start"}
    %3: i32[B, C, 2] = update_slice %0, %1, %2 {axis = 1, wrap = ${wrap}}\nreturn %3`
  const cache = i32([2, 3, 2], count(12))
  const fresh = i32([2, 2, 2], [100, 101, 102, 103, 104, 105, 106, 107])

  it("writes a slice from one start for all, and drops what passes the end", () => {
    const result = numbers(evaluate(update(false, ""), [cache, fresh, HostArray.scalar("i32", 2)])[0])
    expect(result).toEqual([0, 1, 2, 3, 100, 101, 6, 7, 8, 9, 104, 105])
  })

  it("wraps round the end, from a start for each entry", () => {
    const result = numbers(evaluate(update(true, "B"), [cache, fresh, i32([2], [2, -1])])[0])
    expect(result).toEqual([102, 103, 2, 3, 100, 101, 106, 107, 8, 9, 104, 105])
  })

  it("drops what lies before the beginning", () => {
    const result = numbers(evaluate(update(false, ""), [cache, fresh, HostArray.scalar("i32", -1)])[0])
    expect(result).toEqual([102, 103, 2, 3, 4, 5, 106, 107, 8, 9, 10, 11])
  })

  it("leaves its operand as it was", () => {
    evaluate(update(true, ""), [cache, fresh, HostArray.scalar("i32", 0)])
    expect([...cache.data]).toEqual(count(12))
  })
})

describe("arguments", () => {
  const text = `%0: f32[T, 4] = input {name = "x"}\n%1: f32[T, 4] = neg %0\nreturn %1`

  it("must have the dtype and shape of the graph", () => {
    expect(() => evaluate(text, [f32([3, 5], count(15))])).toThrow(
      'input "x" is f32[T, 4], here f32[3, 4], not f32[3, 5]'
    )
    expect(() => evaluate(text, [array(random(1), "f16", [3, 4])])).toThrow("not f16[3, 4]")
    expect(() => evaluate(text, [])).toThrow()
  })

  it("must satisfy what shape rules assumed", () => {
    const sum = `%0: f32[A] = input {name = "x"}\n%1: f32[B] = input {name = "y"}\n%2: f32[A] = add %0, %1\nreturn %2`
    expect(() => evaluate(sum, [f32([2], [1, 2]), f32([3], [1, 2, 3])])).toThrow(
      "A = B does not hold for A = 2 and B = 3"
    )
  })
})

it("evaluates a graph far deeper than any stack", () => {
  const lines = count(50_000).map((i) => `%${i + 1}: i32[1] = add %${i}, %0`)
  const text = [`%0: i32[1] = input {name = "x"}`, ...lines, "return %50000"].join("\n")
  expect(numbers(evaluate(text, [i32([1], [1])])[0])).toEqual([50_001])
})
