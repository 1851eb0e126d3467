import { describe, expect, test } from "vitest"
import * as Intermediates from "../../../backends/webgpu/Intermediates.ts"
import type * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import type { Bindings } from "../../../ir/Dim.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Attention from "../../../src/Attention.ts"
import { decoder, gpt2, Params } from "../../../src/nn/index.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { programOf, stepsOf } from "../../support/lowered.ts"

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

/** Numbers of the slots that must be in memory at each step: somebody has bound it by then, and somebody binds it from then on. */
const aliveAt = (steps: ReadonlyArray<Program.Step>): ReadonlyArray<ReadonlyArray<number>> => {
  const bound = steps.map((s) => s.buffers.flatMap((b) => (b._tag === "slot" ? [b.index] : [])))
  return bound.map((_, at) => {
    const later = new Set(bound.slice(at).flat())
    return [...new Set(bound.slice(0, at + 1).flat())].filter((slot) => later.has(slot))
  })
}

/** Bindings begin at multiples of this on any device. */
const unit = 256

/** Bytes that are alive at one step at most: no memory whatever does with less. */
const bound = (program: Program.Program, steps: ReadonlyArray<Program.Step>, sizes: Bindings): number => {
  const bytes = program.slots.map((s) => Math.ceil(Size.evaluate(s.bytes, sizes) / unit) * unit)
  return Math.max(
    0,
    ...aliveAt(steps).map((slots) => slots.reduce((sum, i) => sum + (bytes[i] as number), 0))
  )
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
  test.each(cases)("%s: a call needs what is alive at one step, and no byte more", (_name, of) => {
    const each = of(3)
    const program = programOf(each, limits)
    for (const [T, C] of lengths) {
      const sizes = { B: 1, T, C }
      for (const donate of [each.donate, []]) {
        const steps = stepsOf(program, sizes, donate)
        const { buffers } = Intermediates.of(program, steps, sizes, limits)
        expect(buffers).toEqual([bound(program, steps, sizes)])
      }
    }
  })

  test.each(cases)("%s: more layers take no more", (_name, of) => {
    const [few, many] = [3, 6].map((layers) => {
      const each = of(layers)
      const program = programOf(each, limits)
      return lengths.map(([T, C]) => {
        const sizes = { B: 1, T, C }
        return Intermediates.of(program, stepsOf(program, sizes, each.donate), sizes, limits).buffers
      })
    })
    expect(many).toEqual(few)
  })
})
