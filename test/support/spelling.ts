import * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import type * as arrays from "./arrays.ts"
import type { N } from "./spell.ts"
import * as s from "./spell.ts"

/** A way to write attention, drawn at random: all of them must fuse to one node. */
export interface Spelling {
  readonly graph: Graph.Graph
  /** The choices made, for the name of a test. */
  readonly words: string
}

/** What each axis of writing offers. */
const ways = {
  layout: ["bhsd", "bshd", "sbhd", "flat"],
  scale: ["none", "scores *", "scores /", "q *", "q /", "k *", "both", "runtime"],
  heads: ["same", "repeat", "tile-new-axis", "gather", "grouped", "one"],
  keys: ["swap", "einsum", "keys first"],
  softmax: ["op", "max", "plain", "two", "safe", "lse", "late"],
  mask: ["none", "causal", "window", "padding", "additive", "segments", "finite", "both"],
  score: ["none", "softcap", "bias", "alibi", "bias, softcap"],
  weights: ["none", "dropout", "select"],
  types: ["f32", "cast up"],
  sink: ["no", "no", "no", "column"]
} as const

type Choices = { readonly [K in keyof typeof ways]: (typeof ways)[K][number] }

const draw = (from: arrays.Random): Choices =>
  Object.fromEntries(
    Object.entries(ways).map(([axis, list]) => [axis, from.pick(list as ReadonlyArray<string>)])
  ) as unknown as Choices

/** One query, key or value tensor in the layout, as [B, H, length, size]. */
const operand = (name: string, heads: number, length: string, size: number, layout: Choices["layout"]): N => {
  switch (layout) {
    case "bhsd":
      return s.input(name, ["B", heads, length, size])
    case "bshd":
      return s.permute(s.input(name, ["B", length, heads, size]), 0, 2, 1, 3)
    case "sbhd":
      return s.permute(s.input(name, [length, "B", heads, size]), 1, 2, 0, 3)
    case "flat":
      return s.permute(
        s.reshape(s.input(name, ["B", length, heads * size]), ["B", length, heads, size]),
        0,
        2,
        1,
        3
      )
  }
}

const merged = (layout: Choices["layout"], out: N): N => {
  const [, heads, , size] = out.type.shape.map((d) => Dim.value(d) ?? 0)
  switch (layout) {
    case "bhsd":
      return out
    case "bshd":
      return s.permute(out, 0, 2, 1, 3)
    case "sbhd":
      return s.permute(out, 2, 0, 1, 3)
    case "flat":
      return s.reshape(s.permute(out, 0, 2, 1, 3), ["B", "T", (heads as number) * (size as number)])
  }
}

const expanded = (x: N, times: number, way: Choices["heads"]): N => {
  const heads = Dim.value(x.type.shape[1] as Dim.Dim) as number
  const [, , length, size] = x.type.shape as readonly [Dim.Dim, Dim.Dim, Dim.Dim, Dim.Dim]
  switch (way) {
    case "repeat":
      return s.repeatHeads(x, times)
    case "tile-new-axis": {
      const parts = Array.from({ length: times }, () => s.reshape(x, ["B", heads, 1, length, size]))
      return s.reshape(s.concat(2, ...parts), ["B", heads * times, length, size])
    }
    case "gather":
      return s.gather(x, s.op("floor_div", s.iota(heads * times), s.constant(times, "i32")), 1)
    case "one":
      return s.broadcast(x, ["B", times, length, size])
    default:
      return x
  }
}

const group = 2
const [queryHeads, depth, width] = [4, 4, 3]
const rows = s.reshape(s.iota("T"), ["T", 1])
const columns = s.reshape(s.iota("S"), [1, "S"])
const minusInfinity = s.constant(-Infinity)

/** Scores before anything but the scale. */
const scored = (c: Choices, q: N, k: N): N => {
  const root = s.constant(0.5)
  const scale = c.scale === "runtime" ? s.input("scale", []) : s.constant(0.25)
  const own =
    c.scale === "q *"
      ? s.mul(q, scale)
      : c.scale === "q /"
        ? s.div(q, s.constant(4))
        : c.scale === "both"
          ? s.mul(root, q)
          : q
  const key = c.scale === "k *" ? s.mul(k, scale) : c.scale === "both" ? s.mul(k, root) : k
  const product =
    c.keys === "swap"
      ? s.matmul(own, s.swap(key))
      : c.keys === "einsum"
        ? s.einsum("bhtd,bhsd->bhts", own, key)
        : s.swap(s.matmul(key, s.swap(own)))
  if (c.scale === "scores *" || c.scale === "runtime") return s.mul(product, scale)
  return c.scale === "scores /" ? s.div(product, s.constant(4)) : product
}

const shaped = (c: Choices, x: N): N => {
  const cap = (y: N): N => s.mul(s.constant(3), s.op("tanh", s.div(y, s.constant(3))))
  const biased = (y: N): N => s.add(s.input("bias", [queryHeads, "T", "S"]), y)
  const slopes = s.reshape(s.input("slopes", [queryHeads]), [queryHeads, 1, 1])
  switch (c.score) {
    case "softcap":
      return cap(x)
    case "bias":
      return biased(x)
    case "bias, softcap":
      return cap(biased(x))
    case "alibi":
      return s.add(x, s.mul(slopes, s.cast(s.sub(columns, rows), "f32")))
    default:
      return x
  }
}

const causal = s.op("ge", rows, columns)

const masked = (c: Choices, x: N): N => {
  const near = s.op("lt", s.sub(rows, columns), s.constant(2, "i32"))
  const padding = s.op(
    "lt",
    s.reshape(s.iota("S"), [1, 1, 1, "S"]),
    s.reshape(s.input("lengths", ["B"], "i32"), ["B", 1, 1, 1])
  )
  switch (c.mask) {
    case "causal":
      return s.select(causal, x, minusInfinity)
    case "window":
      return s.select(s.op("and", causal, near), x, minusInfinity)
    case "padding":
      return s.select(padding, x, minusInfinity)
    case "additive":
      return s.add(s.select(causal, s.constant(0), minusInfinity), x)
    case "segments": {
      const ids = (name: string, shape: ReadonlyArray<Dim.DimLike>) =>
        s.reshape(s.input(name, ["B", shape[2] === "T" ? "T" : "S"], "i32"), shape)
      return s.select(
        s.op("ne", ids("query ids", ["B", 1, "T", 1]), ids("key ids", ["B", 1, 1, "S"])),
        minusInfinity,
        x
      )
    }
    case "finite":
      return s.select(padding, x, s.constant(-1e9))
    case "both":
      return s.select(padding, s.select(causal, x, minusInfinity), minusInfinity)
    default:
      return x
  }
}

/** Masks that may leave a row without keys: spellings that divide by the sum make NaN of it, which fusion may refine. */
const mayEmpty = new Set<string>(["window", "padding", "segments", "both"])

/** Weights, and what the product with the values is still divided by. */
const normalised = (c: Choices, x: N): { readonly weights: N; readonly divisor?: N } => {
  const sum = (e: N): N => s.reduce("reduce_sum", e)
  const max = s.reduce("reduce_max", x)
  // exp(-1e9) is 0: without a maximum, finite fills are no better.
  const makesNaN = mayEmpty.has(c.mask) ? c.softmax !== "safe" : c.mask === "finite" && c.softmax === "plain"
  switch (makesNaN ? "op" : c.softmax) {
    case "max": {
      const e = s.exp(s.sub(x, max))
      return { weights: s.div(e, sum(e)) }
    }
    case "plain":
      return { weights: s.div(s.exp(x), sum(s.exp(x))) }
    case "two": {
      const e = s.op("exp2", s.mul(s.sub(x, max), s.constant(Math.LOG2E)))
      return { weights: s.mul(e, s.div(s.constant(1), sum(e))) }
    }
    case "safe": {
      const empty = s.op("eq", max, minusInfinity)
      return { weights: s.select(empty, s.constant(0), s.softmax(x)) }
    }
    case "lse":
      return { weights: s.exp(s.sub(x, s.reshape(s.logsumexp(x), ["B", queryHeads, "T", 1]))) }
    case "late": {
      const e = s.exp(s.sub(x, max))
      return { weights: e, divisor: sum(e) }
    }
    default:
      return { weights: s.softmax(x) }
  }
}

const dropped = (c: Choices, p: N): N => {
  if (c.weights === "dropout") return s.mul(p, s.input("dropout", ["B", 1, "T", "S"]))
  return c.weights === "select"
    ? s.mul(s.select(s.input("kept", ["T", "S"], "bool"), p, s.constant(0)), s.constant(2))
    : p
}

/** A spelling and its graph: symbols B, T and S; 4 query heads of 4 features, values of 3. */
export const spelling = (from: arrays.Random): Spelling => {
  const c = draw(from)
  const keyHeads = c.heads === "same" ? queryHeads : c.heads === "one" ? 1 : queryHeads / group
  const q = operand("q", queryHeads, "T", depth, c.layout)
  const k = operand("k", keyHeads, "S", depth, c.layout)
  const v = operand("v", keyHeads, "S", width, c.layout)
  const times = queryHeads / keyHeads
  const grouped = c.heads === "grouped"
  const up = (x: N): N => (c.types === "cast up" ? s.cast(s.cast(x, "f16"), "f32") : x)
  const scores = grouped
    ? s.reshape(s.einsum("bkgtd,bksd->bkgts", s.reshape(q, ["B", keyHeads, times, "T", depth]), k), [
        "B",
        queryHeads,
        "T",
        "S"
      ])
    : scored(c, up(q), expanded(up(k), times, c.heads))
  const x = masked(c, shaped(c, scores))
  const column = s.broadcast(s.reshape(s.input("sink", [queryHeads]), [queryHeads, 1, 1]), [
    "B",
    queryHeads,
    "T",
    1
  ])
  const { weights, divisor } =
    c.sink === "column"
      ? { weights: s.slice(s.softmax(s.concat(3, x, column)), 3, 0, "S"), divisor: undefined }
      : { divisor: undefined, ...normalised(c, x) }
  const p = dropped(c, weights)
  const out = grouped
    ? s.reshape(s.einsum("bkgts,bkse->bkgte", s.reshape(p, ["B", keyHeads, times, "T", "S"]), v), [
        "B",
        queryHeads,
        "T",
        width
      ])
    : s.matmul(p, expanded(up(v), times, c.heads))
  return {
    graph: s.graph(merged(c.layout, divisor === undefined ? out : s.div(out, divisor))),
    words: Object.values(c).join(" / ")
  }
}
