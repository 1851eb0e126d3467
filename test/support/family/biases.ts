import * as s from "../spell.ts"
import { attend, becomes, columns, hide, k, q, row, scale, scores, type Table } from "./words.ts"

/** Models that are known by their biases: each is read where it is, none is stretched to the scores. */

const clipped = (x: s.N, least: number, most: number): s.N =>
  s.op("min", s.op("max", x, s.constant(least, "i32")), s.constant(most, "i32"))
const distance = s.sub(s.iota("S"), row)

/**
 * T5: half of the buckets for keys ahead, the near ones exact, the far ones by the logarithm of the distance. A little more than it, since
 * devices round logarithms of powers to either side of a bucket.
 */
const bucket = (x: s.N): s.N => {
  const ahead = s.op("gt", x, s.constant(0, "i32"))
  const far = s.op("abs", x)
  const log = s.op("log", s.div(s.cast(s.op("max", far, s.constant(1, "i32")), "f32"), s.constant(4)))
  const large = s.add(
    s.constant(4, "i32"),
    s.cast(s.add(s.mul(log, s.constant(4 / Math.log(16))), s.constant(0.01)), "i32")
  )
  const near = s.select(s.op("lt", far, s.constant(4, "i32")), far, clipped(large, 0, 7))
  return s.add(s.select(ahead, s.constant(8, "i32"), s.constant(0, "i32")), near)
}

/** Evoformer: rows of an alignment attend over its columns, N of them; gated, with a bias for padding and one for pairs. */
const five = (name: string, ...dims: ReadonlyArray<string | number>): s.N => s.input(name, dims)
const [qe, ke, ve] = ["q", "k", "v"].map((name) => five(name, "B", "N", "L", 2, 8)) as [s.N, s.N, s.N]
const padding = five("padding", "B", "N", 1, 1, "L")
const pairs = five("pairs", "B", 1, 2, "L", "L")
const rowwise = s.add(s.add(s.mul(s.einsum("bnihd,bnjhd->bnhij", qe, ke), scale), padding), pairs)
const gate = s.op("sigmoid", five("gate", "B", "N", "L", 2, 8))
const columnwise = s.einsum("bnihd,bmihd->bihnm", qe, ke)

/** Invariant point attention: squared distances of points as a bias, and two streams of values. */
const [qp, kp] = [five("qp", "B", 4, "T", 5, 3), five("kp", "B", 4, "S", 5, 3)]
const apart = s.sub(s.reshape(qp, ["B", 4, "T", 1, 5, 3]), s.reshape(kp, ["B", 4, 1, "S", 5, 3]))
const squares = columns(s.mul(apart, apart), 4, 5)
const points = s.input("vp", ["B", 4, "S", 15])
const invariant = s.add(
  s.sub(scores, s.mul(s.reshape(s.input("weight", [4]), [4, 1, 1]), squares)),
  s.permute(s.input("pair", ["B", "T", "S", 4]), 0, 3, 1, 2)
)

/** Graphormer: a table for the number of steps between nodes, and the mean of what edges on the way say. */
const steps = s.input("steps", ["B", "T", "S"], "i32")
const spatial = s.permute(s.gather(s.input("spatial", [10, 4]), steps, 0), 0, 3, 1, 2)
const edges = s.input("edges", ["B", "T", "S", 3], "i32")
const edge = [0, 1, 2]
  .map((n) =>
    s.gather(s.input(`edge${n}`, [7, 4]), s.reshape(s.slice(edges, 3, n, n + 1), ["B", "T", "S"]), 0)
  )
  .reduce(s.add)

const norm = (x: s.N): s.N => s.op("sqrt", s.reduce("reduce_sum", s.mul(x, x)))

export const biases: Table = {
  "T5: buckets of distances": becomes(
    attend(s.add(scores, s.gather(s.input("table", [4, 16]), bucket(distance), 1)))
  ),
  "Evoformer: rows, gated": becomes(s.mul(s.einsum("bnhij,bnjhd->bnihd", s.softmax(rowwise), ve), gate)),
  "Evoformer: columns": becomes(s.einsum("bihnm,bmihd->bnihd", s.softmax(columnwise), ve)),
  "Graphormer: steps and edges": becomes(
    attend(s.add(s.add(scores, spatial), s.permute(s.mul(edge, s.constant(1 / 3)), 0, 3, 1, 2)))
  ),
  "ALiBi, with a softcap after it": becomes(
    attend(
      hide(
        s.op(
          "tanh",
          s.add(scores, s.mul(s.reshape(s.input("slopes", [4]), [4, 1, 1]), s.cast(distance, "f32")))
        )
      )
    )
  ),
  "a window of tokens of images (Swin)": becomes(
    s.matmul(
      s.softmax(
        s.add(
          s.add(
            s.matmul(five("q", "B", "N", 2, 9, 8), s.swap(five("k", "B", "N", 2, 9, 8))),
            s.gather(five("relative", 2, 25), s.input("places", [9, 9], "i32"), 1)
          ),
          five("shift", "N", 1, 9, 9)
        )
      ),
      five("v", "B", "N", 2, 9, 8)
    )
  ),
  "one head, no batch": becomes(
    s.matmul(
      s.softmax(s.matmul(s.input("q", ["T", 8]), s.swap(s.input("k", ["S", 8])))),
      s.input("v", ["S", 8])
    )
  ),
  "cosine: queries and keys over their norms": becomes(
    attend(s.div(s.matmul(q, s.swap(k)), s.op("max", s.mul(norm(q), s.swap(norm(k))), s.constant(1e-6))))
  ),
  "points that are near (IPA)": becomes(
    s.concat(3, attend(invariant), attend(invariant, points)),
    ["result", "result"],
    1
  )
}
