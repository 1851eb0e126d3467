import { describe, expect, test } from "vitest"
import * as Dim from "../../../ir/Dim.ts"
import { AttrError, DTypeError, type NodeError, ShapeError } from "../../../ir/errors.ts"
import * as Graph from "../../../ir/Graph.ts"
import * as Mask from "../../../src/Mask.ts"
import { spec } from "../../../src/spec.ts"
import * as Tensor from "../../../src/Tensor.ts"
import * as Site from "../../../src/tensor/Site.ts"

/** The line of this file that calls it. */
const lineHere = (): number =>
  Number(/errors\.test\.ts:(\d+)/.exec(new Error().stack?.split("\n")[2] ?? "")?.[1])

const caught = (f: () => unknown): NodeError => {
  try {
    f()
  } catch (error) {
    if (error instanceof ShapeError || error instanceof DTypeError || error instanceof AttrError) return error
    throw error
  }
  throw new Error("nothing was thrown")
}

const a = Tensor.zeros(["B", 3, 4])
const wide: Tensor.Tensor = Tensor.zeros([2, 3])
const other: Tensor.Tensor = Tensor.zeros([4, 5])

describe("messages name the op, the shapes, and what to try", () => {
  test.each([
    ["matmul", () => Tensor.matmul(wide, other), "matmul: contracts 3 with 4, given f32[2, 3] and f32[4, 5]"],
    ["add", () => Tensor.add(wide, other), "given f32[2, 3] and f32[4, 5]"],
    ["concat", () => Tensor.concat([wide, other], 0), "given f32[2, 3] and f32[4, 5]"],
    [
      "reshape",
      () => Tensor.reshape(wide, [7] as ReadonlyArray<number>),
      "[7] must hold the same number of elements"
    ],
    [
      "reshape",
      () => Tensor.reshape(wide, [-1, 4] as ReadonlyArray<number>),
      "[-1, 4] does not divide the elements of f32[2, 3]"
    ],
    [
      "matmul",
      () => Tensor.matmul(Tensor.zeros([2, 3, 4]) as Tensor.Tensor, Tensor.zeros([5, 4, 3]) as Tensor.Tensor),
      "the batch axes of f32[2, 3, 4] and f32[5, 4, 3]"
    ],
    ["squeeze", () => Tensor.squeeze(wide, 0), "axis 0 of f32[2, 3] has size 2, not 1"],
    ["broadcastTo", () => Tensor.broadcastTo(wide, [3, 3] as ReadonlyArray<number>), "given f32[2, 3]"],
    ["repeatHeads", () => Tensor.repeatHeads(wide, 2), "given f32[2, 3]"]
  ])("ShapeError of %s", (op, f, text) => {
    const error = caught(f)
    expect(error._tag).toBe("ShapeError")
    expect(error.message).toContain(text)
    expect(error.hint).toBeTruthy()
    expect(error.at?.file).toMatch(/errors\.test\.ts$/)
    expect(op).toBeTruthy()
  })

  test.each([
    ["softmax", () => Tensor.softmax(wide, 2), "softmax: axis 2 is outside [2, 3], which has rank 2"],
    ["sum", () => Tensor.sum(wide, [0, -2]), "name an axis of [2, 3] twice"],
    ["permute", () => Tensor.permute(wide, [0, 0]), "[0, 0] does not order the 2 axes"],
    ["repeatHeads", () => Tensor.repeatHeads(a, 0), "cannot repeat 0 times"],
    ["slice", () => Tensor.slice(wide, 0, { step: 0 }), "a step of 0 leads nowhere"],
    ["layerNorm", () => Tensor.layerNorm(wide, { epsilon: -1 }), "epsilon -1"],
    ["Mask.and", () => Mask.and(Mask.causal, Mask.toDrop(Mask.causal) as never), "a Keep meets a Drop"]
  ])("AttrError of %s", (_, f, text) => {
    const error = caught(f)
    expect(error._tag).toBe("AttrError")
    expect(error.message).toContain(text)
    expect(error.hint).toBeTruthy()
  })

  test.each([
    [
      "where",
      () => Tensor.where(wide as Tensor.Tensor<"bool">, 1, 0),
      "where: the condition is a bool, given f32[2, 3]"
    ],
    ["add", () => Tensor.add(wide, "3" as never), "takes tensors and numbers, not string"],
    ["exp", () => Tensor.exp([1] as never), "exp: takes a tensor, not an array"],
    ["cast", () => Tensor.cast(wide, "f8" as never), 'there is no element type "f8"'],
    ["spec", () => spec("float" as never, []), 'there is no element type "float"'],
    [
      "fromTensor",
      () => Tensor.zeros([2, 3]).pipe(Mask.apply(Mask.fromTensor(wide as Tensor.Tensor<"bool">))),
      "a mask is a bool tensor"
    ]
  ])("DTypeError of %s", (_, f, text) => {
    const error = caught(f)
    expect(error._tag).toBe("DTypeError")
    expect(error.message).toContain(text)
    expect(error.hint).toBeTruthy()
  })

  test("the message alone holds the line and what to try, and so do texts made from the error", () => {
    const line = lineHere() + 1
    const error = caught(() => Tensor.matmul(wide, other))
    const [first, second, third, ...rest] = error.message.split("\n")
    expect(first).toBe("matmul: contracts 3 with 4, given f32[2, 3] and f32[4, 5]")
    expect(first).toBe(error.what)
    expect(second).toMatch(new RegExp(`^  written at .*errors\\.test\\.ts:${line}:\\d+$`))
    expect(third).toBe(`  try: ${error.hint}`)
    expect(rest).toEqual([])
    expect(String(error)).toBe(`ShapeError: ${error.message}`)
    expect(error.stack).toContain(error.message)
  })

  test("a swapped operand gets the hint that swaps it back", () => {
    const k: Tensor.Tensor = Tensor.zeros([7, 3])
    expect(caught(() => Tensor.matmul(wide, k)).hint).toContain("transpose the right operand")
  })

  test.each([
    ["", "no name"],
    ["T-", "a minus and nothing"],
    ["a.b", "a dot"],
    ["T; return", "a statement"],
    ["1T", "a digit first"],
    ["a".repeat(65), "65 letters"]
  ])("spec refuses %j: %s", (name) => {
    const error = caught(() => spec("f32", [name]))
    expect(error._tag).toBe("ShapeError")
    expect(error.message).toContain(`${JSON.stringify(name)} at axis 0 is not a size`)
  })
  test("spec takes polynomials of names", () => {
    expect(spec("f32", ["P + T", "T-1", "2*T", Dim.add(Dim.symbol("T"), Dim.symbol("P"))]).shape).toEqual([
      "P + T",
      "T - 1",
      "2*T",
      "P + T"
    ])
  })
  test.each([-1, 1.5, Number.NaN, null, {}])("spec refuses the size %j", (size) => {
    expect(caught(() => spec("f32", ["T", size as number])).message).toContain("at axis 1 is not a size")
  })
})

describe("locations", () => {
  test("an error knows the line that made it", () => {
    const line = lineHere() + 1
    const error = caught(() => Tensor.matmul(wide, other))
    expect(error.at).toMatchObject({ line, file: expect.stringMatching(/errors\.test\.ts$/) })
  })

  test("each step of a pipe has its own line, also when the pipe runs elsewhere", () => {
    const line = lineHere() + 1
    const scale = Tensor.mul(0.5)
    const soft = Tensor.softmax(-1)
    const error = caught(() => wide.pipe(Tensor.matmul(other)))
    const result = wide.pipe(scale, soft)
    expect(Tensor.nodeOf(result).at?.line).toBe(line + 1)
    expect(Tensor.nodeOf(result).operands[0]?.at?.line).toBe(line)
    expect(error.at?.line).toBe(line + 2)
  })

  test("everything a helper builds belongs to the line that called it", () => {
    const x = Tensor.input("x", spec("f16", ["B", 8, "T", 64]))
    const line = lineHere() + 1
    const result = Tensor.rope(x, { offset: 3, dims: 32 })
    const found = Graph.make([{ name: "out", node: Tensor.nodeOf(result) }]).nodes.filter(
      (n) => n.op !== "input"
    )
    expect(found.length).toBeGreaterThan(10)
    expect([...new Set(found.map((n) => n.at?.line))]).toEqual([line])
  })

  test("the user's frame is found in the traces of every engine", () => {
    const own = (file: string): boolean => !file.includes("/effuse/") && !file.includes("/node_modules/")
    const v8 = [
      "Error",
      "    at capture (file:///app/effuse/src/tensor/Site.js:1:2)",
      "    at Expression.pipe (/app/node_modules/effect/dist/Pipeable.js:3:4)",
      "    at eval (eval at run (file:///app/main.js:1:1), <anonymous>:1:1)",
      "    at async model (/app/my (new) model.js:12:34)",
      "    at main (file:///app/main.js:5:6)"
    ]
    const bare = ["Error", "    at file:///app/effuse/a.js:1:1", "    at async file:///app/main.js:5:6"]
    const firefox = [
      "capture@http://host/effuse/Site.js:1:2",
      "pipe@http://host/node_modules/effect/Pipeable.js:3:4",
      "model@http://host/app.js:12:34",
      ""
    ]
    const safari = ["capture@http://host/effuse/Site.js:1:2", "http://host/@fs/app.js:12:34", "[native code]"]
    expect(Site.fromStack(v8.join("\n"), own)).toEqual({
      file: "/app/my (new) model.js",
      line: 12,
      column: 34
    })
    expect(Site.fromStack(bare.join("\n"), own)).toEqual({ file: "/app/main.js", line: 5, column: 6 })
    expect(Site.fromStack(firefox.join("\n"), own)).toEqual({
      file: "http://host/app.js",
      line: 12,
      column: 34
    })
    expect(Site.fromStack(safari.join("\n"), own)).toMatchObject({ file: "http://host/@fs/app.js", line: 12 })
    expect(Site.fromStack(undefined, own).file).toBe("unknown")
  })
})
