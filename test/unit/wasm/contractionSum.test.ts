import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import { limits } from "../../../backends/wasm/limits.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import type { MemoryPlan } from "../../../ir/MemoryPlan.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { contractionSums } from "../../support/contractionSums.ts"
import { graphOf } from "../../support/evaluate.ts"
import { type Compiled, compiled } from "../../support/onWasm.ts"
import { expectOutputs } from "../../support/tolerance.ts"
import { backwards, byHand, uneven, whole } from "../../support/wasmByHand.ts"

const pipeline = Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule,plan-memory"))

/** As it is compiled: the kernels, and what they are the value of. */
const planOf = (text: string) => {
  const { memory, ...plan } = Result.getOrThrow(Pipeline.run(pipeline, graphOf(text), { limits }))
  return { ...plan, memory: memory as MemoryPlan }
}

const programs: { readonly [name: string]: string } = {
  ...contractionSums,
  // Both sides lie across, and of the columns there are several parts.
  "transposed operands": `graph {
%x: bf16[3, 5, T] = input {name = "x"}
%y: bf16[3, 5, S] = input {name = "y"}
%products: bf16[3, T, S] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [1], rhsContract = [1]}
%wide: f32[3, T, S] = cast %products
%bounded: f32[3, T, S] = tanh %wide
%sum: f32[T, S] = reduce_sum %bounded {axes = [0]}
return "sum": %sum
}`,
  "added up as doubles": `graph {
%x: f32[3, T, 4] = input {name = "x"}
%y: f32[3, S, 4] = input {name = "y"}
%products: f32[3, T, S] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
%wide: f64[3, T, S] = cast %products
%sum: f64[T, S] = reduce_sum %wide {axes = [0]}
return "sum": %sum
}`,
  "of sizes that are known, in another order": `graph {
%x: f32[7, 2, 9, 3] = input {name = "x"}
%y: f32[7, 2, 11, 3] = input {name = "y"}
%products: f32[7, 2, 9, 11] = dot %x, %y {lhsBatch = [0, 1], rhsBatch = [0, 1], lhsContract = [3], rhsContract = [3]}
%positive: f32[7, 2, 9, 11] = abs %products
%turned: f32[2, 11, 9, 7] = transpose %positive {perm = [1, 3, 2, 0]}
%sum: f32[11, 9, 7] = reduce_sum %turned {axes = [0]}
return "sum": %sum
}`,
  // Vectors of several sums along the depth, of one, and what is left; columns of two items.
  "of two rows": `graph {
%x: f32[3, 2, 39] = input {name = "x"}
%y: f32[3, 67, 39] = input {name = "y"}
%products: f32[3, 2, 67] = dot %x, %y {lhsBatch = [0], rhsBatch = [0], lhsContract = [2], rhsContract = [2]}
%positive: f32[3, 2, 67] = abs %products
%sum: f32[2, 67] = reduce_sum %positive {axes = [0]}
return "sum": %sum
}`
}

/** What there is of heads and batch comes to nothing, tiles are full and not, parts of columns are empty and not. */
const lengths = [
  [2, 5, 9],
  [1, 8, 4],
  [1, 1, 1],
  [2, 3, 0],
  [0, 3, 2],
  [1, 0, 5],
  [1, 66, 83],
  [3, 6, 8]
].map(([B, T, S]) => ({ B, T, S }) as { B: number; T: number; S: number })

const doubled = (text: string): string => text.replaceAll(/\b(f32|f16|bf16)\b/g, "f64")

/** Each in doubles, too. */
const all = Object.entries(programs).flatMap(([name, text]) =>
  text.includes("f32")
    ? [[name, text] as const, [`${name}, in f64`, doubled(text)] as const]
    : [[name, text] as const]
)

describe.each(all)("%s", (_, text) => {
  const plan = planOf(text)
  const original = graphOf(text)
  const inputsAt = (sizes: Bindings, seed: number): ReadonlyArray<HostArray> => {
    const from = arrays.random(seed)
    return original.inputs.map((i) => arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes)))
  }

  test("is one product, and what it reads is packed at most, where rows are few not even that", () => {
    const { steps, kernels } = byHand(plan).program
    const names = steps.map(({ kernel }) => kernels[kernel]?.name)
    const [lies, packed] = [["matmul_sum_lying"], ["pack", "pack", "matmul_sum"]]
    const isKnown = !/, T/.test(text)
    const always = /: f64\[.*= dot/.test(text) || /, 2, 67\] = dot/.test(text)
    expect(names).toEqual(always ? lies : isKnown ? packed : [...lies, ...packed])
  })

  test("gives what the reference does, and without vectors the same bits", async () => {
    const [relaxed, vectors, words] = (await Promise.all(
      [{}, { relaxed: false }, { simd: false }].map((o) => compiled(plan.graph, { ...o, threads: 1 }))
    )) as [Compiled, Compiled, Compiled]
    for (const [n, sizes] of lengths.entries()) {
      const given = inputsAt(sizes, n)
      const expected = Reference.evaluate(original, given, sizes, { precision: "f64" })
      const strict = await vectors.run(given, sizes)
      expectOutputs(original, sizes, await relaxed.run(given, sizes), expected, { exponent: 8 })
      expectOutputs(original, sizes, strict, expected, { exponent: 8 })
      expect(await words.run(given, sizes)).toEqual(strict)
    }
  })

  test("gives the same bits however items are divided", async () => {
    const { run } = byHand(plan)
    for (const [n, sizes] of lengths.entries()) {
      const given = inputsAt(sizes, n)
      const once = await run(given, sizes, whole)
      expect(await run(given, sizes, backwards)).toEqual(once)
      expect(await run(given, sizes, uneven)).toEqual(once)
    }
  })
})

test("sums of rows or columns, and scores that somebody else reads, are kept", () => {
  const text = programs["transposed operands"] as string
  const kernelsOf = (changed: string): ReadonlyArray<string | undefined> => {
    const { steps, kernels } = byHand(planOf(changed)).program
    return steps.map(({ kernel }) => kernels[kernel]?.name)
  }
  const rows = text.replace(
    "f32[T, S] = reduce_sum %bounded {axes = [0]}",
    "f32[3, S] = reduce_sum %bounded {axes = [1]}"
  )
  expect(kernelsOf(rows)).toContain("reduce_sum")
  expect(kernelsOf(text.replace(`"sum": %sum`, `"sum": %sum, "all": %bounded`))).toContain("reduce_sum")
  expect(kernelsOf(text)).not.toContain("reduce_sum")
})
