import { describe, test } from "vitest"
import { agree } from "../../support/agree.ts"
import { fused, input } from "../../support/irText.ts"

describe("around a matrix product", () => {
  const operands = [
    ["x", "f16[T, 6]"],
    ["w", "f16[5, 6]"],
    ["bias", "f32[5]"]
  ] as const
  const dot = [
    "%a: f32[T, 6] = cast %x",
    "%b: f32[5, 6] = cast %w",
    "%bt: f32[6, 5] = transpose %b {perm = [1, 0]}",
    "%d: f32[T, 5] = dot %a, %bt {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"
  ]
  test("casts and views on the way in, bias, activation and rounding on the way out", () =>
    agree(
      fused(
        operands,
        "f16[T, 5]",
        [
          ...dot,
          "%e: f32[T, 5] = add %d, %bias",
          "%f: f32[T, 5] = sigmoid %e",
          "%g: f32[T, 5] = mul %e, %f",
          "%h: f16[T, 5] = cast %g"
        ],
        "h"
      ),
      { T: 7 }
    ))

  test("transposed and reshaped on the way out", async () => {
    await agree(
      fused(
        operands,
        "f32[5*T]",
        [...dot, "%e: f32[5, T] = transpose %d {perm = [1, 0]}", "%f: f32[5*T] = reshape %e"],
        "f"
      ),
      { T: 7 }
    )
    await agree(
      fused(
        operands,
        "bf16[5, T]",
        [...dot, "%e: f32[5, T] = transpose %d {perm = [1, 0]}", "%f: bf16[5, T] = cast %e"],
        "f"
      ),
      { T: 7 }
    )
  })

  test("results that are no rearrangement of the product take a second kernel", async () => {
    await agree(fused(operands, "f32[3, T, 5]", [...dot, "%e: f32[3, T, 5] = broadcast %d"], "e"), { T: 4 })
    await agree(
      fused(
        [...operands.slice(0, 2), ["m", "f32[2, T, 5]"]],
        "f32[2, T, 5]",
        [...dot, "%e: f32[2, T, 5] = mul %d, %m"],
        "e"
      ),
      { T: 4 }
    )
    await agree(
      fused(
        operands,
        "f32[T, 3]",
        [...dot, "%e: f32[T, 3] = slice %d {starts = [0, 1], stops = [T, 4], steps = [1, 1]}"],
        "e"
      ),
      { T: 4 }
    )
    await agree(
      fused(
        [
          ["x", "f32[4, 6]"],
          ["w", "f32[6, 4]"]
        ],
        "f32[4, 4]",
        [
          "%d: f32[4, 4] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}",
          "%e: f32[4, 4] = transpose %d {perm = [1, 0]}",
          "%f: f32[4, 4] = add %d, %e"
        ],
        "f"
      )
    )
  })
})

describe("around a row", () => {
  test("a gated sum, kept as an axis", () =>
    agree(
      fused(
        [
          ["x", "f32[T, S]"],
          ["y", "f32[S]"]
        ],
        "f32[T, 1]",
        [
          "%a: f32[T, S] = mul %x, %y",
          "%b: f32[T] = reduce_sum %a {axes = [1]}",
          "%c: f32[T, 1] = reshape %b",
          "%d: f32[T, 1] = exp %c"
        ],
        "d"
      ),
      { T: 3, S: 9 }
    ))

  test("a norm with gain, and the row it came from", () =>
    agree(
      fused(
        [
          ["x", "bf16[T, 8]"],
          ["gain", "f32[8]"]
        ],
        "bf16[T, 8]",
        [
          "%a: f32[T, 8] = cast %x",
          "%b: f32[T, 8] = rms_norm %a {axis = 1, epsilon = 0.00001}",
          "%c: f32[T, 8] = mul %b, %gain",
          "%d: f32[T, 8] = add %c, %a",
          "%e: bf16[T, 8] = cast %d"
        ],
        "e"
      ),
      { T: 5 }
    ))

  test("softmax of a masked view", () =>
    agree(
      fused(
        [
          ["x", "f32[T, 2, S]"],
          ["keep", "bool[T, S]"]
        ],
        "f32[2, T, S]",
        [
          "%a: f32[2, T, S] = transpose %x {perm = [1, 0, 2]}",
          "%n: f32[] = constant {values = [-inf]}",
          "%b: f32[2, T, S] = select %keep, %a, %n",
          "%c: f32[2, T, S] = softmax %b {axis = 2}"
        ],
        "c"
      ),
      { T: 3, S: 6 }
    ))

  test("the distance of a row to its own maximum takes a second kernel", () =>
    agree(
      fused(
        [["x", "f32[T, S]"]],
        "f32[T, S]",
        [
          "%a: f32[T] = reduce_max %x {axes = [1]}",
          "%b: f32[T, 1] = reshape %a",
          "%c: f32[T, S] = sub %x, %b"
        ],
        "c"
      ),
      { T: 3, S: 6 }
    ))
})

describe("results", () => {
  test("twice, an input, a constant, a value that others read", () =>
    agree(
      `graph {
        ${input("f16[T, 3]")}
        ${input("bool[T]", "unused")}
        %0: f16[T, 3] = neg %x
        %1: f16[T, 3] = exp %0
        %2: i32[2] = constant {values = [3, 4]}
        return "a": %0, "b": %0, "c": %x, "d": %2, "e": %1, "f": %x
      }`,
      { T: 5 }
    ))
})
