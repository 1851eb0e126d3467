import * as Reference from "../../../../backends/reference/Reference.ts"
import type * as Dim from "../../../../ir/Dim.ts"
import type * as Graph from "../../../../ir/Graph.ts"
import * as HostArray from "../../../../ir/HostArray.ts"
import { portable } from "../../../../ir/Limits.ts"
import type * as Node from "../../../../ir/Node.ts"
import { analyseMask } from "../../../../passes/analyseMask.ts"
import { graphOf } from "../../../support/evaluate.ts"

export const context = { limits: portable, donated: new Set<string>(), count: () => {} }

export interface Capture {
  readonly type: string
  readonly value: HostArray.HostArray
}

/** Attention whose mask is written as lines over %b, %h, %i, %j and captures %c0, %c1, … and returns %m. */
export const attention = (
  lines: string,
  captures: ReadonlyArray<Capture> = [],
  fill: string = "-inf"
): Graph.Graph => {
  const given = captures.map((c, n) => `%x${n}: ${c.type} = input {name = "x${n}"}`).join("\n")
  const taken = captures.map((c, n) => `%c${n}: ${c.type} = input {name = "c${n}"}`).join("\n")
  const index = (name: string): string => `%${name}: i32[] = input {name = "${name}"}`
  const positions = ["b", "h", "i", "j"].map(index).join("\n")
  const passed = captures.map((_, n) => `, %x${n}`).join("")
  return graphOf(`
    %q: f32[B, 2, T, 1] = input {name = "q"}
    %k: f32[B, 2, S, 1] = input {name = "k"}
    ${given}
    %r: f32[B, 2, T, 1] = flash_attention %q, %k, %k${passed} {
      score = {
        %l: f32[] = input {name = "logit"}
        ${positions}
        ${taken}
        return %l
      },
      mask = {
        ${positions}
        ${taken}
        ${lines}
        return %m
      },
      fill = ${fill}, output = "result"
    }
    return %r`)
}

type Flash = Node.NodeOf<"flash_attention">

export const flashOf = (graph: Graph.Graph): Flash =>
  graph.nodes.find(
    (n): n is Extract<Node.Node, { op: "flash_attention" }> => n.op === "flash_attention"
  ) as Flash

export const analysed = (graph: Graph.Graph): Flash => flashOf(analyseMask.run(graph, context).graph)

const scalar = (x: number): HostArray.HostArray => HostArray.fromNumbers("i32", [], Float64Array.of(x))

export const evaluate = (
  region: Graph.Graph,
  positions: ReadonlyArray<number>,
  captures: ReadonlyArray<Capture>,
  sizes: Dim.Bindings
): ReadonlyArray<number> =>
  Reference.evaluate(region, [...positions.map(scalar), ...captures.map((c) => c.value)], sizes).map((r) =>
    Number(r.data[0])
  )

/** The mask of one head as a table of queries and keys, straight from its region. */
const table = (node: Flash, b: number, h: number, captures: ReadonlyArray<Capture>, sizes: Dim.Bindings) => {
  const mask = node.attrs.mask as Graph.Graph
  return Array.from({ length: sizes["T"] as number }, (_, i) =>
    Array.from(
      { length: sizes["S"] as number },
      (_, j) => evaluate(mask, [b, h, i, j], captures, sizes)[0] !== 0
    )
  )
}

/** Calls `look` with what the analysis and what the table say of every block of queries. */
export const eachBlock = (
  node: Flash,
  captures: ReadonlyArray<Capture>,
  sizes: Dim.Bindings,
  heads: ReadonlyArray<readonly [b: number, h: number]>,
  look: (
    found: ReadonlyArray<number>,
    some: ReadonlyArray<number>,
    every: ReadonlyArray<number>,
    at: string
  ) => void
): void => {
  const [T, S] = [sizes["T"] as number, sizes["S"] as number]
  for (const [b, h] of heads) {
    const seen = table(node, b, h, captures, sizes)
    for (let first = 0; first < T; first++) {
      for (let last = first; last < T; last++) {
        const found = evaluate(node.attrs.range as Graph.Graph, [b, h, first, last], captures, sizes)
        const rows = seen.slice(first, last + 1)
        const keys = Array.from({ length: S }, (_, j) => j)
        const some = keys.filter((j) => rows.some((row) => row[j]))
        const every = keys.filter((j) => rows.every((row) => row[j]))
        look(found, some, every, `b ${b}, h ${h}, queries ${first}..${last} of ${T}, ${S} keys: ${found}`)
      }
    }
  }
}

const inOrder = ([lo, hi, fullLo, fullHi]: ReadonlyArray<number>, S: number): boolean =>
  [0 <= lo!, lo! <= hi!, hi! <= S, 0 <= fullLo!, fullLo! <= fullHi!, fullHi! <= S].every(Boolean)

/** No visible key is left out, and none is called certain that some query does not see. */
export const sound = (
  found: ReadonlyArray<number>,
  some: ReadonlyArray<number>,
  every: ReadonlyArray<number>,
  S: number
) => {
  const [lo, hi, fullLo, fullHi] = found as [number, number, number, number]
  const certain = Array.from({ length: fullHi - fullLo }, (_, n) => fullLo + n)
  return inOrder(found, S) && some.every((j) => lo <= j && j < hi) && certain.every((j) => every.includes(j))
}

export const i32 = (type: string, shape: ReadonlyArray<number>, values: ReadonlyArray<number>): Capture => ({
  type,
  value: HostArray.fromNumbers("i32", shape, Float64Array.from(values))
})

/** A line that loads the length %n of a batch. */
export const load = "%n: i32[] = load %c0, %b"

/** A line that names a number. */
export const constant = (name: string, value: number): string =>
  `%${name}: i32[] = constant {values = [${value}]}`
