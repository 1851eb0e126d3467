import * as Mask from "../../../src/Mask.ts"
import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { fill, type Program } from "../programs.ts"

/** From logits to weights: scores, masks and softmaxes as people spell them, over logits [B, heads…, T, S] of any rank. */

type Any = Tensor.Tensor
export type Inputs = { readonly [name: string]: Any }

export const dims = (x: Any) => Tensor.nodeOf(x).type.shape

/** An argument that the program has. */
const given = (inputs: Inputs, name: string): Any => {
  const found = inputs[name]
  if (found === undefined) throw new Error(`the program has no argument ${name}`)
  return found
}

const float = (x: Any): Tensor.Tensor<"f32" | "f16"> => x as Tensor.Tensor<"f32" | "f16">

/** [B, T, S] (or with axes of 1) against logits with heads: new axes stand after the first. */
const perBatch = (x: Any, logits: Any): Any => {
  const [batch, ...rest] = dims(x)
  const heads = Array.from({ length: logits.rank - x.rank }, () => 1)
  return Tensor.reshape(x, [batch as never, ...heads, ...rest])
}

/** [H, T, S] against logits whose heads may be two axes, or none. */
const perHead = (x: Any, p: Program): Any => {
  const { M, G } = p.sizes
  const rest = dims(x).slice(1)
  if (p.layout === "grouped") return Tensor.reshape(x, [M, G, ...rest])
  return p.layout === "single"
    ? Tensor.reshape(x, [1, ...rest].slice(1))
    : Tensor.reshape(x, [M * G, ...rest])
}

/** The bias on logits [..., T, S]. */
export const biased = (p: Program, inputs: Inputs, logits: Any): Any => {
  switch (p.bias) {
    case "none":
    case "before the scale":
      return logits
    case "tensor":
      return Tensor.add(given(inputs, "bias"), logits)
    case "for each head":
      return Tensor.add(logits, perHead(given(inputs, "bias"), p))
    case "alibi": {
      if (p.layout !== "grouped" && p.layout !== "single")
        return Score.alibi(p.sizes.M * p.sizes.G)(float(logits))
      const [i, j] = positions(logits)
      return Tensor.add(logits, Tensor.mul(Tensor.cast(Tensor.sub(j, i), logits.dtype), 0.125))
    }
    case "table": {
      const [i, j] = positions(logits)
      const bucket = Tensor.add(Tensor.maximum(Tensor.minimum(Tensor.sub(j, i), 4), -4), 4)
      const entries = Tensor.gather(given(inputs, "table"), bucket as Tensor.Tensor<"i32">, 1)
      return Tensor.add(logits, perHead(entries, p))
    }
  }
}

export const biasBeforeScale = (p: Program, inputs: Inputs, logits: Any): Any =>
  p.bias === "before the scale" ? Tensor.add(logits, perHead(given(inputs, "bias"), p)) : logits

const positions = (logits: Any): readonly [Any, Any] => [
  Tensor.expandDims(Tensor.positions(logits, -2), -1),
  Tensor.positions(logits, -1)
]

/** Keys of a batch entry, [B, S], against logits. */
const keysOf = (x: Any, logits: Any): Any => perBatch(Tensor.expandDims(x, 1), logits)

export const masked = (p: Program, inputs: Inputs, logits: Any): Any => {
  const [i, j] = positions(logits)
  const finite = fill(p)
  const asBool = (x: Any): Tensor.Tensor<"bool"> => Tensor.cast(x, "bool")
  const causal = (): Tensor.Tensor<"bool"> => Tensor.le(j, i) as Tensor.Tensor<"bool">
  const keep = (): Any => keysOf(given(inputs, "keep"), logits)
  const additive = (): Any => given(inputs, "mask")
  switch (p.mask) {
    case "none":
      return logits
    case "causal":
      return Mask.apply(float(logits), Mask.causal)
    case "causal by where":
      return Tensor.where(causal(), logits, -Infinity)
    case "causal with a finite fill":
      return Tensor.where(causal(), logits, finite)
    case "bottom-right":
      return Mask.apply(float(logits), Mask.causalBottomRight)
    case "window":
      return Mask.apply(float(logits), Mask.and(Mask.causal, Mask.slidingWindow(3)))
    case "tril": {
      const ones = Tensor.ones(dims(logits).slice(-2))
      return Tensor.where(Tensor.eq(Tensor.tril(ones), 0), -Infinity, logits)
    }
    case "lengths": {
      const inside = Tensor.lt(Tensor.positions(logits, -1), Tensor.expandDims(given(inputs, "lengths"), -1))
      return Tensor.where(keysOf(inside, logits) as Tensor.Tensor<"bool">, logits, -Infinity)
    }
    case "padding with a finite fill":
      return Tensor.where(asBool(keep()), logits, finite)
    case "bool tensor":
      return Tensor.where(asBool(perBatch(given(inputs, "mask"), logits)), logits, -Infinity)
    case "additive":
      return Tensor.add(logits, additive())
    case "additive, mask first":
      return Tensor.add(additive(), logits)
    case "additive for each batch entry":
      return Tensor.add(logits, perBatch(additive(), logits))
    case "(1 - keep) * fill":
      return Tensor.add(logits, Tensor.mul(Tensor.sub(1, keep()), finite))
    case "scores - big * (1 - keep)":
      return Tensor.sub(logits, Tensor.mul(-finite, Tensor.sub(1, keep())))
    case "integers":
      return Tensor.where(Tensor.eq(keep(), 0), -Infinity, logits)
    case "causal, then padding":
      return Tensor.where(asBool(keep()), Tensor.where(causal(), logits, -Infinity), -Infinity)
    case "causal, then additive":
      return Tensor.add(Tensor.where(causal(), logits, finite), additive())
    case "documents": {
      const [own, other] = [given(inputs, "from"), given(inputs, "to")]
      const same = Tensor.eq(Tensor.expandDims(own, -1), Tensor.expandDims(other, 1))
      return Tensor.where(perBatch(same, logits) as Tensor.Tensor<"bool">, logits, -Infinity)
    }
    case "offset for each batch entry":
      return Mask.apply(float(logits), Mask.causalFrom(given(inputs, "offset") as Tensor.Tensor<"i32">))
  }
}

/** The scores with one column more: a logit for each query head. */
export const withSinks = (p: Program, inputs: Inputs, scores: Any): Any => {
  const { M, G } = p.sizes
  const heads = p.layout === "single" ? [] : p.layout === "grouped" ? [M, G] : [M * G]
  const column = Tensor.cast(Tensor.reshape(given(inputs, "sinks"), [...heads, 1, 1]), scores.dtype)
  return Tensor.concat([scores, Tensor.broadcastTo(column, [...dims(scores).slice(0, -1), 1])], -1)
}

/** Weights that are complete, or their numerators and what they are divided by after the product with the values. */
export interface Weights {
  readonly weights: Any
  readonly divisor?: Any
}

const exponentials = (x: Any): { readonly e: Any; readonly sum: Any } => {
  const e = Tensor.exp(x)
  return { e, sum: Tensor.sum(e, -1, { keepDims: true }) }
}

const shift = (x: Any): Any => Tensor.sub(x, Tensor.max(x, -1, { keepDims: true }))

export const weigh = (p: Program, scores: Any): Weights => {
  const { dtype } = scores
  switch (p.softmax) {
    case "op":
      return { weights: Tensor.softmax(scores, -1) }
    case "op in f32":
      return { weights: Tensor.cast(Tensor.softmax(Tensor.cast(scores, "f32"), -1), dtype) }
    case "shifted": {
      const { e, sum } = exponentials(shift(scores))
      return { weights: Tensor.div(e, sum) }
    }
    case "shifted in f32": {
      const { e, sum } = exponentials(shift(Tensor.cast(scores, "f32")))
      return { weights: Tensor.cast(Tensor.div(e, sum), dtype) }
    }
    case "unshifted": {
      const { e, sum } = exponentials(scores)
      return { weights: Tensor.div(e, sum) }
    }
    case "base 2": {
      const e = Tensor.exp2(Tensor.mul(shift(scores), Math.LOG2E))
      return { weights: Tensor.div(e, Tensor.sum(e, -1, { keepDims: true })) }
    }
    case "logSumExp":
      return { weights: Tensor.exp(Tensor.sub(scores, Tensor.logSumExp(scores, -1, { keepDims: true }))) }
    case "logSoftmax":
      return { weights: Tensor.exp(Tensor.logSoftmax(scores, -1)) }
    case "late division": {
      const { e, sum } = exponentials(shift(scores))
      return { weights: e, divisor: sum }
    }
    case "late division, unshifted": {
      const { e, sum } = exponentials(scores)
      return { weights: e, divisor: sum }
    }
    case "NaN replaced": {
      const w = Tensor.softmax(scores, -1)
      return { weights: Tensor.where(Tensor.isNaN(w), 0, w) }
    }
    case "safe": {
      const empty = Tensor.all(Tensor.eq(scores, -Infinity), -1, { keepDims: true })
      return { weights: Tensor.where(empty, 0, Tensor.softmax(scores, -1)) }
    }
  }
}
