import { spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** The mean of what is learned of the edges along a path: `path` [T, T, K] names its edges, `tables` [K, H, N] hold an entry for each. */
export const graphEdges = (
  logits: Tensor.Tensor<"f32">,
  tables: Tensor.Tensor<"f32">,
  path: Tensor.Tensor<"i32">
) => {
  const steps = path.shape.at(-1) as number
  const edges = Array.from({ length: steps }, (_, n) =>
    Tensor.take(Tensor.take(tables, n, 0), Tensor.take(path, n, 2) as typeof path, 1)
  )
  const sum = edges.reduce((a, b) => Tensor.add(a, b) as typeof a)
  return Tensor.add(logits, Tensor.div(sum, steps))
}

export const attention = exhibit({
  about:
    "Nodes of a graph, by the edges of the path between them; here three along a ring. Graphormer, arXiv 2106.05234",
  inputs: { tables: spec("f32", [3, 2, "N"]), path: spec("i32", ["T", "T", 3]) },
  score: (logits, { tables, path }) => graphEdges(logits, tables, path),
  lengths: { T: 12, N: 13 },
  data: {
    tables: Array.from({ length: 78 }, (_, n) => (n % 13 === 12 ? 0 : -1 - (n % 13) / 8)),
    path: Array.from({ length: 432 }, (_, n) => {
      const [from, apart, step] = [Math.floor(n / 36), (Math.floor(n / 3) % 12) - Math.floor(n / 36), n % 3]
      return (apart + 12) % 12 > step ? (from + step) % 12 : 12
    })
  }
})
