import { expect } from "vitest"
import * as Reference from "../../backends/reference/Reference.ts"
import type * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { spec } from "../../src/spec.ts"
import * as Tensor from "../../src/Tensor.ts"
import * as Arrays from "./arrays.ts"

/** Numbers in row-major order under a shape: what independent formulas are written over. */
export interface Dense {
  readonly shape: ReadonlyArray<number>
  readonly data: ReadonlyArray<number>
}

export const dense = (shape: ReadonlyArray<number>, data: ReadonlyArray<number>): Dense => ({ shape, data })

/** A dense array from a function of its positions. */
export const build = (shape: ReadonlyArray<number>, at: (...position: Array<number>) => number): Dense => {
  const data: Array<number> = []
  const position = shape.map(() => 0)
  const size = shape.reduce((a, b) => a * b, 1)
  for (let i = 0; i < size; i++) {
    data.push(at(...position))
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position[axis] = (position[axis] as number) + 1
      if ((position[axis] as number) < (shape[axis] as number)) break
      position[axis] = 0
    }
  }
  return { shape, data }
}

/** An element by position. */
export const at = (x: Dense, ...position: ReadonlyArray<number>): number => {
  const index = position.reduce((sum, p, axis) => sum * (x.shape[axis] as number) + p, 0)
  return x.data[index] as number
}

/** Seeded random numbers; whole and small where `whole` is set. */
export const randomDense = (seed: number, shape: ReadonlyArray<number>, whole = false): Dense => {
  const random = Arrays.random(seed)
  return build(shape, () => (whole ? random.integer(-4, 4) : 2 * random.next() - 1))
}

/** Arguments of a run: a tensor, and what it holds. */
export interface Bound {
  readonly tensor: Tensor.Tensor
  readonly name: string
  readonly array: HostArray.HostArray
}

let names = 0

/** An argument that holds these numbers; `dims` gives its sizes names. */
export const bound = <D extends DType>(
  dtype: D,
  x: Dense,
  dims: ReadonlyArray<Dim.DimLike> = x.shape
): Bound & { readonly tensor: Tensor.Tensor<D> } => {
  const name = `x${names++}`
  return {
    name,
    tensor: Tensor.input(name, spec(dtype, dims)),
    array: HostArray.fromNumbers(dtype, x.shape, x.data)
  }
}

/** The value of an expression by the reference; in float64 unless asked for less, so that formulas agree to many digits. */
export const run = (
  result: Tensor.Tensor,
  inputs: ReadonlyArray<Bound> = [],
  sizes: Dim.Bindings = {},
  precision: "f32" | "f64" = "f64"
): Dense & { readonly dtype: DType } => {
  const graph = Graph.make(
    [{ name: "out", node: Tensor.nodeOf(result) }],
    inputs.map((x) => Tensor.nodeOf(x.tensor))
  )
  const arrays = inputs.map((x) => x.array)
  const bindings = { ...Reference.bind(graph, arrays), ...sizes }
  const [out] = Reference.evaluate(graph, arrays, bindings, { precision })
  const array = out as HostArray.HostArray
  return { dtype: array.dtype, shape: array.shape, data: [...HostArray.toNumbers(array)] }
}

/** Shapes are equal, and elements to twelve digits of the largest one (or exactly, where they are infinite). */
export const expectDense = (actual: Dense, expected: Dense): void => {
  expect(actual.shape).toEqual(expected.shape)
  const finite = expected.data.filter(Number.isFinite).map(Math.abs)
  const tolerance = 1e-12 * Math.max(1, ...finite)
  const wrong = expected.data.findIndex((e, i) => {
    const a = actual.data[i] as number
    return !(Object.is(a, e) || a === e || Math.abs(a - e) <= tolerance)
  })
  expect(
    wrong,
    `element ${wrong} of [${expected.shape.join(", ")}] is ${actual.data[wrong]}, not ${expected.data[wrong]}`
  ).toBe(-1)
}
