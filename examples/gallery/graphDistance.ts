import { spec, Tensor } from "../../src/index.ts"
import { exhibit } from "./exhibit.ts"

/** A learned entry for each head and each length of the shortest path between two nodes: `distance` [T, T] is the graph. */
export const graphDistance = (
  logits: Tensor.Tensor<"f32">,
  table: Tensor.Tensor<"f32">,
  distance: Tensor.Tensor<"i32">
) => Tensor.add(logits, Tensor.take(table, distance, 1))

export const attention = exhibit({
  about:
    "Nodes of a graph, by the length of the path between them; here a ring. Graphormer, Ying et al. 2021, arXiv 2106.05234",
  inputs: { table: spec("f32", [2, "N"]), distance: spec("i32", ["T", "T"]) },
  score: (logits, { table, distance }) => graphDistance(logits, table, distance),
  lengths: { T: 12, N: 7 },
  data: {
    table: Array.from({ length: 14 }, (_, n) => -0.5 * (n % 7)),
    distance: Array.from({ length: 144 }, (_, n) => {
      const apart = Math.abs(Math.floor(n / 12) - (n % 12))
      return Math.min(apart, 12 - apart)
    })
  }
})
