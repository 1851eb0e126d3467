import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { runGraph } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"

/** Runs a text on the device and on the reference over random inputs. */
const agree = async (
  text: string,
  sizes: { readonly [symbol: string]: number } = {},
  options: {
    readonly kind?: "gpu" | "cpu"
    readonly data?: arrays.Kind
    readonly inputs?: ReadonlyArray<HostArray>
  } = {}
): Promise<void> => {
  const graph = graphOf(text)
  const from = arrays.random(7)
  const inputs =
    options.inputs ??
    graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), options.data)
    )
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  const actual = await runGraph(graph, inputs, sizes, options.kind)
  expectOutputs(graph, sizes, actual, expected, { exponent: 8 })
}

const x = (type: string, name = "x"): string => `%${name}: ${type} = input {name = "${name}"}`

describe("elementwise", () => {
  const floats = ["f32", "f16", "bf16"] as const
  const unary = [
    "neg",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "exp",
    "exp2",
    "sin",
    "cos",
    "tanh",
    "erf",
    "sigmoid"
  ]
  test.each(floats)("every op of one operand over %s", async (d) => {
    const lines = unary.map((op, i) => `%${i}: ${d}[T, 3] = ${op} %x`)
    const positive = `%p: ${d}[T, 3] = abs %x\n%l: ${d}[T, 3] = log %p\n%q: ${d}[T, 3] = sqrt %p\n%r: ${d}[T, 3] = rsqrt %p`
    const outputs = [...unary.map((op, i) => `"${op}": %${i}`), `"log": %l`, `"sqrt": %q`, `"rsqrt": %r`]
    await agree(
      `graph {\n${x(`${d}[T, 3]`)}\n${lines.join("\n")}\n${positive}\nreturn ${outputs.join(", ")}\n}`,
      { T: 7 }
    )
  })
})

test("a matrix product", async () => {
  const text = `${x("f32[M, K]")}
${x("f32[K, N]", "y")}
%2: f32[M, N] = dot %x, %y {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
return %2`
  for (const kind of ["cpu", "gpu"] as const) await agree(text, { M: 5, K: 7, N: 9 }, { kind })
  expect(true).toBe(true)
})
