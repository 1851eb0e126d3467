import type { FloatDType } from "../../ir/DType.ts"
import * as Tensor from "../Tensor.ts"
import { type EmbeddingParams, embedding } from "./embedding.ts"
import type * as Initialiser from "./Initialiser.ts"
import * as Layer from "./Layer.ts"

/**
 * Sinusoidal positions, f32 [T, F] (Vaswani et al. 2017, 3.5): angles position · base^(-i/(F/2 - ends)). The paper interleaves sines and
 * cosines; `halves` puts all sines first, as Whisper does. `ends` is 1 where the last frequency is 1/base itself, as there.
 */
export const sinusoidal = (
  length: number | string,
  features: number,
  {
    halves = false,
    base = 10000,
    ends = halves ? 1 : 0
  }: { readonly halves?: boolean; readonly base?: number; readonly ends?: 0 | 1 } = {}
): Tensor.Tensor => {
  const count = features / 2
  const frequencies = Tensor.fromValues(
    Array.from({ length: count }, (_, i) => base ** (-i / (count - ends)))
  )
  const positions = Tensor.reshape(Tensor.cast(Tensor.arange(length), "f32"), [length, 1])
  const angles = Tensor.mul(positions, frequencies) as Tensor.Tensor
  const [sin, cos] = [Tensor.sin(angles), Tensor.cos(angles)] as [Tensor.Tensor, Tensor.Tensor]
  return halves
    ? (Tensor.concat([sin, cos], -1) as Tensor.Tensor)
    : (Tensor.reshape(Tensor.stack([sin, cos], -1), [length, features]) as Tensor.Tensor)
}

export interface LearnedPositionsConfig {
  /** Positions there are. */
  readonly positions: number
  readonly features: number
  readonly dtype?: FloatDType | undefined
  readonly init?: Initialiser.Initialiser | undefined
}

export interface PositionInputs {
  /** [..., T, F] */
  readonly x: Tensor.Tensor
  /** The position of the first row, i32, one for all or [B]: what a cache holds; 0 unless told otherwise. */
  readonly offset?: Tensor.Tensor | undefined
}

/** Rows of a learned table added to x, one for each position (Gehring et al. 2017, arXiv 1705.03122). */
export const learnedPositions = ({
  positions,
  ...config
}: LearnedPositionsConfig): Layer.Layer<EmbeddingParams, PositionInputs, Tensor.Tensor> => {
  const table = embedding({ words: positions, ...config })
  return Layer.make(table.params, (p, { x, offset }: PositionInputs) => {
    const count = Tensor.arange(x.shape.at(-2) as number)
    const at = offset === undefined ? count : Tensor.add(Tensor.expandDims(offset, -1), count)
    return Tensor.add(x, table.apply(p, at as Tensor.Tensor)) as Tensor.Tensor
  })
}
