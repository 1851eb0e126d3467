import * as Score from "../../Score.ts"
import * as Tensor from "../../Tensor.ts"

/** Positions as `mlx.nn` (MLX 0.32) writes them in: they have no parameters, so that they are functions. */

/** Heads [..., T, D] turned by their positions; `traditional` pairs neighbours. */
export const RoPE =
  (
    dims: number,
    {
      traditional = false,
      base = 10000,
      scale = 1
    }: { readonly traditional?: boolean; readonly base?: number; readonly scale?: number } = {}
  ): ((x: Tensor.Tensor, offset?: number | Tensor.Tensor) => Tensor.Tensor) =>
  (x, offset = 0) =>
    Tensor.rope(x, { dims, interleaved: traditional, base, scale, offset }) as Tensor.Tensor

/** Scores [B, N, T, S] less `slope · |i + offset - j|`, plus a mask. */
export const ALiBi = (
  scores: Tensor.Tensor,
  { offset = 0, mask }: { readonly offset?: number; readonly mask?: Tensor.Tensor } = {}
): Tensor.Tensor => {
  const [, heads] = scores.shape as readonly [number, number]
  const slopes = Tensor.reshape(Tensor.fromValues(Score.alibiSlopes(heads)), [heads, 1, 1])
  const [query, key] = [Tensor.positions(scores, -2), Tensor.positions(scores, -1)]
  const apart = Tensor.abs(Tensor.sub(key, Tensor.expandDims(Tensor.add(query, offset), -1)))
  const bias = Tensor.mul(slopes, Tensor.neg(Tensor.cast(apart, "f32")))
  const less = Tensor.add(scores, Tensor.cast(bias, scores.dtype))
  return (mask === undefined ? less : Tensor.add(less, Tensor.cast(mask, scores.dtype))) as Tensor.Tensor
}

/** Positions [...] as sines and cosines, [..., F]; frequencies fall from `maxFreq` to `minFreq`. */
export const SinusoidalPositionalEncoding =
  (
    dims: number,
    {
      minFreq = 0.0001,
      maxFreq = 1,
      scale = Math.sqrt(2 / dims),
      cosFirst = false,
      fullTurns = false
    }: {
      readonly minFreq?: number
      readonly maxFreq?: number
      readonly scale?: number
      readonly cosFirst?: boolean
      readonly fullTurns?: boolean
    } = {}
  ): ((x: Tensor.Tensor) => Tensor.Tensor) =>
  (x) => {
    const count = dims / 2
    const turns = fullTurns ? 2 * Math.PI : 1
    const frequencies = Array.from(
      { length: count },
      (_, i) => turns * minFreq * (maxFreq / minFreq) ** (1 - i / (count - 1))
    )
    const dtype = x.dtype === "f64" ? "f64" : "f32"
    const at = Tensor.expandDims(Tensor.cast(x, dtype), -1)
    const angles = Tensor.mul(at, Tensor.fromValues(frequencies, dtype)) as Tensor.Tensor
    const [sin, cos] = [Tensor.sin(angles), Tensor.cos(angles)] as [Tensor.Tensor, Tensor.Tensor]
    const both = Tensor.concat(cosFirst ? [cos, sin] : [sin, cos], -1)
    return Tensor.mul(both, scale) as Tensor.Tensor
  }
