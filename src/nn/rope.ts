import { AttrError } from "../errors.ts"
import * as Tensor from "../Tensor.ts"

/** How positions longer than those of the training are turned. `factor` is how much longer. */
export type RopeScaling =
  /** Positions divided by the factor (Chen et al. 2023, arXiv 2306.15595). */
  | { readonly kind: "linear"; readonly factor: number }
  /** A larger base: fast pairs keep their angle, slow ones turn slower. */
  | { readonly kind: "ntk"; readonly factor: number }
  /** Between both, by how often a pair turns within the trained length (Peng et al. 2023, arXiv 2309.00071). */
  | {
      readonly kind: "yarn"
      readonly factor: number
      readonly trained: number
      readonly betaFast?: number | undefined
      readonly betaSlow?: number | undefined
      readonly magnitude?: number | undefined
    }
  /** Llama 3.1: slow pairs divided by the factor, fast ones kept, a line between. */
  | {
      readonly kind: "llama3"
      readonly factor: number
      readonly trained: number
      readonly low: number
      readonly high: number
    }

/** Shapes: R rotated elements of a head. */
export interface RopeConfig {
  /** R; the whole head unless told otherwise. */
  readonly dims?: number | undefined
  readonly base?: number | undefined
  readonly interleaved?: boolean | undefined
  readonly scaling?: RopeScaling | undefined
}

const plain = (rotated: number, base: number): ReadonlyArray<number> =>
  Array.from({ length: rotated / 2 }, (_, i) => base ** ((-2 * i) / rotated))

/** The angle of each pair at position 1. */
export const frequencies = (
  rotated: number,
  { base = 10000, scaling }: RopeConfig
): ReadonlyArray<number> => {
  const own = plain(rotated, base)
  switch (scaling?.kind) {
    case undefined:
      return own
    case "linear":
      return own.map((f) => f / scaling.factor)
    case "ntk":
      return plain(rotated, base * scaling.factor ** (rotated / (rotated - 2)))
    case "yarn": {
      // The pair that turns so often within the trained length.
      const pair = (turns: number): number =>
        (rotated * Math.log(scaling.trained / (turns * 2 * Math.PI))) / (2 * Math.log(base))
      const low = Math.max(Math.floor(pair(scaling.betaFast ?? 32)), 0)
      const high = Math.min(Math.ceil(pair(scaling.betaSlow ?? 1)), rotated - 1)
      return own.map((f, i) => {
        const slow = Math.min(Math.max((i - low) / Math.max(high - low, 0.001), 0), 1)
        return (f / scaling.factor) * slow + f * (1 - slow)
      })
    }
    case "llama3":
      return own.map((f) => {
        const turns = (scaling.trained * f) / (2 * Math.PI)
        const kept = Math.min(Math.max((turns - scaling.low) / (scaling.high - scaling.low), 0), 1)
        return (1 - kept) * (f / scaling.factor) + kept * f
      })
    default: {
      const { kind } = scaling as { readonly kind: string }
      throw new AttrError({
        op: "rope",
        message: `scaling is of kind ${JSON.stringify(kind)}`,
        hint: "use linear, ntk, yarn or llama3"
      })
    }
  }
}

/** What cosine and sine are multiplied by: 1 but for YaRN. */
const magnitudeOf = (scaling: RopeScaling | undefined): number =>
  scaling?.kind !== "yarn"
    ? 1
    : (scaling.magnitude ?? (scaling.factor <= 1 ? 1 : 0.1 * Math.log(scaling.factor) + 1))

/** Where the rows of a call stand. */
export type Positions = Pick<Tensor.RopeOptions, "offset" | "positions">

/** Rotary position embedding of heads [..., T, D] (Su et al. 2021, arXiv 2104.09864). */
export const rope = (x: Tensor.Tensor, config: RopeConfig, at: Positions = {}): Tensor.Tensor => {
  const rotated = config.dims ?? (x.shape.at(-1) as number)
  return Tensor.rope(x, {
    dims: rotated,
    interleaved: config.interleaved,
    frequencies: frequencies(rotated, config),
    magnitude: magnitudeOf(config.scaling),
    ...at
  }) as Tensor.Tensor
}
