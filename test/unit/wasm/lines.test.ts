import { expect, test } from "vitest"
import * as Lines from "../../../backends/wasm/flash/lines.ts"
import type { Job } from "../../../backends/wasm/Job.ts"
import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import * as Print from "../../../ir/Print.ts"
import { graphOf } from "../../support/evaluate.ts"
import { fused, plainAttention } from "../../support/irText.ts"
import { agree } from "../../support/onWasm.ts"

interface Case {
  readonly inputs: ReadonlyArray<readonly [name: string, type: string]>
  readonly lines: ReadonlyArray<string>
  /** Bytes from key to key, and keys of a run; undefined where keys are copied. */
  readonly lies: readonly [step: number, run?: string] | undefined
}

const paged = (rows: number): Pick<Case, "inputs" | "lines"> => ({
  inputs: [
    ["pool", `f32[P, ${rows}, 2, 8]`],
    ["table", "i32[B, W]"]
  ],
  lines: [
    `%found: f32[B, W, ${rows}, 2, 8] = gather %pool, %table {axis = 0}`,
    `%turned: f32[B, 2, W, ${rows}, 8] = transpose %found {perm = [0, 3, 1, 2, 4]}`
  ]
})

const cases: { readonly [name: string]: Case } = {
  "pages of a tile's keys": {
    inputs: paged(16).inputs,
    lines: [...paged(16).lines, "%k: f32[B, 2, 16*W, 8] = reshape %turned"],
    lies: [64, "16"]
  },
  "pages that tiles do not divide": {
    inputs: paged(12).inputs,
    lines: [...paged(12).lines, "%k: f32[B, 2, 12*W, 8] = reshape %turned"],
    lies: [64, "12"]
  },
  "pages from their third key on": {
    inputs: paged(16).inputs,
    lines: [
      ...paged(16).lines,
      "%all: f32[B, 2, 16*W, 8] = reshape %turned",
      "%k: f32[B, 2, 16*W - 3, 8] = slice %all {starts = [0, 0, 3, 0], stops = [B, 2, 16*W, 8], steps = [1, 1, 1, 1]}"
    ],
    lies: undefined
  },
  "keys before heads": {
    inputs: [["x", "f32[B, W, 2, 8]"]],
    lines: ["%k: f32[B, 2, W, 8] = transpose %x {perm = [0, 2, 1, 3]}"],
    lies: [64]
  },
  "heads side by side, a batch in one axis": {
    inputs: [["x", "f32[B*W, 16]"]],
    lines: ["%a: f32[B, W, 2, 8] = reshape %x", "%k: f32[B, 2, W, 8] = transpose %a {perm = [0, 2, 1, 3]}"],
    lies: [64]
  },
  "kept sequences": {
    inputs: [
      ["x", "f32[P, 2, W, 8]"],
      ["kept", "i32[B]"]
    ],
    lines: ["%k: f32[B, 2, W, 8] = gather %x, %kept {axis = 0}"],
    lies: [32]
  },
  "keys found one by one": {
    inputs: [
      ["x", "f32[B, 2, P, 8]"],
      ["at", "i32[W]"]
    ],
    lines: ["%k: f32[B, 2, W, 8] = gather %x, %at {axis = 2}"],
    lies: undefined
  },
  "elements before keys": {
    inputs: [["x", "f32[B, 2, 8, W]"]],
    lines: ["%k: f32[B, 2, W, 8] = transpose %x {perm = [0, 1, 3, 2]}"],
    lies: undefined
  },
  "an odd number of elements before keys": {
    inputs: [["x", "f32[B, 2, 7, W]"]],
    lines: ["%k: f32[B, 2, W, 7] = transpose %x {perm = [0, 1, 3, 2]}"],
    lies: undefined
  }
}

const graphsOf = ({ inputs, lines }: Case): Graph => {
  const type = `f32[B, 4, T, ${/, (\d)\] =/.exec(lines.at(-1) as string)?.[1]}]`
  return graphOf(
    fused(
      [["q", type], ...inputs],
      type,
      [...lines, `%out: ${type} = ${plainAttention("%q, %k, %k")}`],
      "out"
    )
  )
}

test.each(Object.entries(cases))("%s: where rows lie, and what they give", async (_, own) => {
  const graph = graphsOf(own)
  const root = graph.outputs[0]?.node as NodeOf<"fused">
  const { body } = root.attrs
  const keys = body.nodes.find((n) => n.op === "flash_attention")?.operands[1] as Node
  const lines = Lines.of({ body } as Job, keys, 4)
  const run = lines?.run === undefined ? [] : [Dim.print(lines.run)]
  expect(lines && [lines.step, ...run]).toEqual(own.lies)
  const lengths = [
    { B: 2, T: 1, W: 3, P: 5 },
    { B: 1, T: 3, W: 13, P: 2 },
    { B: 2, T: 40, W: 5, P: 4 },
    { B: 1, T: 2, W: 2, P: 0 }
  ]
  await agree(graph, lengths)
  await agree(Print.graph(graph).replaceAll("f32", "f64"), lengths)
  // Scores stay as they are.
  for (const dtype of ["f16", "bf16"])
    await agree(Print.graph(graph).replaceAll(/f32(?=\[\w)/g, dtype), lengths)
})
