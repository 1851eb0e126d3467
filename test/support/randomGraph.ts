import * as Dim from "../../ir/Dim.ts"
import * as Graph from "../../ir/Graph.ts"
import type * as Node from "../../ir/Node.ts"
import * as Shape from "../../ir/Shape.ts"
import * as arrays from "./arrays.ts"

/**
 * A random program over matrices [T, S], [T, 4], rows and scalars: elementwise work, views, reductions, normalisations and
 * contractions, with values used several times and several results. The same seed gives the same program.
 */
export const randomGraph = (seed: number, steps = 18): Graph.Graph => {
  const from = arrays.random(seed)
  const build = Graph.builder()
  const input = (name: string, dims: ReadonlyArray<Dim.DimLike>): Node.Node =>
    build.add("input", [], { name, type: { dtype: "f32", shape: Shape.from(dims) } })
  const values: Array<Node.Node> = [
    input("x", ["T", "S"]),
    input("y", ["T", "S"]),
    input("z", ["T", 4]),
    input("w", ["S", 4]),
    input("r", ["S"]),
    input("c", [])
  ]
  for (let step = 0; step < steps; step++) {
    const node = randomStep(from, build, values)
    if (node !== undefined && !values.includes(node)) values.push(node)
  }
  const last = values.slice(-1)
  const others = values.filter((v) => v.op !== "input" && from.next() < 0.15)
  const results = [...new Set([...others, ...last])]
  return Graph.make(results.map((node, i) => ({ name: `out${i}`, node })))
}

const randomStep = (
  from: arrays.Random,
  build: Graph.Builder,
  values: ReadonlyArray<Node.Node>
): Node.Node | undefined => {
  const x = from.pick(values)
  const shape = x.type.shape
  const alike = values.filter((v) => Shape.equals(v.type.shape, shape))
  const last = shape.length - 1
  switch (from.integer(0, 13)) {
    case 0:
      return build.add("neg", [x], {})
    case 1:
    case 2:
      // Bounded, so that chains of exponentials stay finite.
      return build.add("exp", [build.add("neg", [build.add("abs", [x], {})], {})], {})
    case 3:
    case 4:
      return build.add("add", [x, from.pick(alike)], {})
    case 5:
      return build.add("mul", [x, from.pick(alike)], {})
    case 6:
      return build.add(
        "mul",
        [x, build.add("constant", [], { values: [0.5], type: { dtype: "f32", shape: [] } })],
        {}
      )
    case 7: {
      const perm = shape.map((_, axis) => last - axis)
      return shape.length === 2 ? build.add("transpose", [x], { perm }) : undefined
    }
    case 8:
      return shape.length > 0 ? build.add("softmax", [x], { axis: last }) : undefined
    case 9:
      return shape.length > 0 ? build.add("reduce_sum", [x], { axes: [last] }) : undefined
    case 10:
      return shape.length > 0 ? build.add("rms_norm", [x], { axis: last, epsilon: 0.1 }) : undefined
    case 11: {
      // A row or column against a matrix.
      if (shape.length !== 1) return undefined
      const matrix = values.find(
        (v) => v.type.shape.length === 2 && Dim.equals(v.type.shape[1] as Dim.Dim, shape[0] as Dim.Dim)
      )
      return matrix === undefined ? undefined : build.add("add", [matrix, x], {})
    }
    case 12: {
      const other = values.find(
        (v) =>
          v.type.shape.length === 2 &&
          shape.length === 2 &&
          Dim.equals(v.type.shape[0] as Dim.Dim, shape[1] as Dim.Dim)
      )
      const attrs = { lhsBatch: [], rhsBatch: [], lhsContract: [1], rhsContract: [0] }
      return other === undefined ? undefined : build.add("dot", [x, other], attrs)
    }
    default: {
      if (shape.length === 0) return undefined
      const [size, ...rest] = shape as readonly [Dim.Dim, ...ReadonlyArray<Dim.Dim>]
      return build.add("reshape", [build.add("concat", [x, x], { axis: 0 })], {
        shape: [Dim.mul(Dim.from(2), size), ...rest]
      })
    }
  }
}
