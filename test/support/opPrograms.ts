import type * as DType from "../../ir/DType.ts"
import { type Spec, spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import * as arrays from "./arrays.ts"

/** Functions of one number, of any sign. */
export const unary = [
  ...["neg", "abs", "sign", "floor", "ceil", "round", "exp", "exp2"],
  ...["sin", "cos", "tanh", "erf", "sigmoid"]
]

/** Programs without attention, at lengths B and T. */
export interface OpProgram {
  readonly signature: { readonly [name: string]: Spec }
  readonly build: (inputs: { readonly [name: string]: Any }) => { readonly [name: string]: Any }
}

type Any = Tensor.Tensor
type Positions = Tensor.Tensor<"i32">

const program = <const N extends string>(
  signature: { readonly [K in N]: Spec },
  build: (inputs: { readonly [K in N]: Any }) => { readonly [name: string]: Any }
): OpProgram => ({ signature, build: build as OpProgram["build"] })

/** What models are made of, each over the dtypes it is used with. */
export const blocks: { readonly [name: string]: OpProgram } = {
  "feed-forward with norm and residual, f32": program(
    {
      x: spec("f32", ["B", "T", 12]),
      up: spec("f32", [12, 20]),
      down: spec("f32", [20, 12]),
      bias: spec("f32", [20]),
      gain: spec("f32", [12])
    },
    ({ x, up, down, bias, gain }) => {
      const hidden = Tensor.gelu(Tensor.add(Tensor.matmul(Tensor.rmsNorm(x, { gain }), up), bias))
      return { out: Tensor.add(x, Tensor.matmul(hidden, down)) }
    }
  ),
  "gated feed-forward, f16": program(
    {
      x: spec("f16", ["T", 12]),
      gate: spec("f16", [12, 7]),
      up: spec("f16", [12, 7]),
      down: spec("f16", [7, 12])
    },
    ({ x, gate, up, down }) => ({
      out: Tensor.matmul(Tensor.mul(Tensor.silu(Tensor.matmul(x, gate)), Tensor.matmul(x, up)), down)
    })
  ),
  "embedding, positions, norm, bf16": program(
    {
      ids: spec("i32", ["B", "T"]),
      table: spec("bf16", [11, 8]),
      gain: spec("bf16", [8]),
      shift: spec("bf16", [8])
    },
    ({ ids, table, gain, shift }) => {
      const embedded = Tensor.take(table, ids as Positions, 0)
      return { out: Tensor.layerNorm(Tensor.rope(embedded), { gain, bias: shift }) }
    }
  ),
  "rotation of pairs from an offset for each batch entry, f16": program(
    { x: spec("f16", ["B", 3, "T", 10]), offset: spec("i32", ["B"]) },
    ({ x, offset }) => ({ out: Tensor.rope(x, { dims: 6, interleaved: true, offset }) })
  ),
  "cache as a ring, bf16": program(
    {
      cache: spec("bf16", ["B", 2, 13, 3]),
      fresh: spec("bf16", ["B", 2, "T", 3]),
      start: spec("i32", ["B"])
    },
    ({ cache, fresh, start }) => {
      const written = Tensor.updateSlice(cache, fresh, Tensor.add(start, 9) as Positions, {
        axis: 2,
        wrap: true
      })
      return { cache: written, sums: Tensor.sum(written, [1, 2]) }
    }
  ),
  "cross entropy, f32": program(
    { logits: spec("f32", ["B", "T", 9]), labels: spec("i32", ["B", "T"]) },
    ({ logits, labels }) => {
      const chosen = Tensor.takeAlongAxis(
        Tensor.logSoftmax(logits, -1),
        Tensor.expandDims(labels, -1) as Positions,
        -1
      )
      return { each: Tensor.neg(Tensor.squeeze(chosen, -1)), best: Tensor.argmax(logits, -1) }
    }
  ),
  "experts chosen by one-hot, with their order, u32 and f32": program(
    { logits: spec("f32", ["T", 5]), x: spec("f32", ["T", 6]), weights: spec("f32", [5, 6, 4]) },
    ({ logits, x, weights }) => {
      const choice = Tensor.oneHot(Tensor.argmax(logits, -1), 5)
      const rank = Tensor.cumsum(Tensor.cast(choice, "u32"), 0)
      return { out: Tensor.einsum("te,td,edf->tf", choice, x, weights), rank }
    }
  ),
  "statistics over several axes, f16": program({ x: spec("f16", ["B", "T", 7]) }, ({ x }) => ({
    mean: Tensor.mean(x, [0, 2]),
    spread: Tensor.variance(x, -1, { keepDims: true }),
    range: Tensor.sub(Tensor.max(x, [1, 2]), Tensor.min(x, [1, 2]))
  })),
  "a moving average by padding and slices, f32": program({ x: spec("f32", ["T", 5]) }, ({ x }) => {
    const padded = Tensor.pad(x, [
      [2, 2],
      [0, 0]
    ])
    const parts = [0, 2, 4].map((start) =>
      Tensor.take(padded, Tensor.add(Tensor.positions(x, 0), start) as Positions, 0)
    )
    return { out: Tensor.mean(Tensor.stack(parts, 0), 0) }
  }),
  "integers: hashes, quotients, choices": program(
    { a: spec("i32", ["B", "T"]), b: spec("i32", ["T"]), c: spec("u32", ["B", "T"]) },
    ({ a, b, c }) => {
      const mixed = Tensor.add(Tensor.mul(a, 31), b)
      const bucket = Tensor.mod(Tensor.floorDiv(mixed, 3), 7)
      return {
        bucket,
        bits: Tensor.xor(c as Tensor.Tensor<"u32">, Tensor.mul(c, 2654435761)),
        any: Tensor.any(Tensor.gt(bucket, 5), -1),
        chosen: Tensor.where(Tensor.and(Tensor.ge(a, b), Tensor.ne(bucket, 0)), a, Tensor.neg(b)),
        sums: Tensor.sum(mixed, 0)
      }
    }
  ),
  "matrices that broadcast, and their traces, f32": program(
    { a: spec("f32", ["B", 1, "T", 5]), b: spec("f32", [3, 5, "T"]) },
    ({ a, b }) => {
      const products = Tensor.matmul(a, b)
      return { rows: Tensor.logSumExp(products, -1), traces: Tensor.einsum("bhtt->bh", products) }
    }
  ),
  "one value used by several kernels, f32": program(
    { x: spec("f32", ["B", "T"]), w: spec("f32", ["T", "T"]) },
    ({ x, w }) => {
      const hidden = Tensor.tanh(Tensor.matmul(x, w))
      const weights = Tensor.softmax(hidden, 0)
      return {
        out: Tensor.matmul(weights, Tensor.transpose(w)),
        hidden,
        scaled: Tensor.div(hidden, Tensor.add(1, Tensor.sum(Tensor.abs(hidden), -1, { keepDims: true })))
      }
    }
  )
}

/** One step that moves elements. Symbolic axes grow, known ones are cut too. */
const moved = (from: arrays.Random, x: Any): Any => {
  const last = x.rank - 1
  const axis = from.integer(0, last)
  const dims = Tensor.nodeOf(x).type.shape
  const long = x.shape[axis]
  const ways: ReadonlyArray<() => Any> = [
    () => Tensor.swapAxes(x, axis, from.integer(0, last)),
    () => (last > 0 ? Tensor.flatten(x, last - 1, last) : x),
    () => (last < 3 ? Tensor.expandDims(x, axis) : x),
    () => Tensor.repeat(x, 2, axis),
    () => Tensor.tile(x, [2, ...Array.from({ length: last }, () => 1)]),
    () => Tensor.concat([x, Tensor.flip(x, axis)], axis),
    () => (typeof long === "number" && long > 2 ? Tensor.slice(x, axis, { start: 1, step: 2 }) : x),
    () =>
      Tensor.pad(
        x,
        x.shape.map((_, i) => (i === axis ? [1, 2] : [0, 0]))
      ),
    () => Tensor.take(x, Tensor.minimum(Tensor.iota(dims[axis] as never), 3) as Positions, axis),
    () => (last < 2 ? Tensor.broadcastTo(x, [2, ...dims]) : x)
  ]
  return from.pick(ways)()
}

/** Elements that only move: views, joins, cuts and look-ups in a row. Whatever the dtype, nothing is rounded. */
export const movement = (dtype: DType.DType, seed: number): OpProgram =>
  program({ x: spec(dtype, ["T", 3, "B"]), y: spec(dtype, [5, "T"]) }, ({ x, y }) => {
    const from = arrays.random(seed * 104729 + 7)
    let value = x
    for (let n = 0; n < 6; n++) value = moved(from, value)
    const other = moved(from, y)
    return { out: value, other: Tensor.concat([other, other], 0) }
  })
