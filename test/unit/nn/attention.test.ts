import { describe, expect, it } from "vitest"
import * as Graph from "../../../ir/Graph.ts"
import * as Mask from "../../../src/Mask.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { nodesOf, through, toFusion } from "../../support/fusing.ts"
import { attend, type Linear, type Steps } from "../../support/nn/attend.ts"
import {
  at,
  type Bound,
  bound,
  type Dense,
  dense,
  expectDense,
  randomDense,
  run
} from "../../support/tensors.ts"

const [B, T, S] = [2, 5, 7]

interface Case {
  readonly config: Omit<nn.AttentionConfig, "features" | "dtype">
  /** What a call brings besides queries, keys and values. */
  readonly inputs?: (bind: (x: Bound) => Tensor.Tensor) => Partial<nn.AttentionInputs>
  readonly steps?: (values: { readonly [name: string]: Dense }, x: Operands) => Steps
  readonly self?: boolean
}

interface Operands {
  readonly q: Dense
}

const features = 12
const causal = (_b: number, _h: number, i: number, j: number): boolean => j <= i
const keep = randomDense(5, [B, S]).data.map((x) => (x > -0.5 ? 1 : 0))
const drop = randomDense(6, [T, S]).data.map((x) => (x > -0.5 ? 1 : 0))
const added = randomDense(7, [B, 4, T, S])
const sizes: { readonly [symbol: string]: number } = { B, T, S }
const bools = (dims: ReadonlyArray<string>, data: ReadonlyArray<number>) => {
  const shape = dims.map((d) => sizes[d] as number)
  return bound("bool", dense(shape, data), dims)
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

const cases: { readonly [name: string]: Case } = {
  "four heads": { config: { heads: 4 } },
  "four heads on two key heads": { config: { heads: 4, kvHeads: 2 } },
  "other sizes everywhere": {
    config: {
      heads: 4,
      kvHeads: 1,
      headSize: 5,
      valueHeadSize: 2,
      keyFeatures: 12,
      valueFeatures: 12,
      outFeatures: 9,
      bias: { query: false, out: false }
    }
  },
  "a scale and a softcap": {
    config: { heads: 4, scale: 0.7, softcap: 2 },
    steps: () => ({ scale: 0.7, score: (x) => 2 * Math.tanh(x / 2) })
  },
  "causal, counted from the start": {
    config: { heads: 4, causal: "top-left" },
    steps: () => ({ visible: causal })
  },
  "causal, counted from the end": {
    config: { heads: 4, causal: true },
    steps: () => ({ visible: (_b, _h, i, j) => j <= i + S - T })
  },
  "a window": {
    config: { heads: 4, window: [2, 1] },
    steps: () => ({ visible: (_b, _h, i, j) => j >= i + 2 - 2 && j <= i + 2 + 1 })
  },
  "key padding": {
    config: { heads: 4 },
    inputs: (bind) => ({ keyMask: bind(bools(["B", "S"], keep)) }),
    steps: () => ({ visible: (b, _h, _i, j) => keep[b * S + j] === 1 })
  },
  "query rows that take no part, a bool mask, a mask by rule": {
    config: { heads: 4, kvHeads: 2, causal: "top-left" },
    inputs: (bind) => ({
      queryMask: bind(bools(["B", "T"], keep.slice(0, B * T))),
      mask: bind(bools(["T", "S"], drop))
    }),
    steps: () => ({
      visible: (b, h, i, j) => keep[b * T + i] === 1 && drop[i * S + j] === 1 && causal(b, h, i, j)
    })
  },
  "a float mask is added": {
    config: { heads: 4 },
    inputs: (bind) => ({ mask: bind(bound("f64", added, ["B", 4, "T", "S"])) }),
    steps: () => ({ score: (x, b, h, i, j) => x + at(added, b, h, i, j) })
  },
  "a mask of ours, and a finite fill": {
    config: { heads: 4, fill: -3 },
    inputs: () => ({ mask: Mask.prefix(3) }),
    steps: () => ({ visible: (_b, _h, _i, j) => j < 3, fill: -3 })
  },
  "lengths of queries and keys": {
    config: { heads: 4 },
    inputs: (bind) => ({
      keyLengths: bind(bound("i32", dense([B], [3, 7]), ["B"])),
      queryLengths: bind(bound("i32", dense([B], [5, 2]), ["B"]))
    }),
    steps: () => ({ visible: (b, _h, i, j) => j < ([3, 7][b] as number) && i < ([5, 2][b] as number) })
  },
  sinks: {
    config: { heads: 4, sinks: true },
    steps: (p) => ({ sink: (h) => at(p.sinks as Dense, h) })
  },
  "a learned key and a key of zeros, with every mask": {
    config: { heads: 4, kvHeads: 2, extraKey: true, zeroKey: true, causal: true },
    inputs: (bind) => ({ keyMask: bind(bools(["B", "S"], keep)), mask: bind(bools(["T", "S"], drop)) }),
    steps: (p) => ({
      extra: [
        (side, h, d) => at(p[side === "key" ? "extraKey" : "extraValue"] as Dense, 0, h, 0, d),
        () => 0
      ],
      visible: (b, _h, i, j) => j >= S || (keep[b * S + j] === 1 && drop[i * S + j] === 1 && j <= i + S - T)
    })
  },
  "a gate": {
    config: { heads: 4, gate: true },
    steps: (p, { q }) => ({
      gate: (b, i, e) => {
        const weight = p["gate.weight"] as Dense
        let sum = at(p["gate.bias"] as Dense, e)
        for (let f = 0; f < features; f++) sum += at(weight, e, f) * at(q, b, i, f)
        return sigmoid(sum)
      }
    })
  },
  "heads normalised by their root mean square": {
    config: { heads: 4, qkNorm: "rms", qkNormEpsilon: 1e-3 },
    steps: (p) => ({
      turn: (head, _, of) => {
        const mean = head.reduce((s, x) => s + x * x, 0) / head.length
        const gain = p[`${of}Norm.weight`] as Dense
        return head.map((x, d) => (x / Math.sqrt(mean + 1e-3)) * at(gain, d))
      }
    })
  },
  "rotated heads": {
    config: { heads: 3, rope: { base: 100, dims: 2 } },
    steps: () => ({
      turn: ([x, y, ...rest], position) => {
        const [c, s] = [Math.cos(position), Math.sin(position)]
        return [(x as number) * c - (y as number) * s, (y as number) * c + (x as number) * s, ...rest]
      }
    })
  },
  "slopes of ALiBi, and a score of one's own": {
    config: { heads: 4, alibi: true, causal: true, score: Score.softcap(2), sinks: true },
    steps: ({ sinks }) => ({
      score: (x, _b, h, i, j) => 2 * Math.tanh((x + 4 ** -(h + 1) * (j - (i + S - T))) / 2),
      visible: (_b, _h, i, j) => j <= i + S - T,
      sink: (h) => at(sinks as Dense, h)
    })
  },
  "self-attention": { config: { heads: 2, causal: true }, self: true, steps: () => ({ visible: causal }) }
}

/** Random numbers for every parameter, the same for the layer and the oracle. */
const parametersOf = (layer: nn.AttentionLayer) => {
  const wanted = nn.Params.flatten<nn.Params.Param>(layer.params)
  return Object.fromEntries(
    Object.entries(wanted).map(([name, p], n) => [
      name,
      randomDense(100 + n, p.spec.shape as ReadonlyArray<number>)
    ])
  )
}

describe("attention", () => {
  it.each(Object.entries(cases))("%s: as the loops say", (_, { config, inputs, steps, self }) => {
    const layer = nn.attention({ features, dtype: "f64", ...config })
    const values = parametersOf(layer)
    const all: Array<Bound> = []
    const bind = (x: Bound): Tensor.Tensor => {
      all.push(x)
      return x.tensor
    }
    const tensors = Object.fromEntries(
      Object.entries(values).map(([name, x]) => [name, bind(bound("f64", x))] as const)
    )
    const q = randomDense(1, [B, T, features])
    const k = self === true ? q : randomDense(2, [B, S, features])
    const v = self === true ? q : randomDense(3, [B, S, features])
    const query = bind(bound("f64", q, ["B", "T", features]))
    const { out, stages } = layer.apply(nn.Params.nest(layer.params, tensors), {
      query,
      ...(self === true
        ? {}
        : {
            key: bind(bound("f64", k, ["B", "S", features])),
            value: bind(bound("f64", v, ["B", "S", features]))
          }),
      ...inputs?.(bind)
    })
    const linear = (name: string): Linear => ({
      weight: values[`${name}.weight`] as Dense,
      bias: values[`${name}.bias`]
    })
    const parameters = {
      query: linear("query"),
      key: linear("key"),
      value: linear("value"),
      out: linear("out")
    }
    const expected = attend(
      parameters,
      [q, k, v],
      [config.heads, config.kvHeads ?? config.heads],
      steps?.(values, { q })
    )
    expectDense(run(out, all), expected.out)
    expectDense(run(stages.weights, all), expected.weights)

    const graph = Graph.make([{ name: "out", node: Tensor.nodeOf(out) }])
    const fused = through(graph, ...toFusion).graph
    expect(nodesOf(fused, "flash_attention")).toHaveLength(1)
    expect(nodesOf(fused, "softmax")).toHaveLength(0)
  })
})
