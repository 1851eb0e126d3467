/** Programs whose intermediate values share one memory, where that is not simply so. */
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Reference from "../../../backends/reference/Reference.ts"
import * as Intermediates from "../../../backends/webgpu/Intermediates.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import type * as Limits from "../../../ir/Limits.ts"
import * as MemoryPlan from "../../../ir/MemoryPlan.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as arrays from "../../support/arrays.ts"
import { graphOf } from "../../support/evaluate.ts"
import { limitsOf, runProgram } from "../../support/runProgram.ts"
import { expectOutputs } from "../../support/tolerance.ts"

const pipeline = Result.getOrThrow(
  Pipeline.parse("fuse-elementwise,analyse-mask,choose-schedule,plan-memory")
)

/** Runs the text at some lengths and gives the bytes of the buffers that intermediate values lie in. */
const buffersOf = async (text: string, sizes: Bindings, limits: Limits.Limits, passes = pipeline) => {
  const graph = graphOf(text)
  const plan = Result.getOrThrow(Pipeline.run(passes, graph, { limits }))
  const program = lower({ ...plan, memory: plan.memory ?? MemoryPlan.none }, limits)
  const from = arrays.random(7)
  const inputs = graph.inputs.map((i) =>
    arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
  )
  const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
  expectOutputs(graph, sizes, await runProgram(program, inputs, sizes, new Set(), limits), expected)
  return Intermediates.of(program, Program.steps(program, sizes), sizes, limits).buffers
}

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}"

/** A product that is added to its own operand, between two rows of softmax. */
const residual = `
  %x: f32[T, 64] = input {name = "x"}
  %w: f32[64, 64] = input {name = "w"}
  %y: f32[T, 64] = softmax %x {axis = 1}
  %u: f32[T, 64] = dot %y, %w ${dot}
  %v: f32[T, 64] = add %u, %y
  %o: f32[T, 64] = softmax %v {axis = 1}
  return %o`

/** Two operands of one kernel, where nothing is fused, are one value. */
const squared = `
  %x: f32[T, 64] = input {name = "x"}
  %y: f32[T, 64] = softmax %x {axis = 1}
  %v: f32[T, 64] = mul %y, %y
  %o: f32[T, 64] = softmax %v {axis = 1}
  return %o`

/** Attention over as many keys as a sum says, between two kernels. */
const counted = `
  %q: f32[1, 1, T, 8] = input {name = "q"}
  %k: f32[1, 1, S, 8] = input {name = "k"}
  %z: i32[1, S] = input {name = "seen"}
  %n: i32[1] = reduce_sum %z {axes = [1]}
  %a: f32[1, 1, T, 8] = softmax %q {axis = 3}
  %r: f32[1, 1, T, 8] = flash_attention %a, %k, %k, %n {
    score = {
      %l: f32[] = input {name = "logit"}
      %b: i32[] = input {name = "b"}
      %h: i32[] = input {name = "h"}
      %i: i32[] = input {name = "i"}
      %j: i32[] = input {name = "j"}
      %n: i32[1] = input {name = "n"}
      return %l
    },
    mask = {
      %b: i32[] = input {name = "b"}
      %h: i32[] = input {name = "h"}
      %i: i32[] = input {name = "i"}
      %j: i32[] = input {name = "j"}
      %n: i32[1] = input {name = "n"}
      %0: i32[] = load %n, %b
      %1: i32[] = abs %0
      %m: bool[] = lt %j, %1
      return %m
    },
    fill = -inf, output = "result"
  }
  %o: f32[1, 1, T, 8] = softmax %r {axis = 3}
  return %o`

describe.each(["cpu", "gpu"] as const)("as on a %s", (kind) => {
  test("what a kernel reads in two ways while it writes lies apart", async () => {
    const limits = await limitsOf(kind)
    for (const T of [1, 3, 21]) {
      const bytes = Math.ceil((T * 256) / 256) * 256
      const buffers = await buffersOf(residual, { T }, limits)
      expect(buffers.reduce((sum, n) => sum + n, 0)).toBe(2 * bytes)
      expect(buffers.length).toBeLessThanOrEqual(2)
    }
  })

  test("what is two operands of a kernel lies apart", async () => {
    const limits = await limitsOf(kind)
    const unfused = Result.getOrThrow(Pipeline.parse("canonicalize"))
    for (const T of [1, 21])
      expect(await buffersOf(squared, { T }, limits, unfused)).toEqual([T * 256, T * 256])
  })

  test("what decides how far a kernel goes lies apart", async () => {
    const limits = await limitsOf(kind)
    for (const S of [1, 9]) expect((await buffersOf(counted, { T: 19, S }, limits)).slice(1)).toEqual([16])
  })

  test("an arena larger than a buffer is several", async () => {
    const limits = { ...(await limitsOf(kind)), maxStorageBufferBindingSize: 66 * 1024 }
    const chain = `
      %x: f32[T, 64] = input {name = "x"}
      %w: f32[64, 64] = input {name = "w"}
      %y: f32[T, 64] = softmax %x {axis = 1}
      %u: f32[T, 64] = dot %y, %w ${dot}
      %v: f32[T, 64] = softmax %u {axis = 1}
      return %v`
    expect(await buffersOf(chain, { T: 256 }, limits)).toEqual([66 * 1024, 64 * 1024])
    expect(await buffersOf(chain, { T: 20 }, limits)).toEqual([2 * 20 * 256])
  })
})
