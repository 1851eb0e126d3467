import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import * as Evaluate from "../../backends/reference/Reference.ts"
import type { Exhibit } from "../../examples/gallery/exhibit.ts"
import * as Dim from "../../ir/Dim.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import { type Compiled, compile, Reference, type Signature, type Tensor } from "../../src/index.ts"
import { nodesOf } from "../support/fusing.ts"
import { pieces, randomised } from "../support/gallery.ts"
import { logits } from "../support/galleryLogits.ts"
import { type Problem, plain } from "../support/plain.ts"
import { expectOutputs } from "../support/tolerance.ts"

type Piece = Compiled<Signature, Tensor.Tensor>

const compiled = ({ fn, signature, options }: Exhibit): Promise<Piece> =>
  Effect.runPromise(
    compile(fn, signature, options).pipe(Effect.provide(Reference.layer))
  ) as unknown as Promise<Piece>

/** Inputs that are themselves an entry for each query and key. */
const pairs: Readonly<Record<string, string>> = {
  draftTree: "ancestor",
  graphDistance: "distance",
  graphEdges: "path"
}

/** No softmax is left, keys and values are as they came, and nothing is as large as the scores but what the piece brings along. */
const isFused = (name: string, f: Piece): void => {
  const graph = f.graph("fuse-attention")
  const nodes = nodesOf(graph, "flash_attention")
  expect(nodes.map((n) => n.attrs.output)).toEqual(name === "activation" ? ["result", "lse"] : ["result"])
  for (const op of ["softmax", "logsumexp", "dot"] as const) expect(nodesOf(graph, op)).toEqual([])
  for (const node of nodes) {
    const [q, k, v, ...captures] = node.operands
    expect([q, k, v].map((x) => x?.op === "input" && x.attrs.name)).toEqual(["q", "k", "v"])
    const [rows, keys] = [q, k].map((x) => x?.type.shape[2] as Dim.Dim) as [Dim.Dim, Dim.Dim]
    const square = captures.filter(({ type: { shape } }) => {
      const queries = shape.findIndex((d) => Dim.equals(d, rows))
      return (
        queries >= 0 &&
        shape.some((d, axis) => axis !== queries && (Dim.equals(d, keys) || Dim.equals(d, rows)))
      )
    })
    expect(square.map((x) => (x.op === "input" ? x.attrs.name : x.op))).toEqual(
      pairs[name] === undefined ? [] : [pairs[name]]
    )
  }
}

const run = (f: Piece, inputs: Readonly<Record<string, HostArray>>): Promise<HostArray> =>
  Effect.runPromise(f(inputs).pipe(Effect.provide(Reference.layer))) as Promise<HostArray>

/** Σ gelu(logit) · v, without a softmax anywhere. */
const activated = ({ q, k, v }: Readonly<Record<string, HostArray>>): HostArray => {
  // plain() divides by the sum of exponentials: taken with one key at a time it gives v, and the logit apart.
  const [, H = 0, T = 0, D = 0] = q?.shape ?? []
  const at = (x: HostArray | undefined, h: number, i: number, d: number) =>
    x?.data[(h * T + i) * D + d] as number
  const data = new Float32Array(H * T * D)
  for (let row = 0; row < H * T; row++) {
    const [h, i] = [Math.floor(row / T), row % T]
    for (let j = 0; j < T; j++) {
      let x = 0
      for (let d = 0; d < D; d++) x += (at(q, h, i, d) * at(k, h, j, d)) / Math.sqrt(8)
      for (let e = 0; e < D; e++) data[row * D + e] = (data[row * D + e] as number) + gelu(x) * at(v, h, j, e)
    }
  }
  return { dtype: "f32", shape: [1, H, T, D], data }
}

/** x · Φ(x), the integral by the trapezoidal rule. */
const gelu = (x: number): number => {
  const steps = 2000
  let sum = 0
  for (let n = 0; n <= steps; n++) {
    const t = (x * n) / steps
    sum += (n === 0 || n === steps ? 0.5 : 1) * Math.exp((-t * t) / 2)
  }
  return x * (0.5 + (sum * (x / steps)) / Math.sqrt(2 * Math.PI))
}

describe("gallery", () => {
  test("all masks and scores are there, each with its numbers", () => {
    expect([...pieces.keys()].filter((name) => name !== "activation").sort()).toEqual(
      Object.keys(logits).sort()
    )
    expect(pieces.size).toBe(21 + 7)
  })

  for (const [name, exhibit] of pieces) {
    test(name, async () => {
      const f = await compiled(exhibit)
      isFused(name, f)
      const inputs = randomised(exhibit)
      const actual = await run(f, inputs)
      const traced = f.graph("traced")
      const own = traced.inputs.map((i) => inputs[i.attrs.name] as HostArray)
      const written = Evaluate.evaluate(traced, own, exhibit.lengths, { precision: "f64" })
      expectOutputs(traced, exhibit.lengths, [actual], written, { reassociated: true })
      const { q, k, v } = inputs as unknown as Problem
      const logit = logits[name] as Problem["logit"]
      const expected = name === "activation" ? activated(inputs) : plain({ q, k, v, logit })
      expectOutputs(traced, exhibit.lengths, [actual], [expected], { expected: "exact", reassociated: true })
    })
  }
})
