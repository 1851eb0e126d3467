import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { type Any, against, type Lettered, sizeOf } from "./Lettered.ts"
import { type Inputs, lead } from "./operands.ts"
import type { Program } from "./Program.ts"

/** What is added to scores for a pair of positions, whatever the query and the key hold. */

/** Key position minus query position, [T, S]. */
const distance = (p: Program): Tensor.Tensor<"i32"> => {
  const rows = Tensor.expandDims(Tensor.iota(sizeOf(p, "t")), 1)
  return Tensor.sub(Tensor.iota(sizeOf(p, "s")), rows as Any) as Tensor.Tensor<"i32">
}

const addends = (p: Program, inputs: Inputs, dtype: Any["dtype"]): ReadonlyArray<Lettered> => {
  const given = (name: string, letters: string): Lettered => ({ x: inputs[name] as Any, letters })
  const looked = (bucket: Any): Lettered => ({
    x: Tensor.gather(inputs["table"] as Any, bucket as Tensor.Tensor<"i32">, 1),
    letters: "hts"
  })
  switch (p.choices.bias) {
    case "none":
      return []
    case "s + tensor":
    case "tensor + s":
      return [given("bias", "ts")]
    case "for each head":
      return [given("bias", "hts")]
    case "two":
      return [given("bias", "hts"), given("keys' bias", "bs")]
    case "learned table":
      return [looked(Tensor.add(Tensor.maximum(Tensor.minimum(distance(p), 4), -4), 4))]
    case "T5 buckets":
      return [looked(Score.t5Buckets()(distance(p)))]
    case "ALiBi": {
      const slopes = Tensor.reshape(inputs["slopes"] as Any, [sizeOf(p, "h"), 1, 1])
      return [{ x: Tensor.mul(slopes, Tensor.cast(distance(p), dtype)), letters: "hts" }]
    }
    case "Score.alibi": {
      const { M, G } = p.sizes
      const slopes = Tensor.fromValues(Score.alibiSlopes(M * G))
      const perHead = Tensor.reshape(slopes as Any, [M * G, 1, 1])
      return [{ x: Tensor.mul(perHead, Tensor.cast(distance(p), "f32")), letters: "hts" }]
    }
  }
}

/** Scores plus the bias; `change` is done to the bias first. */
export const biased = (p: Program, inputs: Inputs, scores: Any, change: (x: Any) => Any): Any => {
  const { bias } = p.choices
  if (bias === "Score.alibi" && lead(p).endsWith("h") && p.choices.scale !== "(qk + bias / s) * s")
    return Score.alibi(p.sizes.M * p.sizes.G)(scores as Tensor.Tensor<"f32">)
  return addends(p, inputs, scores.dtype).reduce((x, addend) => {
    const own = change(Tensor.cast(against(p, addend, lead(p)), x.dtype))
    return bias === "tensor + s" ? Tensor.add(own, x) : Tensor.add(x, own)
  }, scores)
}
