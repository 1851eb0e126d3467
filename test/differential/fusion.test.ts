import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as ReferenceBackend from "../../backends/reference/Reference.ts"
import type * as Graph from "../../ir/Graph.ts"
import { portable } from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import { graphOf } from "../support/evaluate.ts"
import { nodesOf } from "../support/fusing.ts"
import { axes, type Choices, names, simplest } from "../support/programs/Axes.ts"
import { coverage } from "../support/programs/coverage.ts"
import { call, changes, difference, judge, runs, traced } from "../support/programs/judge.ts"
import { draw, make, type Program, describe as print, turned } from "../support/programs/Program.ts"
import { shrink } from "../support/programs/shrink.ts"
import { shrinkGraph } from "../support/programs/shrinkGraph.ts"
import { checked, expectRoundTrips } from "../support/roundTrips.ts"

const [blocks, inBlock] = [16, 25]
const drawn = Array.from({ length: blocks * inBlock }, (_, i) => draw(i + 1))

describe("attention programs drawn along the axes of spelling", () => {
  test.each(Array.from({ length: blocks }, (_, n) => n))("fuse and mean the same: block %i", (n) => {
    for (const p of drawn.slice(n * inBlock, (n + 1) * inBlock)) {
      const { outcome, why } = judge(p)
      expect(outcome, `${print(p)}\n${why}`).toBe("fused")
    }
  })

  test("make every choice of every axis at least three times", () => {
    const seen = coverage()
    for (const p of drawn) seen.add(p, "fused")
    const rare = seen.rows().filter(({ programs }) => programs < 3)
    expect(rare).toEqual([])
  })

  test.each(Array.from({ length: 4 }, (_, n) => n))(
    "go through text, JSON, each pass twice, and back from the node: part %i",
    (n) => {
      for (const p of drawn.slice(n * inBlock, (n + 1) * inBlock)) {
        const graph = traced(p)
        expectRoundTrips(graph)
        const run = (text: string, of: Graph.Graph): Graph.Graph => {
          const pipeline = Result.getOrThrow(Pipeline.parse(text))
          return Result.getOrThrow(Pipeline.run(pipeline, of, { limits: portable, hooks: [checked] })).graph
        }
        const kernels = run(Pipeline.defaultText, graph)
        const fused = run(
          "canonicalize,normalize-softmax,normalize-mask,unexpand-heads,fuse-attention",
          graph
        )
        const again = run("unfuse-attention", fused)
        expect(nodesOf(again, "flash_attention"), print(p)).toEqual([])
        for (const lengths of runs(p)) {
          const c = call(p, graph, lengths)
          for (const other of [kernels, again]) {
            const actual = ReferenceBackend.evaluate(other, c.given, c.sizes, { precision: "f64" })
            expect(difference(graph, c, actual, "f64"), print(p)).toBe(undefined)
          }
        }
      }
    }
  )
})

/** What drawn programs found and shrank to; the graphs are filetests. */
const found: ReadonlyArray<readonly [string, Partial<Choices>, Partial<Program["sizes"]>]> = [
  ["sinks beside a division after the values", { sinks: "last column", softmax: "divided after P V" }, {}],
  ["base 2 and the log-sum-exp", { softmax: "base 2", extra: "log-sum-exp" }, {}],
  ["one key, expanded and first", { scale: "kT * s", keys: "einsum bhkd,bhqd", heads: "repeat" }, { G: 2 }],
  [
    "one key of two heads, expanded and first",
    { dtype: "f16", keys: "einsum bhkd,bhqd", heads: "repeat", precision: "dtype argument" },
    { M: 2, G: 2, D: 1 }
  ],
  [
    "one key under an additive mask",
    { mask: "s + m", kind: "float", source: "tensor [T, S]", softmax: "exp(x) / sum" },
    {}
  ],
  ["zero times infinity", { mask: "s + (1 - keep) * fill" }, {}],
  [
    "a product with infinity under exponentials",
    { mask: "s - big * (1 - keep)", softmax: "exp(x) / sum", extra: "log-sum-exp" },
    {}
  ],
  [
    "weights of a fill that half precision rounds",
    {
      dtype: "f16",
      scale: "qk * s",
      mask: "where(keep, s, fill)",
      source: "bottom-right",
      fill: "finfo.min",
      maskAt: "before the scale",
      extra: "weights"
    },
    { T: 2 }
  ]
]

describe("programs that failed once", () => {
  test.each(found)("%s", (_, choices, sizes) => {
    const small = { B: 1, N: 1, P: 1, M: 1, G: 1, T: 1, S: 1, D: 2, E: 2, ...sizes }
    for (const lengths of axes.lengths) {
      for (let seed = 1; seed <= 4; seed++) {
        const p = make(seed, { ...simplest, ...choices, lengths }, small)
        const { outcome, why } = judge(p)
        expect(outcome, `${print(p)}\n${why}`).toBe("fused")
      }
    }
  })
})

describe("the judge", () => {
  const plain = make(1, simplest, { B: 2, N: 1, P: 1, M: 2, G: 1, T: 3, S: 5, D: 4, E: 4 })

  test("misses what is not fused", () => {
    expect(judge(plain).outcome).toBe("fused")
    const unfused = judge(plain, "canonicalize,fuse-elementwise")
    expect(unfused.outcome).toBe("missed")
    expect(unfused.why).toContain("out comes from 0 flash_attention nodes")
  })

  test("misses heads that stay expanded", () => {
    const p = make(1, { ...simplest, lengths: "symbols", bias: "ALiBi" }, { ...plain.sizes, G: 2 })
    expect(judge(p).outcome).toBe("fused")
    // Without the passes before it, fusion meets a mask of data that was added up in memory.
    expect(judge(make(1, { ...p.choices, softmax: "exp(x) / sum" }, p.sizes), "fuse-attention").outcome).toBe(
      "missed"
    )
  })

  test("finds results that are wrong", () => {
    const graph = traced(plain)
    const [own] = runs(plain)
    const c = call(plain, graph, own as Program["sizes"])
    expect(difference(graph, c, c.expected)).toBe(undefined)
    const [out] = c.expected
    if (out === undefined) throw new Error("no result")
    const off = { ...out, data: (out.data as Float32Array).map((x, i) => (i === 7 ? x + 1e-3 : x)) }
    expect(difference(graph, c, [off])).toContain("1 of 48 elements outside tolerance")
    const none = { ...out, data: (out.data as Float32Array).map((x, i) => (i === 7 ? Number.NaN : x)) }
    expect(difference(graph, c, [none])).toContain("1 of 48 elements outside tolerance")
  })

  test("lets NaN be refined to what was meant and to nothing else", () => {
    // A row without keys is 0 / 0 in exponentials, and exactly 0 in the node.
    const p = make(
      1,
      { ...simplest, mask: "where(keep, s, fill)", source: "bottom-right", softmax: "exp(x) / sum" },
      { ...plain.sizes, T: 5, S: 3 }
    )
    expect(judge(p).outcome).toBe("fused")
    const graph = traced(p)
    const c = call(p, graph, p.sizes)
    const [out] = c.expected
    if (out === undefined) throw new Error("no result")
    expect([...out.data].filter(Number.isNaN).length).toBe(2 * 2 * 2 * 4)
    const by = (x: number) => ({
      ...out,
      data: (out.data as Float32Array).map((y) => (Number.isNaN(y) ? x : y))
    })
    expect(difference(graph, c, [by(0)])).toBe(undefined)
    expect(difference(graph, c, [by(0.25)])).toContain("outside tolerance")
  })
})

describe("shrinking", () => {
  test("leaves the choices that fail, and the smallest sizes", () => {
    const fails = ({ choices, sizes }: Program) =>
      choices.softmax === "base 2" && choices.mask !== "none" && sizes.S >= 2
    const small = shrink(drawn.find(fails) as Program, fails)
    expect(turned(small)).toEqual(["mask", "softmax"])
    expect(small.choices.mask).toBe(axes.mask[1])
    expect(small.sizes).toEqual({ B: 1, N: 1, P: 1, M: 1, G: 1, T: 1, S: 2, D: 1, E: 1 })
  })

  test("of a graph keeps what fails and its arguments", () => {
    const graph = graphOf(`graph {
  %0: f32[4] = input {name = "x"}
  %1: f32[4] = exp %0
  %2: f32[4] = tanh %1
  %3: f32[4] = neg %2
  return "a": %3, "b": %0
}`)
    const small = shrinkGraph(graph, (g) => nodesOf(g, "tanh").length > 0)
    expect(small.nodes.map((n) => n.op)).toEqual(["input", "tanh"])
    expect(small.outputs.length).toBe(1)
  })

  test("tells a graph that a pass changes from one that it keeps", () => {
    const p = make(1, simplest, { B: 1, N: 1, P: 1, M: 1, G: 1, T: 2, S: 2, D: 2, E: 2 })
    expect(changes(p, traced(p))).toBe(false)
  })

  test("knows every axis", () => {
    for (const axis of names) expect(new Set(axes[axis]).size, axis).toBe(axes[axis].length)
  })
})

describe("npm run fusion", () => {
  const root = fileURLToPath(new URL("../../", import.meta.url))
  const run = (...args: ReadonlyArray<string>) =>
    promisify(execFile)(process.execPath, ["scripts/fusion.ts", ...args], { cwd: root }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { readonly code: number; readonly stdout: string; readonly stderr: string }) => error
    )

  test("prints how many programs made each choice, and one line at the end", async () => {
    const { code, stdout } = await run("--programs", "5", "--seed", "3")
    expect(code).toBe(0)
    expect(stdout.split("\n")[0]).toMatch(/^axis +choice +programs +fused$/)
    for (const axis of names) for (const value of axes[axis]) expect(stdout).toContain(value)
    expect(stdout.trimEnd().split("\n").at(-1)).toBe("fusion: 5 programs, 5 fused, 0 missed, 0 wrong")
  })

  test.each([
    [["--programs", "many"], "--programs many: a whole number from 1 to 2147483648 is wanted"],
    [["--seed", "0.5"], "--seed 0.5: a whole number from 0 to 2147483648 is wanted"],
    [["--program", "3"], "Unknown option '--program'"]
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await run(...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr).toContain("usage: npm run fusion -- ")
  })
})
