import { Effect } from "effect"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import { type Spec, spec } from "../../../src/spec.ts"
import type { Tensor } from "../../../src/Tensor.ts"
import type { tiny } from "./models.ts"

/** A model that computes all words of a text at once, without a cache, and what it is given. */
export interface Whole {
  readonly signature: { readonly [name: string]: Spec }
  readonly given: { readonly [name: string]: HostArray.HostArray }
  readonly logits: (inputs: { readonly [name: string]: Tensor }) => Tensor
}

export const whole = ({ model, params }: ReturnType<typeof tiny>): Whole => ({
  signature: nn.Params.signature(model.params),
  given: params,
  logits: ({ tokens, ...p }) =>
    model.apply(nn.Params.nest(model.params, p), { tokens: tokens as Tensor }).logits
})

/** Every word by computing the whole sequence again, one sequence at a time. */
export const recomputed = (
  { signature, given, logits }: Whole,
  prompt: ReadonlyArray<number>,
  count: number
) =>
  Effect.gen(function* () {
    const all = yield* compile((inputs) => logits(inputs as never), {
      ...signature,
      tokens: spec("i32", [1, "T"])
    })
    const text = [...prompt]
    for (let n = 0; n < count; n++) {
      const tokens = HostArray.fromNumbers("i32", [1, text.length], text)
      const result = yield* all({ ...given, tokens } as never)
      const last = [...HostArray.toNumbers(result)].slice(-(result.shape.at(-1) as number))
      text.push(last.indexOf(Math.max(...last)))
    }
    return text.slice(prompt.length)
  })

/** The words of each prompt. */
export const textsOf = (
  steps: ReadonlyArray<nn.Generated>,
  prompts: number
): ReadonlyArray<ReadonlyArray<number>> =>
  Array.from({ length: prompts }, (_, b) =>
    steps.flatMap((s) => (s.tokens[b] === undefined ? [] : [s.tokens[b]]))
  )

/** Parameters with larger values where they are not of norms: starting values make all words alike. */
export const loud = (
  params: { readonly [name: string]: HostArray.HostArray },
  factor: number
): { readonly [name: string]: HostArray.HostArray } => {
  for (const [name, value] of Object.entries(params))
    if (!/norm|ln_/.test(name))
      for (let n = 0; n < value.data.length; n++) value.data[n] = factor * (value.data[n] as number)
  return params
}
