import { Result } from "effect"
import type * as Graph from "../../ir/Graph.ts"
import * as Mask from "../../src/Mask.ts"
import { spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import { type Signature, trace } from "../../src/trace.ts"
import { blockSizes } from "./cases.ts"
import { blockWeights } from "./inputs.ts"

/** A decoder as Llama has it: 8 query heads of 64 share 2 key/value heads, SwiGLU of 1,376. */
const { width, heads, keyHeads, size } = blockSizes

type Weights = { readonly [Name in keyof typeof blockWeights]: Tensor.Tensor }

const names = Object.keys(blockWeights) as ReadonlyArray<keyof Weights>

/** [B, T, heads · size] to [B, heads, T, size]. */
const split = (x: Tensor.Tensor, count: number): Tensor.Tensor =>
  Tensor.transpose(Tensor.reshape(x, ["B", "T", count, size]), [0, 2, 1, 3])

type Turn = (heads: Tensor.Tensor) => Tensor.Tensor

const attention = (x: Tensor.Tensor, w: Weights, turn: Turn): Tensor.Tensor => {
  const q = turn(split(Tensor.matmul(x, w.q), heads))
  const k = turn(split(Tensor.matmul(x, w.k), keyHeads))
  const v = split(Tensor.matmul(x, w.v), keyHeads)
  const out = Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, heads / keyHeads))).pipe(
    Tensor.mul(1 / Math.sqrt(size)),
    Mask.apply(Mask.causal),
    Tensor.softmax(-1),
    Tensor.matmul(Tensor.repeatHeads(v, heads / keyHeads))
  )
  const together = Tensor.reshape(Tensor.transpose(out, [0, 2, 1, 3]), ["B", "T", heads * size])
  return Tensor.matmul(together, w.o)
}

const norm = (x: Tensor.Tensor, scale: Tensor.Tensor): Tensor.Tensor =>
  Tensor.mul(Tensor.rmsNorm(x, { epsilon: 1e-6 }), scale)

/** One block: norm, attention, norm, gated perceptron, two residuals. x is [B, T, 512]. */
export const layer = (
  x: Tensor.Tensor,
  w: Weights,
  turn: Turn = (x) => Tensor.rope(x) as Tensor.Tensor
): Tensor.Tensor => {
  const attended = Tensor.add(x, attention(norm(x, w.attend), w, turn))
  const y = norm(attended, w.feed)
  const gated = Tensor.mul(Tensor.silu(Tensor.matmul(y, w.gate)), Tensor.matmul(y, w.up))
  return Tensor.add(attended, Tensor.matmul(gated, w.down))
}

/** The graph of a decoder of so many layers, through the public API: 32 are about 2,000 nodes. */
export const transformer = (layers: number): Graph.Graph => {
  const signature: Signature = Object.fromEntries([
    ["x", spec("f32", ["B", "T", width])],
    ...Array.from({ length: layers }, (_, i) =>
      names.map((name) => [`${name}${i}`, spec("f32", blockWeights[name])] as const)
    ).flat()
  ])
  const model = (inputs: { readonly [name: string]: Tensor.Tensor }): Tensor.Tensor => {
    let x = inputs["x"] as Tensor.Tensor
    for (let i = 0; i < layers; i++) {
      x = layer(x, Object.fromEntries(names.map((n) => [n, inputs[`${n}${i}`]])) as unknown as Weights)
    }
    return x
  }
  return Result.getOrThrow(trace(model as Parameters<typeof trace>[0], signature)).graph
}
