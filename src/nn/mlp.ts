import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import * as Layer from "./Layer.ts"
import { type LinearParams, linear } from "./linear.ts"

/** Names of activations, as config files write them. */
export const activations = {
  relu: (x: Tensor.Tensor) => Tensor.relu(x),
  silu: (x: Tensor.Tensor) => Tensor.silu(x),
  gelu: (x: Tensor.Tensor) => Tensor.gelu(x),
  geluTanh: (x: Tensor.Tensor) => Tensor.gelu(x, { approximate: "tanh" })
} as const satisfies { readonly [name: string]: (x: Tensor.Tensor) => Tensor.Tensor }

export type Activation = keyof typeof activations

/** Shapes: F features, H hidden features. */
export interface MlpConfig {
  readonly features: number
  readonly hidden: number
  readonly activation?: Activation | undefined
  readonly bias?: boolean | undefined
  readonly dtype?: FloatDType | undefined
}

export type MlpParams = {
  readonly up: LinearParams
  readonly down: LinearParams
}

/** `down(activation(up(x)))`; gelu and biases unless told otherwise. */
export const mlp = ({
  features,
  hidden,
  activation = "gelu",
  bias,
  dtype
}: MlpConfig): Layer.Layer<MlpParams, Tensor.Tensor, Tensor.Tensor> => {
  const up = linear({ in: features, out: hidden, bias, dtype })
  const down = linear({ in: hidden, out: features, bias, dtype })
  const params: MlpParams = { up: up.params, down: down.params }
  return Layer.make(params, (p, x: Tensor.Tensor) =>
    down.apply(p.down, activations[activation](up.apply(p.up, x)))
  )
}

export type GatedMlpParams = MlpParams & {
  readonly gate: LinearParams
}

/** `down(activation(gate(x)) * up(x))` (Shazeer 2020, arXiv 2002.05202); silu and no biases unless told otherwise. */
export const gatedMlp = ({
  features,
  hidden,
  activation = "silu",
  bias = false,
  dtype
}: MlpConfig): Layer.Layer<GatedMlpParams, Tensor.Tensor, Tensor.Tensor> => {
  const [gate, up] = [0, 1].map(() => linear({ in: features, out: hidden, bias, dtype })) as [Linear, Linear]
  const down = linear({ in: hidden, out: features, bias, dtype })
  const params: GatedMlpParams = { gate: gate.params, up: up.params, down: down.params }
  return Layer.make(params, (p, x: Tensor.Tensor) => {
    const open = activations[activation](gate.apply(p.gate, x))
    return down.apply(p.down, Tensor.mul(open, up.apply(p.up, x)) as Tensor.Tensor)
  })
}

type Linear = ReturnType<typeof linear>
