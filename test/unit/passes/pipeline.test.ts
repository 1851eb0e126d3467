import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Graph from "../../../ir/Graph.ts"
import type { Limits } from "../../../ir/Limits.ts"
import { portable } from "../../../ir/Limits.ts"
import * as Node from "../../../ir/Node.ts"
import * as Parse from "../../../ir/Parse.ts"
import * as Diagnostic from "../../../passes/Diagnostic.ts"
import * as hooks from "../../../passes/hooks.ts"
import { type Pass, quiet } from "../../../passes/Pass.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"
import { passes } from "../../../passes/passes.ts"
import { graphOf } from "../../support/evaluate.ts"

const graph = graphOf(`
  %0: f32[T, 8] = input {name = "x"}
  %1: f32[T, 8] = exp %0
  %2: f32[T] = reduce_sum %1 {axes = [1]}
  return "sum": %2`)

const pass = (name: string, run: Pass["run"], forms: Partial<Pick<Pass, "from" | "to">> = {}): Pass => ({
  name,
  summary: "a pass of this test",
  from: "any",
  to: "same",
  run,
  ...forms
})

const negated = (g: Graph.Graph): Graph.Graph =>
  Graph.transform(g, (n) => (n.op === "exp" ? (Node.make("neg", n.operands, {}) as Node.Node) : n))

const negate = pass("negate", (g, { count }) => {
  count("exp-to-neg", 2)
  count("exp-to-neg")
  return {
    graph: negated(g),
    diagnostics: [{ pass: "negate", outcome: "note", subject: "exp" }]
  }
})

const nothing = pass("nothing", quiet)

const options = { limits: portable }

const failureOf = (pipeline: Pipeline.Pipeline, given: Graph.Graph = graph): Pipeline.PassError => {
  const result = Pipeline.run(pipeline, given, options)
  if (Result.isSuccess(result)) throw new Error("the pipeline did not fail")
  return result.failure
}

describe("a pipeline as text", () => {
  it("reads what it prints", () => {
    const text = "fuse-elementwise,choose-schedule,plan-memory"
    expect(Result.map(Pipeline.parse(text), Pipeline.print)).toEqual(Result.succeed(text))
    expect(Result.map(Pipeline.parse(" plan-memory , ,"), Pipeline.print)).toEqual(
      Result.succeed("plan-memory")
    )
    expect(Pipeline.parse("")).toEqual(Result.succeed([]))
  })

  it("suggests the pass that was meant", () => {
    const result = Pipeline.parse("plan-memory,fuse-elementwize")
    expect(Result.isFailure(result) && result.failure).toMatchObject({
      _tag: "PipelineError",
      what: 'there is no pass "fuse-elementwize"',
      message: 'there is no pass "fuse-elementwize"\n  try: did you mean fuse-elementwise?',
      hint: "did you mean fuse-elementwise?"
    })
    const lost = Pipeline.parse("x".repeat(100_000))
    expect(Result.isFailure(lost) && lost.failure.hint).toContain("the passes are")
    expect(Result.isFailure(Pipeline.parse("__proto__"))).toBe(true)
  })

  it("names passes that exist, each in kebab-case with a reason", () => {
    expect(Result.isSuccess(Pipeline.parse(Pipeline.defaultText))).toBe(true)
    for (const [name, { summary, ...p }] of passes) {
      expect(p.name).toBe(name)
      expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/)
      expect(summary).toMatch(/^[^\n]{10,120}[^.\n]$/)
    }
  })
})

describe("running a pipeline", () => {
  it("records of each pass what it left, whether that is new, what it said and which rules applied", () => {
    const compiled = Result.getOrThrow(Pipeline.run([nothing, negate, nothing], graph, options))
    expect(compiled.snapshots.map((s) => [s.pass, s.changed, s.diagnostics.length])).toEqual([
      ["nothing", false, 0],
      ["negate", true, 1],
      ["nothing", false, 0]
    ])
    expect(compiled.snapshots[1]?.rules).toEqual(new Map([["exp-to-neg", 3]]))
    expect(compiled.snapshots.every((s) => s.milliseconds >= 0)).toBe(true)
    expect(compiled.graph.nodes.map((n) => n.op)).toEqual(["input", "neg", "reduce_sum"])
    expect(compiled.diagnostics).toHaveLength(1)
  })

  it("keeps schedules and memory for the graph they were made for, and forgets them with it", () => {
    const planned = [...Result.getOrThrow(Pipeline.parse("fuse-elementwise,choose-schedule,plan-memory"))]
    const kept = Result.getOrThrow(Pipeline.run([...planned, nothing], graph, options))
    expect(kept.schedules.size).toBe(1)
    expect(kept.memory).toEqual({ inPlace: new Map() })
    const rebuild = pass("rebuild", (g) => quiet(Graph.transform(g, (n) => ({ ...n }))))
    const same = Result.getOrThrow(Pipeline.run([...planned, rebuild], graph, options))
    expect(same.graph.nodes.filter((n) => same.schedules.has(n))).toHaveLength(1)
    const other = pass("other", (g) => {
      const step = (n: Node.Node): Node.Node =>
        n.op === "fused" ? (Node.make("fused", n.operands, { body: negated(n.attrs.body) }) as Node.Node) : n
      return quiet(Graph.transform(g, step))
    })
    const gone = Result.getOrThrow(Pipeline.run([...planned, other], graph, options))
    expect(gone.schedules.size).toBe(0)
    expect(gone.memory).toBeUndefined()
  })

  it("tells passes the limits and the donated inputs", () => {
    const seen: Array<readonly [Limits, ReadonlySet<string>]> = []
    const look = pass("look", (g, { limits, donated }) => {
      seen.push([limits, donated])
      return quiet(g)
    })
    const limits = { ...portable, kind: "cpu" as const }
    Pipeline.run([look], graph, { limits, donated: new Set(["x"]) })
    Pipeline.run([look], graph, { limits })
    expect(seen).toEqual([
      [limits, new Set(["x"])],
      [limits, new Set()]
    ])
  })
})

describe("hooks", () => {
  it("print what changed, time every pass, count rules", () => {
    const printed: Array<string> = []
    const timed: Array<string> = []
    const counted: Array<readonly [string, ReadonlyMap<string, number>]> = []
    const listening = [
      hooks.printIfChanged((name, g) => printed.push(`${name}: ${g.nodes.length}`)),
      hooks.time((name, ms) => timed.push(`${name}: ${typeof ms}`)),
      hooks.statistics((name, rules) => counted.push([name, rules]))
    ]
    Pipeline.run([nothing, negate], graph, { ...options, hooks: listening })
    expect(printed).toEqual(["negate: 3"])
    expect(timed).toEqual(["nothing: number", "negate: number"])
    expect(counted).toEqual([["negate", new Map([["exp-to-neg", 3]])]])
  })

  it("stop the pipeline with what they find", () => {
    const refuse: hooks.Hook = ({ snapshot }) => (snapshot.changed ? ["no change wanted"] : [])
    const result = Pipeline.run([nothing, negate], graph, { ...options, hooks: [refuse] })
    expect(Result.isFailure(result) && result.failure.message).toContain("no change wanted")
  })
})

describe("a pass that fails", () => {
  const breaks = pass("breaks", () => {
    throw new Error("index 7 is out of range")
  })

  it("gives its input as text that parses to the same graph, and the command that fails again", () => {
    const error = failureOf([negate, breaks])
    expect(error).toMatchObject({ _tag: "PassError", pass: "breaks" })
    expect(error.message).toContain("index 7 is out of range")
    expect(error.command).toBe("effuse opt --passes breaks input.eir")
    expect(error.what).toBe("the pass breaks failed: index 7 is out of range")
    const [what, ...rest] = error.message.split("\n")
    expect(what).toBe(error.what)
    for (const part of ["error.input", "error.command", error.command, `try: ${error.hint}`]) {
      expect(rest.join("\n").split(part).length, part).toBe(2)
    }
    const again = Result.getOrThrow(Parse.graph(error.input))
    expect(failureOf([breaks], again).message).toBe(error.message)
    expect(again.nodes.map((n) => n.op)).toEqual(["input", "neg", "reduce_sum"])
  })

  it("is found out where it leaves a graph that is not well-formed", () => {
    const [x] = graph.inputs
    const wrong = {
      ...(Node.make("exp", [x as Node.Node], {}) as Node.Node),
      type: { dtype: "f16", shape: [] }
    } as Node.Node
    const corrupt = pass("corrupt", () =>
      quiet({ inputs: graph.inputs, nodes: [x as Node.Node, wrong], outputs: [{ name: "sum", node: wrong }] })
    )
    expect(failureOf([corrupt]).pass).toBe("corrupt")
    expect(Result.isSuccess(Pipeline.run([corrupt], graph, { ...options, verify: false }))).toBe(true)
  })

  it("is found out where it changes the signature", () => {
    const renames = pass("renames", (g) =>
      quiet(Graph.make([{ name: "total", node: g.outputs[0]?.node as Node.Node }]))
    )
    expect(failureOf([renames]).message).toContain("(x) → (sum) to (x) → (total)")
  })

  it("is found out where it does not leave the form it says", () => {
    const lazy = pass("lazy", quiet, { to: "kernels" })
    expect(failureOf([lazy]).message).toContain("exp is not legal in the form kernels")
  })

  it("says which form it takes where it is run too early", () => {
    const [early] = Result.getOrThrow(Pipeline.parse("choose-schedule"))
    const error = failureOf([early as Pass])
    expect(error.message).toContain("takes graphs of the form kernels")
    expect(error.hint).toContain("order of the default pipeline")
  })
})

it("a diagnostic prints as a few lines", () => {
  const text = Diagnostic.print({
    pass: "fuse-attention",
    outcome: "refused",
    subject: "softmax of f32[B, 8, T, S]",
    at: { file: "model.ts", line: 12, column: 3 },
    label: "scores",
    nearest: "softmax attention",
    failed: "softmax runs over axis 2",
    suggestion: "use the last axis",
    rules: ["scale-of-q"]
  })
  expect(text.split("\n")).toEqual([
    'fuse-attention: refused: softmax of f32[B, 8, T, S] "scores" at model.ts:12:3',
    "  nearest match: softmax attention",
    "  failed: softmax runs over axis 2",
    "  try: use the last axis",
    "  rules: scale-of-q"
  ])
})
