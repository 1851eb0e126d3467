import { expectTypeOf, test } from "vitest"
import * as Attention from "../../src/Attention.ts"
import { compile } from "../../src/compile.ts"
import * as Mask from "../../src/Mask.ts"
import * as Score from "../../src/Score.ts"
import { type Spec, spec, type TensorsOf } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"

declare const q: Tensor.Tensor<"f16", readonly ["B", 32, "T", 64]>
declare const k: Tensor.Tensor<"f16", readonly ["B", 8, "S", 64]>
declare const v: Tensor.Tensor<"f16", readonly ["B", 8, "S", 128]>
declare const bools: Tensor.Tensor<"bool", readonly ["T", "S"]>
declare const floats: Tensor.Tensor<"f32", readonly ["T", "S"]>

test("masks of two polarities do not mix", () => {
  const keep = Mask.and(Mask.causal, Mask.slidingWindow(4))
  expectTypeOf(keep).toEqualTypeOf<Mask.Keep>()
  expectTypeOf(Mask.toDrop(keep)).toEqualTypeOf<Mask.Drop>()
  expectTypeOf(Mask.toKeep(Mask.toDrop(keep))).toEqualTypeOf<Mask.Keep>()
  expectTypeOf(Mask.not(Mask.toDrop(keep))).toEqualTypeOf<Mask.Drop>()
  expectTypeOf(keep.pipe(Mask.or(Mask.prefix(3)), Mask.shift(2))).toEqualTypeOf<Mask.Keep>()
  // @ts-expect-error a Drop is not a Keep
  Mask.and(keep, Mask.toDrop(keep))
  // @ts-expect-error what is a Keep already
  Mask.toKeep(keep)
  // @ts-expect-error floats are no mask
  Mask.fromTensor(floats)
  expectTypeOf(Mask.dropFromTensor(bools)).toEqualTypeOf<Mask.Drop>()
})

test("masks and scores keep the type of scores", () => {
  expectTypeOf(q.pipe(Mask.apply(Mask.causal))).toEqualTypeOf<typeof q>()
  expectTypeOf(Mask.apply(q, Mask.causal, -1e9)).toEqualTypeOf<typeof q>()
  expectTypeOf(q.pipe(Score.Monoid.concat(Score.softcap(50), Score.alibi(32)))).toEqualTypeOf<typeof q>()
  // @ts-expect-error scores are of floats
  bools.pipe(Score.softcap(50))
})

test("attention has the shape of the queries and the size of the values", () => {
  const result = Attention.scaledDotProductAttention(q, k, v, { mask: "causal" })
  expectTypeOf(result).toEqualTypeOf<Tensor.Tensor<"f16", readonly ["B", 32, "T", 128]>>()
  expectTypeOf(q.pipe(Attention.scaledDotProductAttention(k, v))).toEqualTypeOf<typeof result>()
  const wide: Tensor.Tensor = q
  expectTypeOf(Attention.scaledDotProductAttention(wide, k, wide)).toExtend<Tensor.Tensor>()
  expectTypeOf(wide.pipe(Attention.scaledDotProductAttention(k, wide))).toExtend<Tensor.Tensor>()
  // @ts-expect-error heads of 64 and 128
  Attention.scaledDotProductAttention(q, v, v)
  // @ts-expect-error the same, in a pipe
  q.pipe(Attention.scaledDotProductAttention(v, v))
  // @ts-expect-error 8 heads of keys, 32 of values
  Attention.scaledDotProductAttention(q, k, q)
  // @ts-expect-error rank 2
  Attention.scaledDotProductAttention(q, floats, floats)
  // @ts-expect-error there is no such alignment
  Attention.scaledDotProductAttention(q, k, v, { mask: "top-left" })
})

test("the program of the front page keeps its types", () => {
  type Inputs = TensorsOf<{
    readonly q: Spec<"f16", readonly ["B", 32, "T", 64]>
    readonly k: Spec<"f16", readonly ["B", 8, "S", 64]>
    readonly v: Spec<"f16", readonly ["B", 8, "S", 64]>
  }>
  const attention = ({ q, k, v }: Inputs) =>
    Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 4))).pipe(
      Tensor.mul(1 / Math.sqrt(64)),
      Mask.apply(Mask.and(Mask.causal, Mask.slidingWindow(1024))),
      Tensor.softmax(-1),
      Tensor.matmul(Tensor.repeatHeads(v, 4))
    )
  // How many heads there are now is more than TypeScript counts: 8 * 4 widens, and the 32 of the queries says it.
  expectTypeOf<ReturnType<typeof attention>>().toEqualTypeOf<
    Tensor.Tensor<"f16", readonly ["B", 32, "T", 64]>
  >()
  // The signature types the function that is written in front of it.
  const signature = {
    q: spec("f16", ["B", 32, "T", 64]),
    k: spec("f16", ["B", 8, "S", 64])
  }
  compile(({ q, k }) => Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 4))), signature)
  // @ts-expect-error 32 heads and 8
  compile(({ q, k }) => Tensor.matmul(q, Tensor.transpose(k)), signature)
  // Without types in the signature it builds as well.
  const loose = ({ q, k, v }: { readonly [name in "q" | "k" | "v"]: Tensor.Tensor }) =>
    Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 4))).pipe(
      Tensor.mul(1 / Math.sqrt(64)),
      Mask.apply(Mask.causal),
      Tensor.softmax(-1),
      Tensor.matmul(Tensor.repeatHeads(v, 4))
    )
  expectTypeOf(loose).returns.toExtend<Tensor.Tensor>()
})
