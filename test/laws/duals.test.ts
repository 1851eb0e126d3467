import { pipe } from "effect"
import { expect, test } from "vitest"
import * as Graph from "../../ir/Graph.ts"
import * as Attention from "../../src/Attention.ts"
import * as Mask from "../../src/Mask.ts"
import { spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"

const x: Tensor.Tensor<"f32"> = Tensor.input("x", spec("f32", ["B", 4, "T", 8]))
const y: Tensor.Tensor<"f32"> = Tensor.input("y", spec("f32", ["B", 4, "T", 8]))
const ids: Tensor.Tensor<"i32"> = Tensor.input("ids", spec("i32", ["B", 4, "T", 8]))
const bools: Tensor.Tensor<"bool"> = Tensor.input("bools", spec("bool", ["B", 4, "T", 8]))
const vector: Tensor.Tensor<"i32"> = Tensor.input("vector", spec("i32", [3]))

/** Data-first and data-last spellings of every function that has both. */
const pairs: { readonly [name: string]: readonly [Tensor.Tensor, Tensor.Tensor] } = {
  add: [Tensor.add(x, y), x.pipe(Tensor.add(y))],
  "add a number": [Tensor.add(x, 2), x.pipe(Tensor.add(2))],
  pow: [Tensor.pow(x, 3), x.pipe(Tensor.pow(3))],
  clip: [Tensor.clip(x, { low: 0 }), x.pipe(Tensor.clip({ low: 0 }))],
  cast: [Tensor.cast(x, "f16"), x.pipe(Tensor.cast("f16"))],
  lt: [Tensor.lt(x, y), x.pipe(Tensor.lt(y))],
  and: [Tensor.and(bools, true), bools.pipe(Tensor.and(true))],
  where: [Tensor.where(bools, x, 0), bools.pipe(Tensor.where(x, 0))],
  matmul: [Tensor.matmul(x, Tensor.transpose(y)), x.pipe(Tensor.matmul(Tensor.transpose(y)))],
  einsum: [Tensor.einsum("bhqd,bhkd->bhqk", x, y), x.pipe(Tensor.einsum("bhqd,bhkd->bhqk", y))],
  transpose: [Tensor.transpose(x), x.pipe(Tensor.transpose())],
  "transpose uncalled": [Tensor.transpose(x), x.pipe(Tensor.transpose)],
  "transpose by order": [Tensor.transpose(x, [0, 2, 1, 3]), x.pipe(Tensor.transpose([0, 2, 1, 3]))],
  permute: [Tensor.permute(x, [3, 2, 1, 0]), x.pipe(Tensor.permute([3, 2, 1, 0]))],
  swapAxes: [Tensor.swapAxes(x, 0, 1), x.pipe(Tensor.swapAxes(0, 1))],
  moveAxis: [Tensor.moveAxis(x, 0, -1), x.pipe(Tensor.moveAxis(0, -1))],
  reshape: [Tensor.reshape(x, [-1]), x.pipe(Tensor.reshape([-1]))],
  flatten: [Tensor.flatten(x, 1, 2), x.pipe(Tensor.flatten(1, 2))],
  expandDims: [Tensor.expandDims(x, 1), x.pipe(Tensor.expandDims(1))],
  squeeze: [Tensor.squeeze(Tensor.expandDims(x, 1), 1), x.pipe(Tensor.expandDims(1), Tensor.squeeze(1))],
  broadcastTo: [Tensor.broadcastTo(x, [2, "B", 4, "T", 8]), x.pipe(Tensor.broadcastTo([2, "B", 4, "T", 8]))],
  repeatHeads: [Tensor.repeatHeads(x, 2), x.pipe(Tensor.repeatHeads(2))],
  repeat: [Tensor.repeat(x, 2, 1), x.pipe(Tensor.repeat(2, 1))],
  tile: [Tensor.tile(x, [2, 1]), x.pipe(Tensor.tile([2, 1]))],
  slice: [Tensor.slice(x, 1, { start: 1 }), x.pipe(Tensor.slice(1, { start: 1 }))],
  flip: [Tensor.flip(x, 1), x.pipe(Tensor.flip(1))],
  pad: [Tensor.pad(vector, [[1, 2]]), vector.pipe(Tensor.pad([[1, 2]]))],
  concat: [Tensor.concat([x, y], 2), pipe([x, y], Tensor.concat(2))],
  stack: [Tensor.stack([x, y], 1), pipe([x, y], Tensor.stack(1))],
  split: [Tensor.split(x, 2, 1)[0], x.pipe(Tensor.split(2, 1))[0]],
  take: [Tensor.take(x, vector, 1), x.pipe(Tensor.take(vector, 1))],
  gather: [Tensor.gather(x, vector, 1), x.pipe(Tensor.gather(vector, 1))],
  takeAlongAxis: [Tensor.takeAlongAxis(x, ids, 1), x.pipe(Tensor.takeAlongAxis(ids, 1))],
  updateSlice: [Tensor.updateSlice(x, y, 0, { axis: 2 }), x.pipe(Tensor.updateSlice(y, 0, { axis: 2 }))],
  scatter: [Tensor.scatter(x, y, [vector]), x.pipe(Tensor.scatter(y, [vector]))],
  oneHot: [Tensor.oneHot(vector, 5), vector.pipe(Tensor.oneHot(5))],
  size: [Tensor.size(x, 2), x.pipe(Tensor.size(2))],
  positions: [Tensor.positions(x, 2), x.pipe(Tensor.positions(2))],
  tril: [Tensor.tril(x, 1), x.pipe(Tensor.tril(1))],
  triu: [Tensor.triu(x), x.pipe(Tensor.triu())],
  sum: [Tensor.sum(x, [1, 2], { keepDims: true }), x.pipe(Tensor.sum([1, 2], { keepDims: true }))],
  "sum uncalled": [Tensor.sum(x), x.pipe(Tensor.sum)],
  argmax: [Tensor.argmax(x, 1), x.pipe(Tensor.argmax(1))],
  cumsum: [Tensor.cumsum(x, 1), x.pipe(Tensor.cumsum(1))],
  softmax: [Tensor.softmax(x), x.pipe(Tensor.softmax())],
  "softmax uncalled": [Tensor.softmax(x, -1), x.pipe(Tensor.softmax)],
  logSoftmax: [Tensor.logSoftmax(x, 1), x.pipe(Tensor.logSoftmax(1))],
  logSumExp: [Tensor.logSumExp(x, 1), x.pipe(Tensor.logSumExp(1))],
  layerNorm: [Tensor.layerNorm(x, { axes: 1 }), x.pipe(Tensor.layerNorm({ axes: 1 }))],
  rmsNorm: [Tensor.rmsNorm(x), x.pipe(Tensor.rmsNorm())],
  gelu: [Tensor.gelu(x, { approximate: "tanh" }), x.pipe(Tensor.gelu({ approximate: "tanh" }))],
  rope: [Tensor.rope(x, { interleaved: true }), x.pipe(Tensor.rope({ interleaved: true }))],
  dropout: [Tensor.dropout(x, { rate: 0.5, seed: 1 }), x.pipe(Tensor.dropout({ rate: 0.5, seed: 1 }))],
  "Mask.apply": [Mask.apply(x, Mask.causal, -1), x.pipe(Mask.apply(Mask.causal, -1))],
  "Mask.toTensor": [Mask.toTensor(Mask.causal, [3, 4]), Mask.causal.pipe(Mask.toTensor([3, 4]))],
  attention: [
    Attention.scaledDotProductAttention(x, y, y, { mask: "causal" }),
    x.pipe(Attention.scaledDotProductAttention(y, y, { mask: "causal" }))
  ]
}

const key = (t: Tensor.Tensor): string => Graph.key(Graph.make([{ name: "out", node: Tensor.nodeOf(t) }]))

test.each(Object.entries(pairs))("%s builds the same graph, data first or last", (_, [first, last]) => {
  expect(key(last)).toBe(key(first))
})
