/** What a call needs of intermediate memory, parts that kernels leave for the next among it: bounded by what is alive at one step. */
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import * as Limits from "../../../ir/Limits.ts"
import type { MemoryPlan } from "../../../ir/MemoryPlan.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import * as Attention from "../../../src/Attention.ts"
import { decoder, gpt2, Params } from "../../../src/nn/index.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { trace } from "../../../src/trace.ts"

type Values = { readonly [name: string]: Tensor.Tensor }

/** A decoder that goes on with a cache. */
const model = (family: "llama" | "gpt2", layers: number) => {
  const sizes = { words: 100, features: 64, layers, heads: 8 }
  const made =
    family === "llama" ? decoder({ ...sizes, kvHeads: 2, hidden: 176 }) : gpt2({ ...sizes, positions: 512 })
  const numbers = Array.from({ length: layers }, (_, n) => n)
  const names = numbers.flatMap((n) => [`keys.${n}`, `values.${n}`])
  const heads = family === "llama" ? 2 : 8
  return {
    fn: (values: Values) => {
      const given = (name: string) => values[name] as Tensor.Tensor
      const caches = numbers.map((n) => ({
        key: given(`keys.${n}`),
        value: given(`values.${n}`),
        length: given("length")
      }))
      const params = Params.nest(made.params as never, values, "params.")
      const out = (made as ReturnType<typeof decoder>).apply(params, { tokens: given("tokens"), caches })
      const next = (out.caches ?? []).flatMap((c, n) => [
        [`keys.${n}`, c.key] as const,
        [`values.${n}`, c.value] as const
      ])
      return { ...Object.fromEntries(next), logits: out.logits }
    },
    signature: {
      ...Params.signature(made.params, "params."),
      tokens: spec("i32", ["B", "T"]),
      length: spec("i32", ["B"]),
      ...Object.fromEntries(names.map((name) => [name, spec("f32", ["B", heads, "C", 8])]))
    },
    donate: names
  }
}

/** Several attentions, one after the other, on what the one before gives. */
const attentions = (count: number) => ({
  fn: ({ q, k, v }: Values) => {
    const attend = Attention.scaledDotProductAttention as (...given: ReadonlyArray<unknown>) => Tensor.Tensor
    let y = q as Tensor.Tensor
    for (let n = 0; n < count; n++) y = Tensor.mul(attend(y, k, v), 0.5)
    return { y }
  },
  signature: {
    q: spec("f32", ["B", 8, "T", 32]),
    k: spec("f32", ["B", 8, "C", 32]),
    v: spec("f32", ["B", 8, "C", 32])
  },
  donate: []
})

interface Case {
  readonly fn: (values: Values) => unknown
  readonly signature: object
  readonly donate: ReadonlyArray<string>
}

/** The program of a case as it is planned, how many of its slots the plan knows, and the program where every value has memory of its own. */
const programs = ({ fn, signature, donate }: Case, limits: Limits.Limits) => {
  const { graph } = Result.getOrThrow(trace(fn as never, signature as never))
  const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))
  const plan = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits, donated: new Set(donate) }))
  const { memory, schedules } = plan
  if (memory === undefined) throw new Error("memory is planned")
  const own = { slots: [], slotOf: new Map(), inPlace: memory.inPlace }
  const program = (of: MemoryPlan): Program.Program =>
    lower({ graph: plan.graph, schedules, memory: of }, limits)
  return { planned: program(memory), known: memory.slots.length, apart: program(own) }
}

const stepsOf = (program: Program.Program, donate: ReadonlyArray<string>, sizes: Bindings) =>
  Program.steps(
    program,
    sizes,
    new Set(donate.map((name) => program.inputs.findIndex((i) => i.name === name)))
  )

/** Bytes that the slots of a call take. */
const scratch = (program: Program.Program, steps: ReadonlyArray<Program.Step>, sizes: Bindings): number =>
  [...Program.slotsOf(steps)].reduce(
    (sum, i) => sum + Size.evaluate((program.slots[i] as Program.Slot).bytes, sizes),
    0
  )

interface Life {
  readonly from: number
  to: number
  readonly bytes: number
}

/** When what lies in a slot is alive: from the first of the kernels that write it to the last that reads it. */
const livesOf = (program: Program.Program, steps: ReadonlyArray<Program.Step>, sizes: Bindings) => {
  const lives: Array<Life> = []
  const current = new Map<number, { readonly life: Life; read: boolean }>()
  for (const [at, { kernel, buffers }] of steps.entries()) {
    for (const [i, { _tag, index }] of buffers.entries()) {
      if (_tag !== "slot") continue
      const { access } = (program.kernels[kernel] as Program.Kernel).bindings[i] as Program.Binding
      const known = current.get(index)
      if (known === undefined || (access === "read_write" && known.read)) {
        const life = {
          from: at,
          to: at,
          bytes: Size.evaluate((program.slots[index] as Program.Slot).bytes, sizes)
        }
        lives.push(life)
        current.set(index, { life, read: false })
        continue
      }
      known.life.to = at
      known.read ||= access === "read"
    }
  }
  return lives
}

/** Bytes that are alive at one step at most: no memory whatever does with less. */
const bound = (steps: number, lives: ReadonlyArray<Life>): number => {
  const alive = Array.from({ length: steps }, (_, at) =>
    lives.reduce((sum, { from, to, bytes }) => (from <= at && at <= to ? sum + bytes : sum), 0)
  )
  return Math.max(0, ...alive)
}

const devices: ReadonlyArray<readonly [string, Limits.Limits]> = [
  [
    "software",
    {
      ...Limits.portable,
      kind: "cpu",
      maxStorageBuffersPerShaderStage: 12,
      twinProducts: true,
      productsInPlace: true
    }
  ],
  [
    "gpu",
    { ...Limits.portable, maxStorageBuffersPerShaderStage: 12, twinProducts: true, productsInPlace: true }
  ],
  ["eight buffers", Limits.portable]
]

const cases: ReadonlyArray<readonly [string, (layers: number) => Case]> = [
  ["Llama", (layers) => model("llama", layers)],
  ["GPT-2", (layers) => model("gpt2", layers)],
  ["attention alone", attentions]
]

const lengths = [
  [1, 64],
  [1, 4096],
  [4, 4096],
  [512, 512]
] as const

describe.each(devices)("%s", (_, limits) => {
  test.each(cases)(
    "%s: with the parts it is a third more at most than what is alive at one step",
    (_name, of) => {
      const each = of(3)
      const { donate } = each
      const { planned, apart } = programs(each, limits)
      for (const [T, C] of lengths) {
        const sizes = { B: 1, T, C }
        const steps = stepsOf(apart, donate, sizes)
        const least = bound(steps.length, livesOf(apart, steps, sizes))
        const peak = scratch(planned, stepsOf(planned, donate, sizes), sizes)
        expect(peak).toBeLessThanOrEqual((4 / 3) * least)
      }
    }
  )

  test.each(cases)("%s: more layers take no more, and one place serves the parts of all", (_name, of) => {
    const [few, many] = [3, 6].map((layers) => {
      const each = of(layers)
      const { planned, known } = programs(each, limits)
      return lengths.map(([T, C]) => {
        const sizes = { B: 1, T, C }
        const steps = stepsOf(planned, each.donate, sizes)
        const parts = [...Program.slotsOf(steps)].filter((index) => index >= known)
        return { T, peak: scratch(planned, steps, sizes), parts: parts.length }
      })
    })
    expect(many).toEqual(few)
    for (const { T, parts } of many ?? []) {
      expect(parts).toBeLessThanOrEqual(1)
      if (T === 1) expect(parts).toBe(1)
    }
  })
})
