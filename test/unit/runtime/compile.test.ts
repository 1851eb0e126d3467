import { Effect, Result } from "effect"
import { describe, expect, it } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Parse from "../../../ir/Parse.ts"
import { type CompileOptions, compile, compileGraph } from "../../../src/compile.ts"
import type { CompileError } from "../../../src/errors.ts"
import * as Entry from "../../../src/index.ts"
import * as Mask from "../../../src/Mask.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Returned, Signature } from "../../../src/trace.ts"

const x = spec("f32", ["T", 4])
const y = spec("f32", [3, 5])

/** What is wrong with a definition. Its types are not checked: people without an editor make these mistakes. */
const mistake = (fn: unknown, signature: unknown, options: CompileOptions = {}): CompileError =>
  Effect.runSync(
    compile(fn as () => Returned, signature as Signature, options).pipe(
      Effect.flip,
      Effect.provide(Reference.layer)
    )
  )

describe("a function that builds no expression", () => {
  const foreign = Tensor.input("z", x)
  it.each([
    ["throws", () => JSON.parse("{"), "threw while it was traced"],
    ["returns nothing", () => undefined, "a value of type undefined"],
    ["returns null", () => null, "null"],
    ["returns an operation that lacks its tensor", () => Tensor.softmax(-1), "still waits for its tensor"],
    ["returns a number", () => 3, "a value of type number"],
    ["is async", async ({ a }: { a: Tensor.Tensor }) => a, "a promise"],
    ["returns an empty record", () => ({}), "nothing to compute"],
    ["returns an empty tuple", () => [], "nothing to compute"],
    ["returns a number in a record", ({ a }: { a: unknown }) => ({ a, b: 3 }), 'number as "b"'],
    ["uses a tensor of another function", ({ a }: { a: Tensor.Tensor }) => Tensor.add(a, foreign), '"z"'],
    ["is no function", 3, "not a function"]
  ])("%s", (_, fn, words) => {
    const error = mistake(fn, { a: x })
    expect(error._tag).toBe("TraceError")
    expect(error.message).toContain(words)
    expect(error.hint).toBeTruthy()
  })

  it("uses a tensor of another function that has the name of an argument", () => {
    const other = Tensor.input("a", spec("f32", [4]))
    const error = mistake(({ a }: { a: Tensor.Tensor }) => Tensor.add(a, other), { a: x })
    expect(error._tag).toBe("TraceError")
    expect(error.message).toContain('the tensor "a", which is not an argument')
  })

  it("keeps what the function threw", () => {
    const cause = new Error("mine")
    const error = mistake(
      () => {
        throw cause
      },
      { a: x }
    )
    expect(error).toMatchObject({ _tag: "TraceError", cause })
    expect(error.message).toContain("mine")
  })
})

describe("an expression that cannot be", () => {
  const two = { a: x, b: y }
  type Two = { readonly a: Tensor.Tensor; readonly b: Tensor.Tensor }
  it.each([
    [
      "a matmul of other sizes",
      "ShapeError",
      ({ a, b }: Two) => Tensor.matmul(a, b),
      ["matmul", "4]", "[3, 5]"]
    ],
    ["a sum of other sizes", "ShapeError", ({ a, b }: Two) => Tensor.add(a, b), ["add", "4]", "[3, 5]"]],
    ["an axis past the rank", "AttrError", ({ a }: Two) => Tensor.softmax(a, 2), ["softmax", "2"]],
    [
      "a reshape to another size",
      "ShapeError",
      ({ b }: Two) => Tensor.reshape(b, [4, 4]),
      ["reshape", "[3, 5]"]
    ],
    [
      "a mask of another shape",
      "ShapeError",
      ({ b }: Two) => Mask.apply(b, Mask.fromTensor(Tensor.ones([2, 2], "bool"))),
      ["[3, 5]"]
    ]
  ] as ReadonlyArray<[string, string, (tensors: Two) => Tensor.Tensor, ReadonlyArray<string>]>)(
    "%s",
    (_, tag, fn, words) => {
      const error = mistake(fn, two)
      expect(error._tag).toBe(tag)
      for (const word of words) expect(error.message).toContain(word)
      expect(error).toMatchObject({ at: { file: expect.stringContaining("compile.test.ts") } })
      expect(error.hint).toBeTruthy()
    }
  )
})

describe("a signature that says too little", () => {
  const same = ({ a }: { a: Tensor.Tensor }) => a
  it("is missing", () => {
    expect(mistake(same, undefined)).toMatchObject({ _tag: "SignatureError" })
    expect(mistake(same, null)).toMatchObject({ _tag: "SignatureError" })
  })

  it("says nothing about an input", () => {
    expect(mistake(same, { a: [3, 4] })).toMatchObject({ _tag: "SignatureError", input: "a" })
    expect(mistake(same, { a: undefined })).toMatchObject({ _tag: "SignatureError", input: "a" })
  })

  it("leaves a length open", () => {
    const error = mistake(({ a }: { a: Tensor.Tensor }) => Tensor.add(a, Tensor.zeros(["N", 4])), {
      a: x
    })
    expect(error._tag).toBe("SignatureError")
    expect(error).toMatchObject({
      what: "no input determines the length N",
      hint: "use a number, or a name that occurs in the shape of an input"
    })
  })

  it("donates what is not there", () => {
    const error = mistake(same, { a: x }, { donate: ["b"] })
    expect(error).toMatchObject({ _tag: "SignatureError", input: "b", hint: "the inputs are a" })
  })
})

describe("options", () => {
  it("hooks that the entry point exports see each pass", () => {
    const seen: Array<string> = []
    const changed: Array<string> = []
    const hooks = [
      Entry.Hooks.time((pass) => void seen.push(pass)),
      Entry.Hooks.printIfChanged((pass) => void changed.push(pass))
    ]
    const twice = ({ a }: { a: Tensor.Tensor }) => Tensor.mul(Tensor.mul(a, 2), 3)
    Effect.runSync(compile(twice, { a: x }, { hooks }).pipe(Effect.provide(Reference.layer)))
    expect(seen.join(",")).toBe(Entry.Pipeline.defaultText)
    expect(changed).toEqual(["canonicalize", "fuse-elementwise"])
  })

  const softmax = ({ a }: { a: Tensor.Tensor }) => Tensor.softmax(a, -1)
  it.each(["fp16", "F16", null, 16, {}, Symbol("f16")])(
    "arithmetic is one that there is, not %o",
    (asked) => {
      const error = mistake(softmax, { a: x }, { arithmetic: asked as "f16" })
      expect(error).toMatchObject({ _tag: "SignatureError", hint: 'pass "f32" or "f16"' })
    }
  )

  it("name passes that exist", () => {
    const error = mistake(softmax, { a: x }, { pipeline: "canonicalise" })
    expect(error._tag).toBe("SignatureError")
    expect(error.hint).toContain("canonicalize")
  })

  it("requireFused fails where there is no attention, and says so", () => {
    const error = mistake(softmax, { a: x }, { requireFused: true })
    expect(error._tag).toBe("FusionRequired")
    expect(error.message).toContain("no attention to fuse")
    expect(error.hint).toBeTruthy()
  })

  it("requireFused fails with the reason where attention stays unfused", () => {
    const overQueries = ({ q, k, v }: { q: Tensor.Tensor; k: Tensor.Tensor; v: Tensor.Tensor }) =>
      Tensor.matmul(Tensor.softmax(Tensor.matmul(q, Tensor.transpose(k)), 0), v)
    const keys = spec("f32", ["S", 4])
    const error = mistake(overQueries, { q: x, k: keys, v: keys }, { requireFused: true })
    expect(error._tag).toBe("FusionRequired")
    expect(error.message).toContain("the softmax normalises axis 0")
    expect(error.message).toContain("compile.test.ts")
    expect(error.message).not.toContain("note:")
  })
})

describe("what compile gives", () => {
  const array = HostArray.fromNumbers("f32", [1, 4], [1, 2, 3, 4])
  const run = <A, E>(effect: Effect.Effect<A, E, import("../../../backends/Backend.ts").Backend>) =>
    Effect.runPromise(Effect.provide(effect, Reference.layer))

  it("results as the function arranged them", () =>
    Effect.gen(function* () {
      const one = yield* (yield* compile(({ a }) => Tensor.neg(a), { a: x }))({ a: array })
      expect([...one.data]).toEqual([-1, -2, -3, -4])
      const [first, second] = yield* (yield* compile(({ a }) => [a, Tensor.neg(a)] as const, { a: x }))({
        a: array
      })
      expect([first.data[0], second.data[0]]).toEqual([1, -1])
      const record = yield* (yield* compile(({ a }) => ({ _tag: a, twice: Tensor.add(a, a) }), { a: x }))({
        a: array
      })
      expect([record._tag.data[0], record.twice.data[0]]).toEqual([1, 2])
    }).pipe(run))

  it("the graph at every stage, and a suggestion for a stage that is not there", () =>
    Effect.gen(function* () {
      const f = yield* compile(softmaxOf, { a: x })
      expect(f.ir("traced")).toContain("softmax")
      expect(f.ir("after-fuse-elementwise")).toContain("fused")
      expect(f.ir("fuse-elementwise")).toBe(f.ir("after-fuse-elementwise"))
      expect(f.ir()).toBe(f.ir("after-plan-memory"))
      expect(() => f.ir("after-fuse-elementwize")).toThrow("did you mean after-fuse-elementwise?")
      expect(() => f.ir("zzzzzzzzzzzzzzzzzzzz")).toThrow("the stages are traced, ")
      expect(f.snapshots.map((s) => s.pass)).toContain("fuse-elementwise")
    }).pipe(run))

  it("counts for lengths that were never run", () =>
    Effect.gen(function* () {
      const f = yield* compile(softmaxOf, { a: x })
      expect(f.symbols).toEqual(["T"])
      expect(f.stats({ T: 1000 }).dispatches).toBeGreaterThan(0)
      expect(() => f.stats({})).toThrow("the length T is not given")
    }).pipe(run))

  it("runs graphs that were read from text", () =>
    Effect.gen(function* () {
      const graph = Result.getOrThrow(
        Parse.graph(`graph {\n  %0: f32[T] = input {name = "x"}\n  %1: f32[T] = exp %0\n  return %1\n}`)
      )
      const f = yield* compileGraph(graph)
      const out = yield* f({ x: HostArray.fromNumbers("f32", [2], [0, 0]) })
      expect(Object.keys(out)).toEqual(["out"])
      expect([...(out["out"] as HostArray.HostArray).data]).toEqual([1, 1])
    }).pipe(run))
})

const softmaxOf = ({ a }: { readonly a: Tensor.Tensor }) => Tensor.softmax(a, -1)
