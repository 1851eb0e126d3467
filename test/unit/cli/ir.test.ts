/** The commands that show and change text IR: dump, opt, explain, wgsl, ops, passes. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Graph from "../../../ir/Graph.ts"
import * as Json from "../../../ir/Json.ts"
import { opNames } from "../../../ir/ops.ts"
import * as Parse from "../../../ir/Parse.ts"
import * as Print from "../../../ir/Print.ts"
import { passes } from "../../../passes/passes.ts"
import { ansi } from "../../../src/cli/Paint.ts"
import { effuse } from "../../support/cli.ts"

const fixtures = fileURLToPath(new URL("fixtures/definitions.ts", import.meta.url))
const attention = `${fixtures}#attention`
const folder = mkdtempSync(join(tmpdir(), "effuse-cli-"))

const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const graphOf = (text: string): Graph.Graph => Result.getOrThrow(Parse.graph(text))

describe("dump", () => {
  test("text reads back as the graph that is shown", async () => {
    const before = await effuse(["dump", attention, "--before"])
    expect(before.code).toBe(0)
    const graph = graphOf(before.out)
    expect(graph.inputs.map((i) => i.attrs.name)).toEqual(["q", "k", "v"])
    expect(Print.graph(graph)).toBe(before.out.trimEnd())
  })

  test("--after shows the graph behind a pass", async () => {
    const after = graphOf((await effuse(["dump", attention, "--after", "fuse-attention"])).out)
    expect(after.nodes.map((n) => n.op)).toContain("flash_attention")
    const earlier = graphOf((await effuse(["dump", attention, "--after", "canonicalize"])).out)
    expect(earlier.nodes.map((n) => n.op)).not.toContain("flash_attention")
  })

  test("--all prints the graph as written and after the passes that changed it, and no other", async () => {
    const { out } = await effuse(["dump", attention, "--all"])
    const sections = out.split("\n\n")
    const graphs = sections.map((s) => s.split("\n").slice(1).join("\n")).filter((s) => s.trim() !== "")
    expect(graphs.length).toBeGreaterThan(2)
    const keys = graphs.map((text) => Graph.key(graphOf(text)))
    for (let i = 1; i < keys.length; i++) expect(keys[i]).not.toBe(keys[i - 1])
    expect(out).toMatch(/^\/\/ as written\n/)
    expect(out).toMatch(/\/\/ after choose-schedule: no change\n/)
  })

  test("json is the JSON form", async () => {
    const { out } = await effuse(["dump", attention, "--before", "--format", "json"])
    const decoded = Result.getOrThrow(Json.parse(out))
    const text = await effuse(["dump", attention, "--before"])
    expect(Print.graph(decoded)).toBe(text.out.trimEnd())
    const again = await effuse(["dump", file("graph.json", out), "--before"])
    expect(again.out).toBe(text.out)
  })

  test("wat is the module that runs, its program above it as comments, and asks for no pass", async () => {
    const { code, out } = await effuse(["dump", attention, "--format", "wat"])
    expect(code).toBe(0)
    const lines = out.trimEnd().split("\n")
    const module = lines.filter((line) => !line.startsWith(";;"))
    expect(lines.filter((line) => line.startsWith(";;")).join("\n")).toMatch(
      /^;; program \{\n.*;; {3}input 0: "q" .*;; {3}kernel \d: flash, .*;; \}$/s
    )
    expect(module.slice(0, 2)).toEqual(["", "(module"])
    const depth = module.join("").replace(/"[^"]*"/g, "")
    expect([...depth].reduce((n, c) => n + (c === "(" ? 1 : c === ")" ? -1 : 0), 0)).toBe(0)
    for (const name of ["decode_0", "flash_3"])
      expect(out).toContain(`(func $${name} (export "${name}") (param $args i32)`)
    const refused = await effuse(["dump", attention, "--before", "--format", "wat"])
    expect([refused.code, refused.out]).toEqual([2, ""])
  })

  test("dot, mermaid and svg draw one box for each node and output, one arrow for each operand", async () => {
    const graph = graphOf((await effuse(["dump", attention, "--before"])).out)
    const boxes = graph.nodes.length + graph.outputs.length
    const arrows = graph.nodes.reduce((n, node) => n + node.operands.length, 0) + graph.outputs.length
    const count = (text: string, what: RegExp): number => [...text.matchAll(what)].length
    const drawn = async (format: string) =>
      (await effuse(["dump", attention, "--before", "--format", format])).out
    const dot = await drawn("dot")
    expect([count(dot, /\[label=/g), count(dot, /->/g)]).toEqual([boxes, arrows])
    const mermaid = await drawn("mermaid")
    expect([count(mermaid, /:::/g), count(mermaid, /-->/g)]).toEqual([boxes, arrows])
    const svg = await drawn("svg")
    expect([count(svg, /<g><rect /g), count(svg, /<line /g)]).toEqual([boxes, arrows])
  })

  test("names from outside stay text in every drawing", async () => {
    const hostile = '"/><script>alert(1)</script>\\n'
    const text = `graph {\n  %0: f32[T] = input {name = ${JSON.stringify(hostile)}}\n  return %0\n}\n`
    const target = file("hostile.eir", text)
    const svg = (await effuse(["dump", target, "--before", "--format", "svg"])).out
    expect(svg).not.toContain("<script")
    const mermaid = (await effuse(["dump", target, "--before", "--format", "mermaid"])).out
    expect(mermaid).not.toContain("<script")
    const dot = (await effuse(["dump", target, "--before", "--format", "dot"])).out
    expect(dot.split("\n").filter((l) => l.includes("script"))).toHaveLength(1)
    expect(dot).toContain('\\"/><script>')
  })

  test("colour where it is asked for, and the same text without", async () => {
    const painted = await effuse(["dump", attention, "--before"], { paint: ansi })
    const bare = await effuse(["dump", attention, "--before"])
    expect(painted.out).toContain("\u001b[36mdot\u001b[0m")
    const escape = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g")
    expect(painted.out.replace(escape, "")).toBe(bare.out)
  })

  test("--locations ends nodes with the line that wrote them, and says nothing of those that have none", async () => {
    const { out } = await effuse(["dump", attention, "--before", "--locations"])
    expect(out).toMatch(/= softmax [^\n]* @ "[^"\n]*definitions\.ts":8:14\n/)
    expect(out).not.toContain("unknown")
    graphOf(out)
  })

  test("--out writes a file, without colour", async () => {
    const path = join(folder, "out.eir")
    const { out } = await effuse(["dump", attention, "--before", "--out", path], { paint: ansi })
    expect(out).toBe("")
    expect(readFileSync(path, "utf8")).toBe((await effuse(["dump", attention, "--before"])).out)
  })

  test("questions that exclude each other are refused", async () => {
    const { code, err } = await effuse(["dump", attention, "--before", "--all"])
    expect([code, err]).toEqual([2, expect.stringContaining("one at a time")])
    expect((await effuse(["dump", attention, "--all", "--format", "svg"])).code).toBe(2)
  })
})

describe("opt", () => {
  test("reads standard input and writes text IR", async () => {
    const { out } = await effuse(["dump", attention, "--before"])
    const piped = await effuse(["opt", "--passes", "fuse-attention", "-"], { stdin: out })
    expect(piped.code).toBe(0)
    expect(graphOf(piped.out).nodes.map((n) => n.op)).toContain("flash_attention")
    const back = await effuse(["opt", "--passes", "unfuse-attention", "-"], { stdin: piped.out })
    expect(graphOf(back.out).nodes.map((n) => n.op)).toContain("softmax")
  })

  test("no pass leaves the text as it was", async () => {
    const { out } = await effuse(["dump", attention, "--before"])
    expect((await effuse(["opt", "--passes", "", "-"], { stdin: out })).out).toBe(out)
  })

  test("a pass that is misspelt or in the wrong place is a mistake of the command line", async () => {
    const misspelt = await effuse(["opt", "--passes", "canonicalise", attention])
    expect([misspelt.code, misspelt.err]).toEqual([2, expect.stringContaining("did you mean canonicalize?")])
    expect(misspelt.err.split("did you mean").length).toBe(2)
    const misplaced = await effuse(["opt", "--passes", "plan-memory", attention])
    expect([misplaced.code, misplaced.err]).toEqual([
      2,
      expect.stringContaining("order of the default pipeline")
    ])
    expect(misplaced.err).not.toContain("error.command")
  })
})

describe("a broken file", () => {
  const broken: ReadonlyArray<readonly [string, string, string, string]> = [
    [
      "unknown op",
      'graph {\n  %0: f32[T] = inptu {name = "x"}\n  return %0\n}',
      "2:16",
      "did you mean input?"
    ],
    [
      "undefined value",
      'graph {\n  %0: f32[T] = input {name = "x"}\n  return %1\n}',
      "3:10",
      "%1 is not defined"
    ],
    [
      "wrong type",
      'graph {\n  %0: f32[T] = input {name = "x"}\n  %1: f32[S] = exp %0\n  return %1\n}',
      "3:7",
      "the annotation says f32[S]"
    ],
    ["nothing", "", "1:1", "graph {"]
  ]
  for (const [name, text, place, says] of broken) {
    test(`${name}: line, column and a caret`, async () => {
      const path = file("broken.eir", text)
      const { code, out, err } = await effuse(["dump", path])
      expect([code, out]).toEqual([3, ""])
      expect(err).toContain(`broken.eir:${place}: error:`)
      expect(err).toContain(says)
      const lines = err.split("\n")
      const caret = lines.find((l) => /^ {2}\| *\^$/.test(l)) ?? ""
      expect(caret.indexOf("^")).toBe(4 + Number(place.split(":")[1]) - 1)
      for (const once of [says, `:${place}`, "^"]) expect(err.split(once).length, once).toBe(2)
    })
  }

  const wrong: ReadonlyArray<readonly [text: string, place: string, says: string]> = [
    ['{"a":\n', "1:6", "the text ends too early"],
    ['{"nodes": [],\n  "outputs": [1,, 2]}', "2:17", '"," cannot stand here'],
    ["{'nodes': []}", "1:2", "not JSON: "],
    ['{"nodes": [],\n  "outputs": {"out": 1}}', "2:14", "Expected array"],
    [
      '{"nodes": [\n {"op": "iotta", "operands": [], "attrs": {},\n  "type": {"dtype": "i32", "shape": ["4"]}}],\n "outputs": [{"name": "out", "node": 0}]}',
      "2:2",
      'there is no op "iotta"'
    ]
  ]
  for (const [text, place, says] of wrong) {
    test(`JSON gets line, column, caret: ${says}`, async () => {
      const { code, err } = await effuse(["dump", file("wrong.json", text)])
      expect(code).toBe(3)
      expect(err).toContain(`wrong.json:${place}: error:`)
      expect(err).toContain(says)
      const caret = err.split("\n").find((l) => /^ {2}\| *\^$/.test(l)) ?? ""
      expect(caret.indexOf("^")).toBe(4 + Number(place.split(":")[1]) - 1)
    })
  }
})

describe("explain", () => {
  test("names what was fused and the line that wrote it", async () => {
    const { code, out } = await effuse(["explain", attention])
    expect(code).toBe(0)
    expect(out).toContain("1 attention fused.")
    expect(out).toMatch(/definitions\.ts:8:14\n {2}8 │ {7}Tensor\.softmax\(-1\),\n {4}│ {14}\^\n/)
    expect(out).toMatch(/\ncost of a call at [^\n]*\n {2}on WebGPU, with the limits of every device\n/)
    for (const pass of passes.values())
      if (pass.name !== "unfuse-attention") expect(out).toContain(`  ${pass.name} `)
  })
})

describe("explain, refused", () => {
  test("says which condition failed, where, and what to try", async () => {
    const { code, out } = await effuse(["explain", `${fixtures}#running`])
    expect(code).toBe(0)
    expect(out).toContain("1 attention not fused.")
    expect(out).toMatch(/✗ not fused[^\n]*\n {2}at [^\n]*definitions\.ts:\d+:\d+\n/)
    expect(out).toMatch(/\n {2}because +\S/)
  })

  test("the exit code is 0: to explain is no check", async () => {
    expect((await effuse(["explain", `${fixtures}#pair`])).out).toContain("no attention in it to fuse")
  })
})

describe("explain, for tools and terminals", () => {
  test("--json is one value with a version, decisions, notes, passes and costs", async () => {
    const { out } = await effuse(["explain", attention, "--json", "--dim", "T=32", "--dim", "S=48"])
    const data = JSON.parse(out)
    expect(data).toMatchObject({ name: "attention", version: 1, fused: 1, refused: 0 })
    expect(data.inputs).toEqual({ q: "f32[B, 2, T, 8]", k: "f32[B, 2, S, 8]", v: "f32[B, 2, S, 8]" })
    expect(data.decisions[0].at).toEqual({ file: fixtures, line: 8, column: 14 })
    expect(data.decisions[0].fusion.mask).toMatchObject({
      kind: "causal",
      formula: "j ≤ i",
      keys: { from: "0", to: "min(i + 1, S)" },
      exact: true
    })
    expect(data.passes.map((p: { pass: string }) => p.pass)).toContain("fuse-attention")
    expect(data.cost.sizes).toEqual({ B: 1, T: 32, S: 48 })
    expect(data.cost.compiled.dispatches).toBeLessThan(data.cost.unfused.dispatches)
  })

  test("no line is wider than the terminal, and colours take no room", async () => {
    for (const columns of [100, 72]) {
      const { out } = await effuse(["explain", attention], { columns })
      const painted = await effuse(["explain", attention], { columns, paint: ansi })
      const escape = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g")
      const timeless = (text: string) => text.replace(escape, "").replace(/ +[\d.]+ ms/g, "")
      expect(timeless(painted.out)).toBe(timeless(out))
      expect(out.split("\n").filter((line) => line.length > columns)).toEqual([])
    }
  })

  test("--stats lists each rule that was tried; of opt on standard error", async () => {
    const { out } = await effuse(["explain", attention, "--stats"])
    expect(out).toMatch(/\n {2}attention +fuse-attention +1 +1 +[\d.]+ ms\n/)
    const opt = await effuse(["opt", attention, "--stats"])
    expect(opt.err).toMatch(/\n {2}attention +fuse-attention +1 +1 +[\d.]+ ms\n/)
    expect(graphOf(opt.out).nodes.length).toBeGreaterThan(0)
  })

  test("a length that no input has is refused", async () => {
    const { code, err } = await effuse(["explain", attention, "--dim", "Q=3"])
    expect([code, err]).toEqual([2, expect.stringContaining("the symbols are B, T, S")])
  })
})

describe("wgsl", () => {
  test("prints every kernel of the plan with its entry point", async () => {
    const plan = await effuse(["wgsl", attention, "--plan"])
    const code = await effuse(["wgsl", attention])
    const kernels = [...plan.out.matchAll(/^ {2}kernel \d+:/gm)].length
    expect(kernels).toBeGreaterThan(0)
    expect([...code.out.matchAll(/^\/\/ kernel \d+:/gm)].length).toBe(kernels)
    expect([...code.out.matchAll(/fn main\(/g)].length).toBe(kernels)
  })

  test("--f16 allows f16 arithmetic, without it there is none", async () => {
    const half = file(
      "half.eir",
      'graph {\n  %0: f16[T, 64] = input {name = "a"}\n  %1: f16[64, N] = input {name = "b"}\n  %2: f16[T, N] = dot %0, %1 {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}\n  return %2\n}'
    )
    expect((await effuse(["wgsl", half])).out).not.toMatch(/^enable f16/m)
    expect((await effuse(["wgsl", half, "--f16"])).out).toMatch(/^enable f16/m)
  })
})

describe("ops and passes", () => {
  test("ops lists every op; one op shows an example that parses", async () => {
    const { out } = await effuse(["ops"])
    for (const name of opNames) expect(out).toMatch(new RegExp(`^  ${name} `, "m"))
    const one = (await effuse(["ops", "dot"])).out
    const example = one.slice(one.indexOf("example\n") + "example\n".length)
    expect(graphOf(`graph {\n${example}\n  return %2\n}`).nodes.at(-1)?.op).toBe("dot")
  })

  test("an op that does not exist gets a suggestion", async () => {
    const { code, err } = await effuse(["ops", "sofmax"])
    expect([code, err]).toEqual([2, expect.stringContaining("did you mean softmax?")])
  })

  test("passes lists every pass with its reason", async () => {
    const { out } = await effuse(["passes"])
    for (const { name, summary } of passes.values()) {
      expect(out).toContain(`  ${name} `)
      expect(out).toContain(summary)
    }
  })
})
