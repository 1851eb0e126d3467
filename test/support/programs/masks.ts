import * as Dim from "../../../ir/Dim.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { isAdditive } from "./arguments.ts"
import { type Any, against, type Lettered, sizeOf } from "./Lettered.ts"
import { type Inputs, lead } from "./operands.ts"
import { fill, type Program } from "./Program.ts"

/** Masks: what they are made from, and how they meet the scores. */

type Bool = Tensor.Tensor<"bool">

/** Query positions [T, 1] and key positions [S]. */
const positions = (p: Program): readonly [i: Any, j: Any] => [
  Tensor.expandDims(Tensor.iota(sizeOf(p, "t")), 1),
  Tensor.iota(sizeOf(p, "s"))
]

const causal = (p: Program): Bool => {
  const [i, j] = positions(p)
  return Tensor.ge(i, j) as Bool
}

/** Masks that the library has a word for. */
const words: { readonly [source: string]: () => Mask.Keep } = {
  "Mask.causal": () => Mask.causal,
  "Mask.and": () => Mask.and(Mask.causal, Mask.slidingWindow(3)),
  "Mask.dilated": () => Mask.dilated(4, 2),
  "Mask.chunked": () => Mask.chunked(3)
}

/** What takes part, as bools, or as the 0 and 1 of the argument. */
const keeps = (p: Program, inputs: Inputs): Lettered => {
  const [T, S] = [sizeOf(p, "t"), sizeOf(p, "s")]
  const [i, j] = positions(p)
  const given = (name: string): Any => inputs[name] as Any
  const same = (own: Any, other: Any): Lettered => ({
    x: Tensor.eq(Tensor.expandDims(own, 2), Tensor.expandDims(other, 1)),
    letters: "bts"
  })
  const { source } = p.choices
  switch (source) {
    case "causal":
      return { x: causal(p), letters: "ts" }
    case "bottom-right":
      return { x: Tensor.le(j, Tensor.add(i, Tensor.dim(Dim.sub(S, T)))), letters: "ts" }
    case "window": {
      const near = Tensor.lt(Tensor.sub(i, j), 3)
      return { x: Tensor.and(causal(p), near as Bool), letters: "ts" }
    }
    case "Mask.causal":
    case "Mask.and":
    case "Mask.dilated":
    case "Mask.chunked": {
      const mask = (words[source] as () => Mask.Keep)()
      return { x: Mask.toTensor(mask, [T, S]), letters: "ts" }
    }
    case "tril":
      return { x: Tensor.ne(Tensor.tril(Tensor.ones([T, S])), 0), letters: "ts" }
    case "triu":
      return { x: Tensor.eq(Tensor.triu(Tensor.ones([T, S]), 1), 0), letters: "ts" }
    case "cumsum of ones": {
      const count = (size: Dim.Dim): Any => Tensor.cumsum(Tensor.ones([size], "i32") as Any, 0)
      return { x: Tensor.le(count(S), Tensor.expandDims(count(T), 1)), letters: "ts" }
    }
    case "segments":
      return same(given("from"), given("to"))
    case "segments by cumsum":
      return same(Tensor.cumsum(given("from"), 1), Tensor.cumsum(given("to"), 1))
    case "lengths":
      return { x: Tensor.lt(j, Tensor.expandDims(given("lengths"), 1)), letters: "bs" }
    case "offset for each batch entry": {
      const offset = Tensor.reshape(given("offset"), [sizeOf(p, "b"), 1, 1])
      return { x: Tensor.le(j, Tensor.add(i, offset)), letters: "bts" }
    }
    case "padding [B, S]":
      return { x: given("mask"), letters: "bs" }
    case "tensor [T, S]":
      return { x: given("mask"), letters: "ts" }
    case "tensor [B, T, S]":
      return { x: given("mask"), letters: "bts" }
  }
}

/** Scores under the first mask. */
export const masked = (p: Program, inputs: Inputs, scores: Any): Any => {
  const { mask, kind, source } = p.choices
  if (mask === "none") return scores
  const { dtype } = scores
  const value = fill(p)
  const word = words[source]
  if (word !== undefined && kind === "bool" && mask === "where(keep, s, fill)")
    return Mask.apply(scores as Tensor.Tensor<"f32">, word(), value)
  if (word !== undefined && kind === "bool" && mask === "where(drop, fill, s)")
    return Mask.apply(scores as Tensor.Tensor<"f32">, Mask.toDrop(word()), value)
  const { x, letters } = keeps(p, inputs)
  const fitted = (y: Any): Any => against(p, { x: y, letters }, lead(p))
  if (isAdditive(p.choices)) {
    const addend = fitted(Tensor.cast(x, dtype))
    return mask === "m + s" ? Tensor.add(addend, scores) : Tensor.add(scores, addend)
  }
  const kept = kind === "bool" ? x : x.dtype === "bool" ? Tensor.cast(x, kind === "i32" ? "i32" : dtype) : x
  const one = (): Any => fitted(Tensor.cast(kept, dtype))
  const keep = (): Bool => (kept.dtype === "bool" ? fitted(kept) : Tensor.ne(fitted(kept), 0)) as Bool
  const drop = (): Bool =>
    (kept.dtype === "bool" ? Tensor.not(fitted(kept) as Bool) : Tensor.eq(fitted(kept), 0)) as Bool
  const addend = (): Any =>
    source === "triu"
      ? against(
          p,
          { x: Tensor.triu(Tensor.full([sizeOf(p, "t"), sizeOf(p, "s")], value, dtype), 1), letters },
          lead(p)
        )
      : Tensor.where(keep(), Tensor.constant(0, dtype), value)
  switch (mask) {
    case "where(keep, s, fill)":
      return Tensor.where(keep(), scores, value)
    case "where(drop, fill, s)":
      return Tensor.where(drop(), value, scores)
    case "s + m":
      return Tensor.add(scores, addend())
    case "m + s":
      return Tensor.add(addend(), scores)
    case "s + (1 - keep) * fill":
      return Tensor.add(scores, Tensor.mul(Tensor.sub(1, one()), value))
    case "s - big * (1 - keep)":
      return Tensor.sub(scores, Tensor.mul(-value, Tensor.sub(1, one())))
    case "s + log(keep)":
      return Tensor.add(scores, Tensor.log(one()))
  }
}

/** Scores under the second mask. */
export const maskedAgain = (p: Program, inputs: Inputs, scores: Any): Any => {
  const value = fill(p)
  switch (p.choices.second) {
    case "none":
      return scores
    case "causal":
      return Tensor.where(against(p, { x: causal(p), letters: "ts" }, lead(p)) as Bool, scores, value)
    case "padding": {
      const keep = against(p, { x: inputs["padding"] as Any, letters: "bs" }, lead(p))
      return Tensor.where(keep as Bool, scores, value)
    }
    case "additive":
      return Tensor.add(scores, Tensor.cast(inputs["second"] as Any, scores.dtype))
  }
}

/** How many keys each query sees by the first mask: a second user of it. */
export const counted = (p: Program, inputs: Inputs): Any | undefined => {
  const { choices } = p
  if (choices.mask === "none" || isAdditive(choices)) return undefined
  return Tensor.sum(Tensor.cast(keeps(p, inputs).x, "f32"), -1)
}
