import * as Tensor from "../../../src/Tensor.ts"
import { fullLetters } from "./arguments.ts"
import { type Any, against, shape, sizeOf } from "./Lettered.ts"
import { type Inputs, lead } from "./operands.ts"
import { type Program, rate } from "./Program.ts"

/** From scores to the weights of values: sinks, softmaxes and dropout as people spell them. */

/** The scores with one column more: a logit for each query head. */
export const withSinks = (p: Program, inputs: Inputs, scores: Any): Any => {
  const { sinks } = p.choices
  if (sinks === "none") return scores
  const own = Tensor.cast(Tensor.reshape(inputs["sinks"] as Any, [sizeOf(p, "h"), 1, 1]), scores.dtype)
  const column = Tensor.broadcastTo(against(p, { x: own, letters: "hoo" }, lead(p)), shape(p, `${lead(p)}to`))
  return Tensor.concat(sinks === "first column" ? [column, scores] : [scores, column], -1)
}

export const withoutSinks = (p: Program, weights: Any): Any => {
  const { sinks } = p.choices
  if (sinks === "none") return weights
  const S = sizeOf(p, "s")
  return sinks === "first column"
    ? Tensor.slice(weights, -1, { start: 1 })
    : Tensor.slice(weights, -1, { start: 0, stop: S })
}

/** Weights that are complete, or their numerators and what they are divided by after the product with the values. */
export interface Weights {
  readonly weights: Any
  readonly divisor?: Any
}

const sum = (e: Any): Any => Tensor.sum(e, -1, { keepDims: true })
const shift = (x: Any): Any => Tensor.sub(x, Tensor.max(x, -1, { keepDims: true }))

const withoutNaN = (w: Any): Any => Tensor.where(Tensor.isNaN(w as Tensor.Tensor<"f32">), 0, w)

const softmax = (p: Program, x: Any): Weights => {
  switch (p.choices.softmax) {
    case "op":
      return { weights: Tensor.softmax(x, -1) }
    case "exp(x - max) / sum": {
      const e = Tensor.exp(shift(x))
      return { weights: Tensor.div(e, sum(e)) }
    }
    case "exp(x) / sum": {
      const e = Tensor.exp(x)
      return { weights: Tensor.div(e, sum(e)) }
    }
    case "exp(x - max) * (1 / sum)": {
      const e = Tensor.exp(shift(x))
      return { weights: Tensor.mul(e, Tensor.reciprocal(sum(e))) }
    }
    case "base 2": {
      const e = Tensor.exp2(Tensor.mul(shift(x), Math.LOG2E))
      return { weights: Tensor.div(e, sum(e)) }
    }
    case "exp(x - lse)":
      return { weights: Tensor.exp(Tensor.sub(x, Tensor.logSumExp(x, -1, { keepDims: true }))) }
    case "exp(logSoftmax)":
      return { weights: Tensor.exp(Tensor.logSoftmax(x, -1)) }
    case "safe": {
      const empty = Tensor.all(Tensor.eq(x, -Infinity), -1, { keepDims: true })
      return { weights: Tensor.where(empty, 0, Tensor.softmax(x, -1)) }
    }
    case "where(isNaN, 0)": {
      const e = Tensor.exp(shift(x))
      return { weights: withoutNaN(Tensor.div(e, sum(e))) }
    }
    case "where(isNaN, 0) of the op":
      return { weights: withoutNaN(Tensor.softmax(x, -1)) }
    case "divided after P V": {
      const e = Tensor.exp(shift(x))
      return { weights: e, divisor: sum(e) }
    }
    case "exp(x), divided after P V": {
      const e = Tensor.exp(x)
      return { weights: e, divisor: sum(e) }
    }
  }
}

/** What the softmax sees, its weights, and what brings them to the type of the values. */
export interface Weighed extends Weights {
  readonly seen: Any
  readonly down: (x: Any) => Any
}

export const weigh = (p: Program, scores: Any): Weighed => {
  const { dtype } = scores
  const up = (x: Any): Any => Tensor.cast(x, "f32")
  const down = (x: Any): Any => Tensor.cast(x, dtype)
  const { precision } = p.choices
  const seen =
    precision === "as it comes"
      ? scores
      : up(precision === "down, then up and down" ? down(up(scores)) : scores)
  // With a dtype argument, weights stay wide and meet the values so.
  const wide = precision === "as it comes" || precision === "dtype argument"
  return { ...softmax(p, seen), seen, down: wide ? (x) => x : down }
}

export const dropped = (p: Program, inputs: Inputs, weights: Any): Any => {
  const { dropout, dropoutOf } = p.choices
  if (dropout === "none") return weights
  if (dropout === "Tensor.dropout")
    return Tensor.dropout(weights, { rate, seed: inputs["seed"] as Tensor.Tensor<"u32"> })
  const letters = dropoutOf === "each weight" ? fullLetters(p.choices) : "ts"
  const kept = against(p, { x: inputs["kept"] as Any, letters }, lead(p))
  const one = (): Any => Tensor.cast(kept, weights.dtype)
  const keep = kept as Tensor.Tensor<"bool">
  switch (dropout) {
    case "p * mask / (1 - r)":
      return Tensor.div(Tensor.mul(weights, one()), 1 - rate)
    case "select(mask, p / (1 - r), 0)":
      return Tensor.where(keep, Tensor.div(weights, 1 - rate), 0)
    case "p * select(mask, c, 0)":
      return Tensor.mul(weights, Tensor.where(keep, Tensor.constant(1 / (1 - rate), weights.dtype), 0))
    case "(p * mask) * c":
      return Tensor.mul(Tensor.mul(weights, one()), 1 / (1 - rate))
  }
}
