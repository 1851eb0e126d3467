import * as Tensor from "../Tensor.ts"

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
