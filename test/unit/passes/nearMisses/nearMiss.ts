import { Result } from "effect"
import { expect, test } from "vitest"
import * as Reference from "../../../../backends/reference/Reference.ts"
import type * as Dim from "../../../../ir/Dim.ts"
import type * as Graph from "../../../../ir/Graph.ts"
import type { HostArray } from "../../../../ir/HostArray.ts"
import { portable } from "../../../../ir/Limits.ts"
import * as Node from "../../../../ir/Node.ts"
import type { OpName } from "../../../../ir/ops.ts"
import * as Print from "../../../../ir/Print.ts"
import * as Shape from "../../../../ir/Shape.ts"
import * as Pipeline from "../../../../passes/Pipeline.ts"
import * as arrays from "../../../support/arrays.ts"
import { expectSameValue } from "../../../support/fusing.ts"
import { sizes, square } from "../../../support/heads.ts"
import { checkRanges } from "../../../support/ranges.ts"
import { refined } from "../../../support/refined.ts"
import type { N } from "../../../support/spell.ts"
import * as s from "../../../support/spell.ts"
import { expectOutputs } from "../../../support/tolerance.ts"

/** What nearly is attention, and what must come of it. */
export type Outcome =
  | { readonly _tag: "refused"; readonly nearest: string; readonly failed: string }
  | { readonly _tag: "fuses"; readonly nodes: number; readonly shows: ReadonlyArray<Shown> }

type Shown = "mask" | "probability" | "sink" | "score"
type Outputs = N | { readonly [name: string]: N }

export interface Case {
  readonly outputs: Outputs
  readonly outcome: Outcome
}

export const refused = (outputs: Outputs, nearest: string, failed: string): Case => ({
  outputs,
  outcome: { _tag: "refused", nearest, failed }
})

/** One node with no region but those that are shown. */
export const fuses = (outputs: Outputs, ...shows: ReadonlyArray<Shown>): Case => ({
  outputs,
  outcome: { _tag: "fuses", nodes: 1, shows }
})

export const fusesTwice = (outputs: Outputs, ...shows: ReadonlyArray<Shown>): Case => ({
  outputs,
  outcome: { _tag: "fuses", nodes: 2, shows }
})

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

/** The whole pipeline, which must not fail. */
export const compiled = (graph: Graph.Graph): Pipeline.Compiled =>
  Result.getOrThrowWith(Pipeline.run(pipeline, graph, { limits: portable }), (error) => error)

type Flash = Node.NodeOf<"flash_attention">

export const flashes = (graph: Graph.Graph): ReadonlyArray<Flash> =>
  graph.nodes.flatMap((n) =>
    Node.is(n, "flash_attention") ? [n] : Node.is(n, "fused") ? flashes(n.attrs.body) : []
  )

/** Whether values are read: statistics and sums of scores alone are another matter. */
const hasValues = ({ attrs, operands }: Flash): boolean =>
  attrs.output === "result" && operands[2]?.operands[0]?.op !== "constant"

const regions = ({ attrs }: Flash): ReadonlyArray<Shown> => [
  ...(attrs.score.nodes.some((n) => n.op !== "input") ? (["score"] as const) : []),
  ...(["mask", "sink", "probability"] as const).filter((name) => attrs[name] !== undefined)
]

/** Lengths that tell axes apart, and lengths of 1 that do not. */
export const lengths: ReadonlyArray<Dim.Bindings> = [sizes, { B: 1, T: 4, S: 1 }]

const operands = new Set([
  "q",
  "k",
  "v",
  "q2",
  "k2",
  "kh",
  "vh",
  "a",
  "b",
  "c",
  "d",
  "keys",
  "values",
  "queries"
])

/**
 * The same numbers where tensors besides queries, keys and values hold -inf, as masks do; NaN may become a number. No range of keys
 * that mask analysis gives leaves a visible key out.
 */
export const expectSameNumbers = (before: Graph.Graph, after: Graph.Graph): void => {
  const at = sizes
  const from = arrays.random(3)
  const inputs = before.inputs.map(({ attrs, type }) =>
    arrays.array(
      from,
      type.dtype,
      Shape.evaluate(type.shape, at),
      operands.has(attrs.name) ? "normal" : "holes"
    )
  )
  const [expected, actual] = [before, after].map((g) =>
    Reference.evaluate(g, inputs, at, { precision: "f64" })
  ) as [ReadonlyArray<HostArray>, ReadonlyArray<HostArray>]
  const numbers = expected.map((e, i) => refined(e, actual[i] as HostArray))
  expectOutputs(before, at, actual, numbers, { reassociated: true })
  expect(checkRanges(after, inputs, at).wrong).toEqual([])
}

/** Compiles each, holds it to its outcome, and compares its value with what was written. */
export const hold = (cases: { readonly [name: string]: Case }): void => {
  for (const [name, { outputs, outcome }] of Object.entries(cases)) {
    test(name, () => {
      const before = s.graph(outputs)
      const { graph, diagnostics } = compiled(before)
      const found = flashes(graph).filter(hasValues)
      const said = diagnostics.filter((d) => d.pass === "fuse-attention")
      if (outcome._tag === "fuses") {
        expect(found.length, Print.graph(graph)).toBe(outcome.nodes)
        const shown = new Set(found.flatMap(regions))
        expect([...shown].sort(), Print.graph(graph)).toEqual([...outcome.shows].sort())
      } else {
        expect(found.length, Print.graph(graph)).toBe(0)
        const [first] = said
        expect(first?.outcome).toBe("refused")
        expect([first?.nearest, first?.failed]).toEqual([
          outcome.nearest,
          expect.stringContaining(outcome.failed)
        ])
        expect(first?.suggestion ?? "").not.toBe("")
      }
      for (const at of lengths) expectSameValue(before, graph, at)
      expectSameNumbers(before, graph)
    })
  }
}

export { k, minusInfinity, one, p, q, scores, square, v, zero } from "../../../support/heads.ts"

/** Other queries, other keys. */
export const q2 = s.input("q2", ["B", 4, "T", 8])
export const k2 = s.input("k2", ["B", 4, "S", 8])
export const others = s.matmul(q2, s.swap(k2))
export const even = s.matmul(square("q"), s.swap(square("k")))
export const pEven = s.softmax(even)

export const gate = s.input("gate", ["T", "S"])
export const keep = s.input("keep", ["T", "S"], "bool")
export const causal = s.op("ge", s.reshape(s.iota("T"), ["T", 1]), s.iota("S"))

/** An op with attributes. */
export const node = <K extends OpName>(op: K, operands: ReadonlyArray<N>, attrs: Node.AttrsOf<K>): N =>
  Node.make(op, operands, attrs) as unknown as N
export const sum = (x: N, ...axes: ReadonlyArray<number>): N => s.reduce("reduce_sum", x, ...axes)
export const max = (x: N, ...axes: ReadonlyArray<number>): N => s.reduce("reduce_max", x, ...axes)
export const cumsum = (x: N, axis: number): N => node("cumsum", [x], { axis })
export const float = (x: N): N => s.cast(x, "f32")
/** A statistic of rows, [B, 4, T], beside the scores. */
export const row = (x: N): N => s.reshape(x, [...x.type.shape, 1])

/** The first entry of an axis moved behind the last. */
export const roll = (x: N, axis: number): N =>
  s.concat(axis, s.slice(x, axis, 1, x.type.shape[axis] as Dim.Dim), s.slice(x, axis, 0, 1))

/** An axis read from the end. */
export const flip = (x: N, axis: number): N => {
  const size = x.type.shape[axis] as Dim.Dim
  const last = s.sub(node("dim", [], { value: size }), s.constant(1, "i32"))
  return s.gather(x, s.sub(last, s.iota(size)), axis)
}

/** Every step-th entry of an axis. */
export const every = (x: N, axis: number, step: number): N =>
  node("slice", [x], {
    starts: Shape.from(x.type.shape.map(() => 0)),
    stops: x.type.shape,
    steps: x.type.shape.map((_, i) => (i === axis ? step : 1))
  })

/** One entry of a value in front of the last axis. */
export const padded = (x: N, value: number): N =>
  node("pad", [x], {
    low: Shape.from(x.type.shape.map((_, i) => (i === x.type.shape.length - 1 ? 1 : 0))),
    high: Shape.from(x.type.shape.map(() => 0)),
    value
  })

export const weights = "softmax weights contracted with values"
export const attention = "softmax of a contraction, contracted with values"
export const madeByNone = "softmax over scores that no contraction makes"
export const made = "softmax over scores that a contraction makes"
export const quotient = "exp of scores over its sum, contracted with values"
export const late = "exp of scores contracted with values, over its sum"
export const logSum = "exp of scores less their log-sum-exp, contracted with values"
