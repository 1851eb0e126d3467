import * as Attr from "../Attr.ts"
import * as Dim from "../Dim.ts"
import * as DType from "../DType.ts"
import * as Infer from "../Infer.ts"
import * as Op from "../Op.ts"
import type * as Shape from "../Shape.ts"
import * as TensorType from "../TensorType.ts"

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
 *
 * A key with s = -inf does not take part; a row without any gives result 0 and lse -inf. With a finite `fill` masked keys take part with
 * that score, as the expression said: a row that is masked throughout gives the mean of v.
 *
 * Regions are rank-0 graphs over scalars and whole captured tensors, which they read with `load`. Logits, scores,
 * statistics and sums are f32 (f64 where q is f64). `range` is what mask analysis found: for the query rows first..last it
 * bounds the keys that may be visible, [lo, hi), and those certainly visible to every row, [fullLo, fullHi).
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
  operands: ["q", "k", "v", "captures..."],
  attrs: {
    /** (logit, b, h, i, j, captures…) → f32 */
    score: Attr.region,
    /** (b, h, i, j, captures…) → bool */
    mask: Attr.optional(Attr.region),
    /** (b, h, i, captures…) → f32, the logit of a key without value */
    sink: Attr.optional(Attr.region),
    /** (b, h, i, j, captures…) → f32, a factor on the normalised weight */
    probability: Attr.optional(Attr.region),
    /** (b, h, first, last, captures…) → lo, hi, fullLo, fullHi: i32 */
    range: Attr.optional(Attr.region),
    fill: Attr.number,
    /** "result" or "lse" */
    output: Attr.string,
    /** Of the result: any float. Of the lse: f32 (f64 where q is f64). */
    dtype: Attr.resultDType
  },
  infer: (operands, attrs) => {
    const op = "flash_attention"
    const [q, k, v, ...captures] = operands
    if (q === undefined || k === undefined || v === undefined) throw Infer.attrError(op, "needs q, k and v")
    const qkv = [q, k, v]
    if (qkv.some((t) => t.shape.length !== 4)) throw Infer.shapeError(op, qkv, "q, k and v have rank 4")
    if (qkv.some((t) => t.dtype !== q.dtype))
      throw Infer.dtypeError(op, qkv, "q, k and v must have one dtype")
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
    region("score", attrs.score, [real, index, index, index, index], [real])
    region("mask", attrs.mask, [index, index, index, index], [truth])
    region("sink", attrs.sink, [index, index, index], [real])
    region("probability", attrs.probability, [index, index, index, index], [real])
    region("range", attrs.range, [index, index, index, index], [index, index, index, index])
    if (Number.isNaN(attrs.fill) || attrs.fill === Infinity)
      throw Infer.attrError(op, `a fill of ${attrs.fill} means nothing`)
    switch (attrs.output) {
      case "result":
        if (!DType.isFloat(attrs.dtype))
          throw Infer.attrError(op, `the result is a float, not ${attrs.dtype}`)
        return { type: { dtype: attrs.dtype, shape: [B, Hq, T, E] }, constraints }
      case "lse":
        if (attrs.dtype !== accumulator)
          throw Infer.attrError(op, `the lse is ${accumulator}, not ${attrs.dtype}`)
        return { type: { dtype: accumulator, shape: [B, Hq, T] }, constraints }
      default:
        throw Infer.attrError(
          op,
          `there is no output ${JSON.stringify(attrs.output)}`,
          `use "result" or "lse"`
        )
    }
  }
})
