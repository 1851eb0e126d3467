import { Result } from "effect"
import { describe, expect, test } from "vitest"
import * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import { AttrError, DTypeError, ShapeError } from "../../ir/errors.ts"
import * as Form from "../../ir/Form.ts"
import * as Graph from "../../ir/Graph.ts"
import * as Infer from "../../ir/Infer.ts"
import * as Node from "../../ir/Node.ts"
import { type OpName, opNames } from "../../ir/ops.ts"
import * as Print from "../../ir/Print.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import * as Verify from "../../ir/Verify.ts"
import * as arrays from "../support/arrays.ts"
import { exampleGraph, exampleText } from "../support/examples.ts"

describe.each(opNames)("%s", (op) => {
  const spec = Node.specOf(op)

  test("its example uses it, parses, verifies and prints back as it is written", () => {
    const graph = exampleGraph(op)
    expect(graph.outputs[0]?.node.op).toBe(op)
    expect(Verify.graph(graph)).toEqual(Result.succeed(undefined))
    expect(Print.graph(graph)).toBe(exampleText(op))
  })

  test("its record has its name, and a line of meaning", () => {
    expect(spec.name).toBe(op)
    expect(spec.summary).toMatch(/^\S.*\.$/)
    expect(spec.summary).not.toContain("\n")
  })

  test("a variadic operand is the last one", () => {
    expect(spec.operands.slice(0, -1).filter((name) => name.endsWith("..."))).toEqual([])
  })

  test("a wrong number of operands is refused by name", () => {
    const { least, most } = Node.arity(op)
    const node = exampleGraph(op).outputs[0]?.node as Node.Node
    const extra = Node.make("input", [], { name: "extra", type: TensorType.make("f32", []) })
    for (const count of [least - 1, ...(most === undefined ? [] : [most + 1])]) {
      if (count < 0) continue
      const operands = [...node.operands, extra, extra, extra].slice(0, count)
      const result = Node.tryMake(op, operands, node.attrs as never)
      expect(Result.isFailure(result) && result.failure.message).toContain(`${op}: takes`)
    }
  })

  test("an elementwise op says what it does to one element, and no other op does", () => {
    const scalar = spec.family === "elementwise" || spec.family === "compare"
    // What a cast does depends on the dtypes.
    expect(spec.scalar !== undefined).toBe(scalar && op !== "cast")
  })

  const forms = Object.values(Form.forms).filter((form) => form.legal.has(op))
  test("some form holds it", () => {
    expect(forms.length).toBeGreaterThan(0)
  })
})

/** Pairs of typical and of special values. */
const samples = (from: arrays.Random, dtype: DType): number => {
  if (dtype === "bool") return from.integer(0, 1)
  if (dtype === "i32") return from.integer(-20, 20)
  return from.pick([from.normal(), 0, -0, 1, -1, Infinity, -Infinity, Number.NaN])
}

const dtypes = (op: OpName): ReadonlyArray<DType> =>
  (["f32", "i32", "bool"] as const).filter((dtype) => {
    const types = Node.specOf(op).operands.map(() => TensorType.make(dtype, []))
    try {
      Node.infer(op, types, {})
      return true
    } catch {
      return false
    }
  })

describe("facts", () => {
  const scalars = opNames.filter((op) => Node.specOf(op).scalar !== undefined)
  const claims = (fact: keyof Node.AnyOp["facts"], value: unknown = true) =>
    scalars.filter((op) => Node.specOf(op).facts[fact] === value)
  const apply = (op: OpName, ...xs: Array<number>): number => Node.specOf(op).scalar?.(...xs) as number
  const forAll = (op: OpName, law: (next: () => number) => void): void => {
    expect(dtypes(op).length).toBeGreaterThan(0)
    for (const dtype of dtypes(op)) {
      const from = arrays.random(7)
      for (let i = 0; i < 500; i++) law(() => samples(from, dtype))
    }
  }

  test.each(claims("commutative"))("%s commutes", (op) =>
    forAll(op, (next) => {
      const [x, y] = [next(), next()]
      expect(apply(op, x, y)).toBe(apply(op, y, x))
    })
  )
  test.each(claims("associative", "exact"))("%s is associative to the bit", (op) =>
    forAll(op, (next) => {
      const [x, y, z] = [next(), next(), next()]
      expect(apply(op, apply(op, x, y), z)).toBe(apply(op, x, apply(op, y, z)))
    })
  )
  test.each(claims("monotone"))("%s never decreases", (op) =>
    forAll(op, (next) => {
      const count = Node.arity(op).least
      const low = Array.from({ length: count }, next)
      const high = low.map((x) => Math.max(x, next()))
      const [a, b] = [apply(op, ...low), apply(op, ...high)]
      // NaN is in no order. The error function is a series on one side of 2.5 and a fraction on the other.
      if (!Number.isNaN(a) && !Number.isNaN(b)) expect(a).toBeLessThanOrEqual(b + 1e-15)
    })
  )
  test("ops that do not commute are not said to", () => {
    expect(claims("commutative")).not.toContain("sub")
    expect(apply("sub", 1, 2)).not.toBe(apply("sub", 2, 1))
  })
})

describe("what a rule refuses", () => {
  const input = (name: string, dtype: DType, dims: ReadonlyArray<Dim.DimLike>): Node.Node =>
    Node.make("input", [], { name, type: TensorType.make(dtype, Shape.from(dims)) }) as Node.Node
  const x = input("x", "f32", ["T", 4])
  const y = input("y", "f32", ["T", 5])
  const cube = input("z", "f32", [2, "T", 4])
  const half = input("h", "f16", ["T", 4])
  const index = input("i", "i32", ["S"])
  const flag = input("b", "bool", ["T", 4])
  const axes = { lhsBatch: [0], rhsBatch: [0], lhsContract: [1], rhsContract: [1] }
  const shapes: ReadonlyArray<readonly [OpName, ReadonlyArray<Node.Node>, object]> = [
    ["add", [x, y], {}],
    ["select", [flag, x, y], {}],
    ["dot", [x, y], axes],
    ["concat", [x, y], { axis: 0 }],
    ["concat", [x, cube], { axis: 0 }],
    ["update_slice", [x, y, input("n", "i32", [])], { axis: 0, wrap: false }],
    ["load", [x, index], {}],
    ["scatter", [x, y, index], {}],
    [
      "flash_attention",
      [cube, cube, cube],
      { score: exampleGraph("exp"), fill: 0, output: "result", dtype: "f32" }
    ]
  ]
  test.each(shapes)("%s names itself and the shapes", (op, operands, attrs) => {
    const result = Node.tryMake(op, operands, attrs as never, { at: { file: "a.ts", line: 3, column: 4 } })
    if (Result.isSuccess(result)) throw new Error("accepted")
    expect(result.failure).toBeInstanceOf(ShapeError)
    expect(result.failure.op).toBe(op)
    expect(result.failure.at).toEqual({ file: "a.ts", line: 3, column: 4 })
    expect(result.failure.message.startsWith(`${op}: `)).toBe(true)
    for (const operand of operands.slice(-2))
      expect(result.failure.message).toContain(TensorType.print(operand.type))
  })

  const dtyped: ReadonlyArray<readonly [OpName, ReadonlyArray<Node.Node>, object]> = [
    ["add", [x, half], {}],
    ["add", [flag, flag], {}],
    ["exp", [index], {}],
    ["not", [x], {}],
    ["and", [x, x], {}],
    ["dot", [x, half], axes],
    ["softmax", [index], { axis: 0 }],
    ["reduce_sum", [flag], { axes: [0] }],
    ["gather", [x, half], { axis: 0 }],
    ["scatter", [x, x, half], {}],
    ["select", [x, x, x], {}],
    ["random_bits", [x], { shape: [] }]
  ]
  test.each(dtyped)("%s names itself and the types", (op, operands, attrs) => {
    const result = Node.tryMake(op, operands, attrs as never)
    if (Result.isSuccess(result)) throw new Error("accepted")
    expect(result.failure).toBeInstanceOf(DTypeError)
    expect(result.failure.message.startsWith(`${op}: `)).toBe(true)
    expect(result.failure.message).toContain(TensorType.print((operands.at(-1) as Node.Node).type))
  })

  const dims = Shape.from
  const attrs: ReadonlyArray<readonly [OpName, ReadonlyArray<Node.Node>, object]> = [
    ["softmax", [x], { axis: 2 }],
    ["softmax", [x], { axis: -1 }],
    ["reduce_max", [x], { axes: [0, 0] }],
    ["transpose", [x], { perm: [0] }],
    ["transpose", [x], { perm: [1, 1] }],
    ["slice", [x], { starts: dims([0, 0]), stops: dims(["T", 5]), steps: [1, 1] }],
    ["slice", [x], { starts: dims([0, 3]), stops: dims(["T", 2]), steps: [1, 1] }],
    ["slice", [x], { starts: dims([0, 0]), stops: dims(["T", 4]), steps: [2, 1] }],
    ["slice", [x], { starts: dims([0]), stops: dims(["T"]), steps: [1] }],
    ["pad", [x], { low: dims([0, -1]), high: dims([0, 0]), value: 0 }],
    ["layer_norm", [x], { axis: 1, epsilon: Number.NaN }],
    ["rms_norm", [x], { axis: 1, epsilon: -1 }],
    ["constant", [], { values: [1, 2], type: TensorType.make("f32", dims([3])) }],
    ["constant", [], { values: [1], type: TensorType.make("f32", dims(["T"])) }],
    ["constant", [], { values: [0.5], type: TensorType.make("i32", []) }],
    ["constant", [], { values: [-1], type: TensorType.make("u32", []) }],
    ["constant", [], { values: [2], type: TensorType.make("bool", []) }],
    ["iota", [], { type: TensorType.make("f32", dims(["T"])) }]
  ]
  test.each(attrs)("%s names itself and the attribute", (op, operands, values) => {
    const result = Node.tryMake(op, operands, values as never)
    if (Result.isSuccess(result)) throw new Error("accepted")
    expect(result.failure).toBeInstanceOf(AttrError)
    expect(result.failure.message.startsWith(`${op}: `)).toBe(true)
  })

  test("sizes that may be equal become constraints, in regions too", () => {
    const z = input("z", "f32", ["S", 4])
    const sum = Node.make("add", [x, z], {})
    const body = Graph.make([{ name: "out", node: sum as Node.Node }])
    const outer = Graph.make([{ name: "out", node: Node.make("fused", [x, z], { body }) as Node.Node }])
    for (const graph of [body, outer]) {
      expect(Graph.constraints(graph).map((c) => `${c.left.key} ${c.relation} ${c.right.key}`)).toEqual([
        "T = S"
      ])
      expect(Graph.symbols(graph)).toEqual(["S", "T"])
    }
  })

  test("the lse of attention has the accumulator's dtype, whatever was asked", () => {
    const [q, k, v] = exampleGraph("flash_attention").nodes as ReadonlyArray<Node.Node>
    const node = exampleGraph("flash_attention").outputs[0]?.node as Node.NodeOf<"flash_attention">
    const made = (dtype: DType) =>
      Node.tryMake("flash_attention", [q, k, v] as Array<Node.Node>, { ...node.attrs, output: "lse", dtype })
    expect(Result.isFailure(made("f16"))).toBe(true)
    expect(TensorType.print(Result.getOrThrow(made("f32")).type)).toBe("f32[B, 32, T]")
  })
})

describe("broadcasting", () => {
  test("agrees with evaluation: broadcast symbolically, then bind, or the other way round", () => {
    const from = arrays.random(11)
    let broadcast = 0
    for (let i = 0; i < 500; i++) {
      const dims = Array.from({ length: from.integer(0, 3) }, () => from.pick([1, 3, "T", "S"] as const))
      const other = dims.map((d) => (from.next() < 0.4 ? 1 : d)).slice(from.integer(0, dims.length))
      const types = [dims, other].map((list) => TensorType.make("f32", Shape.from(list)))
      const constraints: Array<Shape.Constraint> = []
      const shape = Infer.broadcast("add", types, constraints)
      const at = { T: from.integer(2, 9), S: from.integer(2, 9) }
      const bound = types.map((t) => TensorType.make("f32", Shape.from(Shape.evaluate(t.shape, at))))
      expect(constraints).toEqual([])
      expect(Shape.constants(Infer.broadcast("add", bound, []))).toEqual(Shape.evaluate(shape, at))
      if (other.length < dims.length) broadcast++
      expect(shape.every(Dim.isDim)).toBe(true)
    }
    expect(broadcast).toBeGreaterThan(50)
  })
})
