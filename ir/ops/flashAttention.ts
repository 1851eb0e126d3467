import * as Attr from "../Attr.ts"
import * as Dim from "../Dim.ts"
import * as DType from "../DType.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type * as Shape from "../Shape.ts"
import * as TensorType from "../TensorType.ts"

/** Logits that one pair of a query and a key may have. */
const mostTerms = 4

/** The operands of the node by what they are. */
export const parts = <A>(
  operands: ReadonlyArray<A>,
  attrs: { readonly terms?: number | undefined }
): {
  readonly v: A
  /** q and k of each logit. */
  readonly terms: ReadonlyArray<{ readonly q: A; readonly k: A }>
  readonly captures: ReadonlyArray<A>
} => {
  const [q, k, v] = operands as readonly [A, A, A, ...Array<A>]
  const count = attrs.terms ?? 1
  const more = Array.from({ length: count - 1 }, (_, n) => ({
    q: operands[3 + 2 * n] as A,
    k: operands[4 + 2 * n] as A
  }))
  return { v, terms: [{ q, k }, ...more], captures: operands.slice(2 * count + 1) }
}

/** A row whose greatest score is above this leaves no weight to keys hidden by the fill: it rounds to 0. Backends compare with the same number. */
export const negligibleBelow = (fill: number, scores: "f32" | "f64"): number =>
  scores === "f32" ? Math.fround(fill + 104) : fill + 746

/**
 * Attention as one node. Shapes: B batch, Hq query heads, Hkv key/value heads (Hq = G * Hkv), T queries, S keys,
 * D head size, E value head size.
 *
 *     q: [B, Hq, T, D]   k: [B, Hkv, S, D]   v: [B, Hkv, S, E]   captures: any
 *
 *     logit(b,h,i,j)  = sum over d of q[b,h,i,d] * k[b, h div G, j, d]
 *     visible(b,h,i,j) = mask(b,h,i,j)                                              (true without a mask)
 *     s(b,h,i,j)      = score(logit,b,h,i,j) where visible, `fill` elsewhere
 *     l(b,h,i)        = sum over j of exp(s) + exp(sink(b,h,i))                     (no sink: 0)
 *     result(b,h,i,:) = sum over j of exp(s) / l * probability(b,h,i,j) * v[b, h div G, j, :]
 *     lse(b,h,i)      = log l
 *     max(b,h,i)      = maximum over j of s, and of the sink
 *     sum(b,h,i)      = l / exp(max): what log-sum-exps of scores as large as a finite fill do not hold
 *
 * A key with s = -inf does not take part; a row without any, and without a sink, gives result 0, lse -inf, max -inf and sum 0. With a finite
 * `fill` masked keys take part with that score, as the expression said: a row that is masked throughout gives the mean of v. In a row whose
 * greatest score (or sink) is above `negligibleBelow` they do not take part. What does not take part has no effect, not even
 * as 0 * NaN; a NaN in anything else comes out, however small its weight.
 *
 * A score or a sink of NaN or +inf makes l NaN and with it the row, one without keys too, as it makes NaN of every weight of the softmax that was
 * written; lse and max are then NaN if one of them is, and else +inf. Where S = 0 there is no weight, and the result is 0.
 *
 * With `terms = N` there are N logits for each pair: N - 1 pairs of operands q1, k1, q2, k2, … follow v, each with a head size of its
 * own, q1: [B, Hq, T, D1] and k1: [B or 1, Hkv or 1, S, D1], and the score region takes (logit, logit1, …, b, h, i, j, captures…).
 *
 * With `normaliser = "none"` there is no softmax: a weight is the score itself, 0 where it is not visible (`fill` is 0), and
 * result(b,h,i,:) = sum over j of s * v. There is then no sink, no probability, and no other output.
 *
 * Regions are rank-0 graphs over scalars and whole captured tensors, which they read with `load`. Logits, scores,
 * statistics and sums are f32 (f64 where q is f64). `range` is what mask analysis found: for the query rows first..last it
 * bounds the keys that may be visible, [lo, hi), and those certainly visible to every row, [fullLo, fullHi). `rowRange` says the same of
 * one row i, where only data knows: both hold, so a kernel takes their intersection, for a block the union over its rows.
 */
export const flashAttention = Op.define("flash_attention", {
  family: "fused",
  summary: "Softmax attention in one pass over keys: no score matrix, key/value heads not expanded.",
  example: [
    `%0: f16[B, 32, T, 64] = input {name = "q"}`,
    `%1: f16[B, 8, S, 64] = input {name = "k"}`,
    `%2: f16[B, 8, S, 64] = input {name = "v"}`,
    "%3: f16[B, 32, T, 64] = flash_attention %0, %1, %2 {",
    `  score = {`,
    `    %0: f32[] = input {name = "logit"}`,
    `    %1: i32[] = input {name = "b"}`,
    `    %2: i32[] = input {name = "h"}`,
    `    %3: i32[] = input {name = "i"}`,
    `    %4: i32[] = input {name = "j"}`,
    `    %5: f32[] = constant {values = [0.125]}`,
    `    %6: f32[] = mul %0, %5`,
    `    return %6`,
    `  },`,
    `  fill = -inf,`,
    `  output = "result"`,
    "}"
  ].join("\n"),
  operands: ["q", "k", "v", "more..."],
  attrs: {
    /** Logits of a pair; 1 where absent. */
    terms: Attr.optional(Attr.int),
    /** "none": weights are scores. A softmax where absent. */
    normaliser: Attr.optional(Attr.string),
    /** (logit…, b, h, i, j, captures…) → f32 */
    score: Attr.region,
    /** (b, h, i, j, captures…) → bool */
    mask: Attr.optional(Attr.region),
    /** (b, h, i, captures…) → f32, the logit of a key without value */
    sink: Attr.optional(Attr.region),
    /** (b, h, i, j, captures…) → f32, a factor on the normalised weight */
    probability: Attr.optional(Attr.region),
    /** (b, h, first, last, captures…) → lo, hi, fullLo, fullHi: i32 */
    range: Attr.optional(Attr.region),
    /** (b, h, i, captures…) → lo, hi, fullLo, fullHi: i32 */
    rowRange: Attr.optional(Attr.region),
    fill: Attr.number,
    /** "result", "lse", "max" or "sum" */
    output: Attr.string,
    /** Of the result: any float. Of the others: f32 (f64 where q is f64). */
    dtype: Attr.resultDType
  },
  infer: (operands, attrs) => {
    const op = "flash_attention"
    const [q, k, v] = operands
    if (q === undefined || k === undefined || v === undefined) throw Infer.attrError(op, "needs q, k and v")
    const terms = attrs.terms ?? 1
    if (terms < 1 || terms > mostTerms || attrs.terms === 1)
      throw Infer.attrError(op, `terms is a number from 2 to ${mostTerms}, or absent`)
    const inputs = 2 * terms + 1
    if (operands.length < inputs)
      throw Infer.attrError(op, `${terms} terms need ${inputs} operands before the captures`)
    const [qkv, more, captures] = [[q, k, v], operands.slice(3, inputs), operands.slice(inputs)]
    const all = [...qkv, ...more]
    if (all.some((t) => t.shape.length !== 4)) throw Infer.shapeError(op, all, "q, k and v have rank 4")
    if (all.some((t) => t.dtype !== q.dtype))
      throw Infer.dtypeError(op, all, "q, k and v must have one dtype")
    Infer.requireDomain(op, qkv, q.dtype, "float")
    const constraints: Array<Shape.Constraint> = []
    const [B, Hq, T, D] = q.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
    const [Bk, Hkv, S, Dk] = k.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
    const [Bv, Hv, Sv, E] = v.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
    Infer.same(op, qkv, B, Bk, "q and k share the batch", constraints)
    Infer.same(op, qkv, B, Bv, "q and v share the batch", constraints)
    Infer.same(op, qkv, D, Dk, "q and k share the head size", constraints)
    Infer.same(op, qkv, Hkv, Hv, "k and v share the heads", constraints)
    Infer.same(op, qkv, S, Sv, "k and v share the length", constraints)
    if (Dim.divideExact(Hq, Hkv) === undefined) {
      throw Infer.shapeError(
        op,
        qkv,
        `${Dim.print(Hq)} query heads are not a multiple of ${Dim.print(Hkv)} key/value heads`
      )
    }
    for (let n = 0; n < more.length; n += 2) {
      const [qn, kn] = [more[n], more[n + 1]] as readonly [TensorType.TensorType, TensorType.TensorType]
      const pair = [q, k, qn, kn]
      const [Bq, Hn, Tn, Dn] = qn.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
      const [Bm, Hm, Sm, Dm] = kn.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
      Infer.same(op, pair, B, Bq, "all terms share the batch", constraints)
      Infer.same(op, pair, Hq, Hn, "all terms share the query heads", constraints)
      Infer.same(op, pair, T, Tn, "all terms share the query length", constraints)
      if (!Dim.isOne(Bm)) Infer.same(op, pair, B, Bm, "keys of a term have the batch or 1", constraints)
      if (!Dim.isOne(Hm)) Infer.same(op, pair, Hkv, Hm, "keys of a term have the key heads or 1", constraints)
      Infer.same(op, pair, S, Sm, "all terms share the key length", constraints)
      Infer.same(op, pair, Dn, Dm, "q and k of a term share the head size", constraints)
    }
    const accumulator: DType.DType = q.dtype === "f64" ? "f64" : "f32"
    const index: TensorType.TensorType = { dtype: "i32", shape: [] }
    const real: TensorType.TensorType = { dtype: accumulator, shape: [] }
    const truth: TensorType.TensorType = { dtype: "bool", shape: [] }
    const region = (
      name: string,
      r: Attr.Region | undefined,
      parameters: ReadonlyArray<TensorType.TensorType>,
      results: ReadonlyArray<TensorType.TensorType>
    ): void => {
      if (r === undefined) return
      const [takes, wants] = [r.inputs.map((i) => i.type), [...parameters, ...captures]]
      if (
        takes.length !== wants.length ||
        !takes.every((t, i) => TensorType.equals(t, wants[i] as TensorType.TensorType))
      ) {
        throw Infer.attrError(
          op,
          `the ${name} region takes (${takes.map(TensorType.print).join(", ")}) but is given (${wants.map(TensorType.print).join(", ")})`
        )
      }
      const gives = r.outputs.map((o) => o.node.type)
      if (
        gives.length !== results.length ||
        !gives.every((t, i) => TensorType.equals(t, results[i] as TensorType.TensorType))
      ) {
        throw Infer.attrError(
          op,
          `the ${name} region returns (${gives.map(TensorType.print).join(", ")}) instead of (${results.map(TensorType.print).join(", ")})`
        )
      }
    }
    const logits = Array.from({ length: terms }, () => real)
    region("score", attrs.score, [...logits, index, index, index, index], [real])
    region("mask", attrs.mask, [index, index, index, index], [truth])
    region("sink", attrs.sink, [index, index, index], [real])
    region("probability", attrs.probability, [index, index, index, index], [real])
    region("range", attrs.range, [index, index, index, index], [index, index, index, index])
    region("row range", attrs.rowRange, [index, index, index], [index, index, index, index])
    if (attrs.normaliser !== undefined) {
      if (attrs.normaliser !== "none")
        throw Infer.attrError(
          op,
          `there is no normaliser ${JSON.stringify(attrs.normaliser)}`,
          `use "none" or leave it out`
        )
      if (attrs.fill !== 0) throw Infer.attrError(op, "without a normaliser the fill is 0")
      if (attrs.sink !== undefined || attrs.probability !== undefined || attrs.output !== "result")
        throw Infer.attrError(op, "without a normaliser there is no sink, no probability and only the result")
    }
    if (Number.isNaN(attrs.fill) || attrs.fill === Infinity)
      throw Infer.attrError(op, `a fill of ${attrs.fill} means nothing`)
    switch (attrs.output) {
      case "result":
        if (!DType.isFloat(attrs.dtype))
          throw Infer.attrError(op, `the result is a float, not ${attrs.dtype}`)
        return { type: { dtype: attrs.dtype, shape: [B, Hq, T, E] }, constraints }
      case "lse":
      case "max":
      case "sum":
        if (attrs.dtype !== accumulator)
          throw Infer.attrError(op, `the ${attrs.output} is ${accumulator}, not ${attrs.dtype}`)
        return { type: { dtype: accumulator, shape: [B, Hq, T] }, constraints }
      default:
        throw Infer.attrError(
          op,
          `there is no output ${JSON.stringify(attrs.output)}`,
          `use "result", "lse", "max" or "sum"`
        )
    }
  }
})
