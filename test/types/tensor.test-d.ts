import { expectTypeOf, test } from "vitest"
import * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import { type Spec, spec, type TensorsOf } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import type { Refused } from "../../src/tensor/dims.ts"

type T<D extends DType, S extends Tensor.Dims> = Tensor.Tensor<D, S>

declare const q: T<"f16", readonly ["B", 32, "T", 64]>
declare const k: T<"f16", readonly ["B", 8, "S", 64]>
declare const x: T<"f32", readonly [2, 3]>
declare const y: T<"f32", readonly [3, 4]>
declare const row: T<"f32", readonly [3]>
declare const big: T<"f32", readonly [1536, 11008, 7]>
declare const ints: T<"i32", readonly [2, 3]>
declare const bools: T<"bool", readonly [2, 3]>
declare const anything: Tensor.Tensor
declare const ranked: T<"f32", readonly [number, 4]>

test("specs keep literals and names, and widen what is computed", () => {
  expectTypeOf(spec("f16", ["B", 32, "T", 64])).toEqualTypeOf<Spec<"f16", readonly ["B", 32, "T", 64]>>()
  const total = Dim.add(Dim.symbol("P"), Dim.symbol("T"))
  expectTypeOf(spec("f32", ["B", total, 64])).toEqualTypeOf<Spec<"f32", readonly ["B", Tensor.Size, 64]>>()
  expectTypeOf(spec("f32", ["B", "P + T"])).toEqualTypeOf<Spec<"f32", readonly ["B", Tensor.Size]>>()
  const signature = { q: spec("f16", ["T", 64]), n: spec("i32", []) }
  expectTypeOf<TensorsOf<typeof signature>>().toEqualTypeOf<{
    readonly q: T<"f16", readonly ["T", 64]>
    readonly n: T<"i32", readonly []>
  }>()
  // @ts-expect-error there is no such element type
  spec("float32", ["T"])
})

test("a tensor of known type is a tensor of less known type, not the other way", () => {
  expectTypeOf(x).toExtend<Tensor.Tensor>()
  expectTypeOf(x).toExtend<T<"f32", readonly [number, number]>>()
  expectTypeOf(x).toExtend<T<"f32" | "f16", Tensor.Dims>>()
  // @ts-expect-error a size of 3 is not one of 4
  expectTypeOf(x).toExtend<T<"f32", readonly [2, 4]>>()
  // @ts-expect-error rank 2 is not rank 3
  expectTypeOf(x).toExtend<T<"f32", readonly [number, number, number]>>()
  // @ts-expect-error f32 is not f16
  expectTypeOf(x).toExtend<T<"f16", readonly [2, 3]>>()
})

test("arithmetic broadcasts", () => {
  expectTypeOf(Tensor.add(x, row)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(row.pipe(Tensor.add(x))).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.mul(x, 0.5)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.sub(1, x)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(q.pipe(Tensor.mul(0.125))).toEqualTypeOf<T<"f16", readonly ["B", 32, "T", 64]>>()
  const column = x.pipe(Tensor.sum(-1, { keepDims: true }))
  expectTypeOf(column).toEqualTypeOf<T<"f32", readonly [2, 1]>>()
  expectTypeOf(Tensor.div(x, column)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  // @ts-expect-error 3 and 4 are not equal, and neither is 1
  Tensor.add(x, y)
  // @ts-expect-error the same, in a pipe
  x.pipe(Tensor.add(y))
  // @ts-expect-error two names are two sizes
  Tensor.add(q, k)
})

test("dtypes promote, numbers are weak", () => {
  expectTypeOf(Tensor.add(ints, x)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.add(ints, 2)).toEqualTypeOf<T<"i32", readonly [2, 3]>>()
  expectTypeOf(Tensor.add(ints, 2.5)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.mul(bools, 3)).toEqualTypeOf<T<"i32", readonly [2, 3]>>()
  expectTypeOf(Tensor.div(ints, 2)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.exp(ints)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.sum(bools)).toEqualTypeOf<T<"i32", readonly []>>()
  expectTypeOf(Tensor.lt(ints, x)).toEqualTypeOf<T<"bool", readonly [2, 3]>>()
  expectTypeOf(Tensor.where(bools, x, -1e9)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(bools.pipe(Tensor.where(row, ints))).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.cast(x, "bf16")).toEqualTypeOf<T<"bf16", readonly [2, 3]>>()
  // @ts-expect-error a condition is a bool
  Tensor.where(ints, x, 0)
  // @ts-expect-error not is of bools
  Tensor.not(ints)
})

test("matmul contracts", () => {
  expectTypeOf(Tensor.matmul(x, y)).toEqualTypeOf<T<"f32", readonly [2, 4]>>()
  expectTypeOf(x.pipe(Tensor.matmul(y))).toEqualTypeOf<T<"f32", readonly [2, 4]>>()
  expectTypeOf(Tensor.matmul(row, y)).toEqualTypeOf<T<"f32", readonly [4]>>()
  expectTypeOf(Tensor.matmul(x, row)).toEqualTypeOf<T<"f32", readonly [2]>>()
  expectTypeOf(Tensor.matmul(row, row)).toEqualTypeOf<T<"f32", readonly []>>()
  expectTypeOf(Tensor.matmul(x, ranked)).toEqualTypeOf<T<"f32", readonly [2, 4]>>()
  // @ts-expect-error it contracts 3 with 2
  Tensor.matmul(x, x)
  // @ts-expect-error the same, in a pipe
  x.pipe(Tensor.matmul(x))
  // @ts-expect-error it contracts 64 with S: a literal with a name passes, T with S does not
  Tensor.matmul(Tensor.transpose(q), k)
  // @ts-expect-error 32 query heads, 8 key/value heads
  Tensor.matmul(q, Tensor.transpose(k))
})

test("attention as the paper writes it keeps its type", () => {
  const scores = Tensor.matmul(q, Tensor.transpose(Tensor.repeatHeads(k, 4))).pipe(
    Tensor.mul(0.125),
    Tensor.softmax(-1)
  )
  expectTypeOf(scores).toEqualTypeOf<T<"f16", readonly ["B", 32, "T", "S"]>>()
})

test("axes exist", () => {
  expectTypeOf(Tensor.softmax(x)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.softmax(x, 0)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(x.pipe(Tensor.softmax())).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.sum(q, [1, -1])).toEqualTypeOf<T<"f16", readonly ["B", "T"]>>()
  expectTypeOf(Tensor.max(q, 1, { keepDims: true })).toEqualTypeOf<T<"f16", readonly ["B", 1, "T", 64]>>()
  expectTypeOf(Tensor.mean(q, undefined, { keepDims: true })).toEqualTypeOf<T<"f16", readonly [1, 1, 1, 1]>>()
  // @ts-expect-error rank 2 has no axis 2
  Tensor.softmax(x, 2)
  // @ts-expect-error nor an axis -3
  x.pipe(Tensor.softmax(-3))
  // @ts-expect-error nor an axis 2 to sum
  Tensor.sum(x, 2)
  // @ts-expect-error one of them is missing
  x.pipe(Tensor.sum([0, 5]))
})

test("axes move", () => {
  expectTypeOf(Tensor.transpose(q)).toEqualTypeOf<T<"f16", readonly ["B", 32, 64, "T"]>>()
  expectTypeOf(q.pipe(Tensor.transpose())).toEqualTypeOf<T<"f16", readonly ["B", 32, 64, "T"]>>()
  expectTypeOf(q.pipe(Tensor.transpose([0, 2, 1, 3]))).toEqualTypeOf<T<"f16", readonly ["B", "T", 32, 64]>>()
  expectTypeOf(Tensor.permute(q, [-1, 0, 1, 2])).toEqualTypeOf<T<"f16", readonly [64, "B", 32, "T"]>>()
  // @ts-expect-error there is nothing to swap
  Tensor.transpose(row)
  // @ts-expect-error four axes need four entries
  Tensor.permute(q, [0, 2, 1])
  // @ts-expect-error rank 4 has no axis 4
  q.pipe(Tensor.permute([0, 1, 2, 4]))
})

test("an order of axes is refused in the name of the operation that was called", () => {
  type Order<F extends (...args: never) => unknown> = Parameters<F>[1]
  expectTypeOf<Order<typeof Tensor.permute<"f32", readonly [2, 3], readonly [0]>>>().toExtend<
    Refused<"permute: [2, 3] needs one entry for each axis, not 1">
  >()
  expectTypeOf<Order<typeof Tensor.permute<"f32", readonly [2, 3], readonly [0, 2]>>>().toExtend<
    Refused<"permute: axis 2 is outside [2, 3]">
  >()
  expectTypeOf<Order<typeof Tensor.transpose<"f32", readonly [2, 3], readonly [0]>>>().toExtend<
    Refused<"transpose: [2, 3] needs one entry for each axis, not 1">
  >()
})

test("reshape counts where it can", () => {
  expectTypeOf(Tensor.reshape(x, [6])).toEqualTypeOf<T<"f32", readonly [6]>>()
  expectTypeOf(Tensor.reshape(x, [3, -1])).toEqualTypeOf<T<"f32", readonly [3, Tensor.Size]>>()
  expectTypeOf(Tensor.reshape(q, ["B", 8, 4, "T", 64])).toEqualTypeOf<
    T<"f16", readonly ["B", 8, 4, "T", 64]>
  >()
  expectTypeOf(Tensor.reshape(q, ["B*T", 2048])).toEqualTypeOf<T<"f16", readonly [Tensor.Size, 2048]>>()
  expectTypeOf(Tensor.reshape(ranked, [8])).toEqualTypeOf<T<"f32", readonly [8]>>()
  expectTypeOf(Tensor.reshape(big, [118358016])).toEqualTypeOf<T<"f32", readonly [118358016]>>()
  // @ts-expect-error 6 elements are not 8
  Tensor.reshape(x, [8])
  // @ts-expect-error 118358016 elements are one fewer
  Tensor.reshape(big, [118358017])
  // @ts-expect-error B and T are on both sides, 32 * 64 is not 1024
  q.pipe(Tensor.reshape(["B", "T", 1024]))
})

test("broadcastTo stretches", () => {
  expectTypeOf(Tensor.broadcastTo(row, [2, 3])).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  // @ts-expect-error 3 does not stretch
  Tensor.broadcastTo(row, [2, 4])
  // @ts-expect-error axes are never dropped
  x.pipe(Tensor.broadcastTo([3]))
})

test("what TypeScript cannot follow is not in the way", () => {
  expectTypeOf(Tensor.matmul(anything, anything)).toEqualTypeOf<T<Exclude<DType, "bool">, Tensor.Dims>>()
  expectTypeOf(Tensor.add(anything, x)).toEqualTypeOf<T<"f32" | "f64", Tensor.Dims>>()
  expectTypeOf(anything.pipe(Tensor.matmul(q), Tensor.mul(0.5), Tensor.softmax(7))).toExtend<Tensor.Tensor>()
  expectTypeOf(Tensor.sum(anything, 3)).toExtend<Tensor.Tensor>()
  expectTypeOf(Tensor.transpose(anything)).toExtend<Tensor.Tensor>()
  expectTypeOf(Tensor.permute(anything, [1, 0])).toExtend<Tensor.Tensor>()
  expectTypeOf(Tensor.reshape(anything, [2, 3])).toEqualTypeOf<T<DType, readonly [2, 3]>>()
  expectTypeOf(Tensor.add(ranked, y)).toEqualTypeOf<T<"f32", readonly [3, 4]>>()
  // TypeScript cannot instantiate an overloaded function that is passed along uncalled.
  expectTypeOf(x.pipe(Tensor.softmax)).toExtend<Tensor.Tensor>()
  expectTypeOf(x.pipe(Tensor.exp)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  const axis: number = Math.round(1)
  expectTypeOf(Tensor.softmax(x, axis)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.sum(x, axis)).toExtend<Tensor.Tensor<"f32">>()
  const sizes: Array<number> = [2, 3]
  expectTypeOf(Tensor.reshape(x, sizes)).toExtend<Tensor.Tensor<"f32">>()
})

declare const past: T<"f16", readonly ["B", 8, "P", 64]>
declare const ids: T<"i32", readonly ["B", "T"]>

test("tensors join where their other sizes agree", () => {
  expectTypeOf(Tensor.concat([past, k], 2)).toEqualTypeOf<T<"f16", readonly ["B", 8, Tensor.Size, 64]>>()
  expectTypeOf(Tensor.concat([x, ints], 0)).toEqualTypeOf<T<"f32", readonly [Tensor.Size, 3]>>()
  expectTypeOf(Tensor.concat([past], 2)).toEqualTypeOf<T<"f16", readonly ["B", 8, "P", 64]>>()
  expectTypeOf(Tensor.stack([x, x])).toEqualTypeOf<
    T<"f32", readonly [Tensor.Size, Tensor.Size, Tensor.Size]>
  >()
  expectTypeOf(Tensor.stack([y, ranked], 1)).toExtend<Tensor.Tensor>()
  // @ts-expect-error 3 and 4 differ
  Tensor.stack([y, Tensor.zeros([3, 3])])
  // @ts-expect-error ranks 2 and 1
  Tensor.stack([x, row])
  const many: Array<Tensor.Tensor> = [x, y]
  expectTypeOf(Tensor.stack(many)).toExtend<Tensor.Tensor>()
  expectTypeOf(Tensor.concat(many, 0)).toExtend<Tensor.Tensor>()
  // @ts-expect-error 64 and 32 stand beside the axis
  Tensor.concat([past, spec32], 2)
  // @ts-expect-error P and S stand beside the axis
  Tensor.concat([past, k], 1)
  // @ts-expect-error ranks 2 and 1
  Tensor.concat([x, row], 0)
  // @ts-expect-error rank 4 has no axis 4
  Tensor.concat([past, k], 4)
})

declare const spec32: T<"f16", readonly ["B", 8, "S", 32]>

test("tensors come apart", () => {
  const [a, b, c] = Tensor.split(q, 3, 1)
  expectTypeOf(a).toEqualTypeOf<T<"f16", readonly ["B", Tensor.Size, "T", 64]>>()
  expectTypeOf(b).toEqualTypeOf(c)
  expectTypeOf(Tensor.slice(q, 2, { start: -1 })).toEqualTypeOf<
    T<"f16", readonly ["B", 32, Tensor.Size, 64]>
  >()
  expectTypeOf(q.pipe(Tensor.flip(-1))).toEqualTypeOf<typeof q>()
  // @ts-expect-error rank 4 has no axis 4
  Tensor.slice(q, 4, { start: 1 })
  expectTypeOf(Tensor.takeAlongAxis(x, ints, 1)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(x.pipe(Tensor.takeAlongAxis(ints, 1))).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  // @ts-expect-error rank 4 has no axis 4
  Tensor.split(q, 2, 4)
  // @ts-expect-error the same, in a pipe
  q.pipe(Tensor.split([8, 24], -5))
  // @ts-expect-error rank 2 has no axis 2
  Tensor.takeAlongAxis(x, ints, 2)
  // @ts-expect-error there are three parts
  const [, , , fourth] = Tensor.split(q, 3, 1)
  expectTypeOf(fourth).toBeNever
})

test("axes appear, disappear, swap", () => {
  expectTypeOf(Tensor.expandDims(x, 1)).toEqualTypeOf<T<"f32", readonly [2, 1, 3]>>()
  expectTypeOf(x.pipe(Tensor.expandDims(-1))).toEqualTypeOf<T<"f32", readonly [2, 3, 1]>>()
  expectTypeOf(Tensor.squeeze(Tensor.expandDims(x, 0), 0)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
  expectTypeOf(Tensor.swapAxes(q, 1, -2)).toEqualTypeOf<T<"f16", readonly ["B", "T", 32, 64]>>()
  expectTypeOf(Tensor.argmax(q, 1)).toEqualTypeOf<T<"i32", readonly ["B", "T", 64]>>()
  expectTypeOf(Tensor.cumsum(ints, 0)).toEqualTypeOf<T<"i32", readonly [2, 3]>>()
  // @ts-expect-error the axis has size 2
  Tensor.squeeze(x, 0)
  // @ts-expect-error the new rank is 3
  Tensor.expandDims(x, 3)
})

test("einsum reads its equation", () => {
  expectTypeOf(Tensor.einsum("bhqd,bgkd->bhgqk", q, k)).toEqualTypeOf<
    T<"f16", readonly ["B", 32, 8, "T", "S"]>
  >()
  expectTypeOf(x.pipe(Tensor.einsum("ij,jk->ik", y))).toEqualTypeOf<T<"f32", readonly [2, 4]>>()
  expectTypeOf(Tensor.einsum("ij->j", ints)).toEqualTypeOf<T<"i32", readonly [3]>>()
  expectTypeOf(Tensor.einsum("...d,...d->...", q, q)).toEqualTypeOf<T<"f16", Tensor.Dims>>()
  expectTypeOf(Tensor.einsum("ij,jk,kl->il", x, y, anything)).toExtend<Tensor.Tensor>()
  // @ts-expect-error h is 32 and 8
  Tensor.einsum("bhqd,bhkd->bhqk", q, k)
  // @ts-expect-error no operand has z
  Tensor.einsum("ij,jk->iz", x, y)
  // @ts-expect-error three letters for two axes
  Tensor.einsum("ijk,kl->il", x, y)
})

test("positions that are data", () => {
  declareTable(Tensor.take(y, ids, 0))
  expectTypeOf(Tensor.oneHot(ids, 7)).toEqualTypeOf<
    T<"f32", readonly [Tensor.Size, Tensor.Size, Tensor.Size]>
  >()
  // @ts-expect-error floats are no positions
  Tensor.take(y, x, 0)
  // @ts-expect-error rank 2 has no axis 2
  Tensor.take(y, ids, 2)
})

const declareTable = (_: T<"f32", readonly [Tensor.Size, Tensor.Size, Tensor.Size]>): void => {}

test("sources", () => {
  expectTypeOf(Tensor.zeros(["T", 64])).toEqualTypeOf<T<"f32", readonly ["T", 64]>>()
  expectTypeOf(Tensor.full([2], 1, "bf16")).toEqualTypeOf<T<"bf16", readonly [2]>>()
  expectTypeOf(Tensor.iota("T")).toEqualTypeOf<T<"i32", readonly ["T"]>>()
  expectTypeOf(
    Tensor.fromValues([
      [1, 2],
      [3, 4],
      [5, 6]
    ])
  ).toEqualTypeOf<T<"f32", readonly [3, 2]>>()
  expectTypeOf(Tensor.size(q, 2)).toEqualTypeOf<T<"i32", readonly []>>()
  expectTypeOf(Tensor.tril(x)).toEqualTypeOf<typeof x>()
})

test("normalisations, activations and rope keep the type", () => {
  expectTypeOf(Tensor.layerNorm(q, { gain: row })).toEqualTypeOf<typeof q>()
  expectTypeOf(q.pipe(Tensor.rmsNorm())).toEqualTypeOf<typeof q>()
  expectTypeOf(Tensor.rope(q, { interleaved: true })).toEqualTypeOf<typeof q>()
  expectTypeOf(Tensor.gelu(q)).toEqualTypeOf<typeof q>()
  expectTypeOf(Tensor.silu(ints)).toEqualTypeOf<T<"f32", readonly [2, 3]>>()
})
