import { Result } from "effect"
import { describe, it } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as Shape from "../../ir/Shape.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as arrays from "../support/arrays.ts"
import { graphOf } from "../support/evaluate.ts"
import { randomGraph } from "../support/randomGraph.ts"
import { limitsOf, runProgram } from "../support/runProgram.ts"
import { expectOutputs } from "../support/tolerance.ts"

const pipeline = Result.getOrThrow(
  Pipeline.parse("fuse-elementwise,analyse-mask,choose-schedule,plan-memory")
)

/** Runs a graph through the passes and the software GPU, and compares with the float64 oracle. */
const agrees = async (
  graph: Graph.Graph,
  kind: "cpu" | "gpu",
  calls: ReadonlyArray<{ readonly [symbol: string]: number }>,
  seed: number
): Promise<void> => {
  const limits = await limitsOf(kind)
  const { graph: kernels, schedules, memory } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  if (memory === undefined) throw new Error("memory was not planned")
  const program = lower({ graph: kernels, schedules, memory }, limits)
  for (const sizes of calls) {
    const from = arrays.random(seed)
    const inputs = graph.inputs.map((i) =>
      arrays.array(from, i.type.dtype, Shape.evaluate(i.type.shape, sizes), "uniform")
    )
    const expected = Reference.evaluate(graph, inputs, sizes, { precision: "f64" })
    expectOutputs(graph, sizes, await runProgram(program, inputs, sizes), expected)
  }
}

const attention = (mask: string): Graph.Graph => {
  const index = ["b", "h", "i", "j"].map((n) => `%${n}: i32[] = input {name = "${n}"}`).join("\n")
  const regions = `
    score = {
      %l: f32[] = input {name = "logit"}
      ${index}
      %n: i32[B] = input {name = "lengths"}
      %s: f32[] = constant {values = [0.5]}
      %x: f32[] = mul %l, %s
      return %x
    },
    mask = {
      ${index}
      %n: i32[B] = input {name = "lengths"}
      ${mask}
      return %m
    },
    fill = -inf`
  return graphOf(`
    %q: f32[B, T, 4, 8] = input {name = "q"}
    %k: f16[B, S, 2, 8] = input {name = "k"}
    %v: f16[B, S, 2, 8] = input {name = "v"}
    %n: i32[B] = input {name = "lengths"}
    %g: f32[B, T, 32] = input {name = "gate"}
    %qt: f32[B, 4, T, 8] = transpose %q {perm = [0, 2, 1, 3]}
    %kc: f32[B, S, 2, 8] = cast %k
    %kt: f32[B, 2, S, 8] = transpose %kc {perm = [0, 2, 1, 3]}
    %vc: f32[B, S, 2, 8] = cast %v
    %vt: f32[B, 2, S, 8] = transpose %vc {perm = [0, 2, 1, 3]}
    %r: f32[B, 4, T, 8] = flash_attention %qt, %kt, %vt, %n {${regions}, output = "result"}
    %e: f32[B, 4, T] = flash_attention %qt, %kt, %vt, %n {${regions}, output = "lse"}
    %rt: f32[B, T, 4, 8] = transpose %r {perm = [0, 2, 1, 3]}
    %rr: f32[B, T, 32] = reshape %rt
    %o: f32[B, T, 32] = mul %rr, %g
    return "out": %o, "lse": %e`)
}

const masks = [
  ["causal", "%m: bool[] = le %j, %i"],
  [
    "causal, aligned to the end",
    "%d: i32[] = dim {value = S - T}\n%p: i32[] = add %i, %d\n%m: bool[] = le %j, %p"
  ],
  [
    "a window with a prefix",
    `%w: i32[] = constant {values = [5]}
     %d: i32[] = sub %i, %j
     %a: i32[] = abs %d
     %x: bool[] = lt %a, %w
     %y: bool[] = lt %j, %w
     %m: bool[] = or %x, %y`
  ],
  ["padding by lengths", "%l: i32[] = load %n, %b\n%m: bool[] = lt %j, %l"]
] as const

describe("attention between views, casts and a gate", () => {
  const calls = [
    { B: 2, T: 37, S: 41 },
    { B: 1, T: 1, S: 70 },
    { B: 1, T: 3, S: 1 }
  ]

  it.each(masks)("with %s", async (_, mask) => {
    await agrees(attention(mask), "cpu", calls, 5)
  })

  // Kernels for GPUs take a software device seconds to compile: one is enough here.
  it("with a window with a prefix, as on a gpu", async () => {
    await agrees(attention(masks[2][1]), "gpu", calls, 5)
  })
})

describe.each(["cpu", "gpu"] as const)(
  "random programs in few kernels and shared memory, as on a %s",
  (kind) => {
    it.each([1, 2, 3, 4, 5, 6, 7, 8])("program %i", async (seed) => {
      await agrees(
        randomGraph(seed, 14),
        kind,
        [
          { T: 5, S: 7 },
          { T: 1, S: 3 }
        ],
        seed
      )
    })
  }
)
