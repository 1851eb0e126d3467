import { describe, expect, test } from "vitest"
import * as Intermediates from "../../../backends/webgpu/Intermediates.ts"
import { lower } from "../../../backends/webgpu/lower.ts"
import * as Program from "../../../backends/webgpu/Program.ts"
import * as Size from "../../../backends/webgpu/Size.ts"
import { isScalarOp } from "../../../backends/webgpu/wgsl/scalar.ts"
import * as Limits from "../../../ir/Limits.ts"
import { opNames, ops } from "../../../ir/ops.ts"
import * as Shape from "../../../ir/Shape.ts"
import * as TensorType from "../../../ir/TensorType.ts"
import { graphOf } from "../../support/evaluate.ts"
import { planOf } from "../../support/plans.ts"

describe("programs", () => {
  test("a tensor's buffer is never empty and ends at a vector", () => {
    const bytes = (type: TensorType.TensorType) => Size.evaluate(Program.storageBytes(type), {})
    const of = (dtype: TensorType.TensorType["dtype"], n: number) =>
      bytes(TensorType.make(dtype, Shape.from([n])))
    expect([of("f32", 0), of("f32", 1), of("f32", 5), of("f16", 3), of("bf16", 9), of("bool", 5)]).toEqual([
      16, 16, 32, 16, 32, 32
    ])
  })

  test("every count of workgroups fits the folded grid", () => {
    const limits = { ...Limits.portable, maxComputeWorkgroupsPerDimension: 7 }
    for (let count = 0; count <= 49; count++) {
      const [x, y] = Program.dispatchSize(count, limits)
      expect(x <= 7 && y <= 7 && x * y >= count && x * y - count < y).toBe(true)
    }
  })

  test("the uniform holds a zero, the first workgroup and the symbols in order", () => {
    const text = `%x: f32[T, S, B, P] = input {name = "x"}\n%1: f32[T, S, B, P] = neg %x\nreturn %1`
    const program = lower(planOf(graphOf(text)), Limits.portable)
    expect(program.symbols).toEqual(["B", "P", "S", "T"])
    expect([...Program.uniform(program, { B: 2, P: 3, S: 4, T: 5 })]).toEqual([0, 0, 2, 3, 4, 5, 0, 0])
    expect(Program.uniform(program, { B: 2, P: 3, S: 4, T: 5 }, 7)[1]).toBe(7)
    expect(() => Program.uniform(program, { B: 2, P: 3, S: 4 })).toThrow("T is not bound")
  })

  test("equal kernels are compiled once, empty work does not run", () => {
    const text = `graph {
      %x: f32[T, 3] = input {name = "x"}
      %y: f32[T, 3] = input {name = "y"}
      %0: f32[T, 3] = neg %x
      %1: f32[T, 3] = neg %y
      %2: f32[3] = reduce_sum %0 {axes = [0]}
      return "a": %0, "b": %1, "c": %2
    }`
    const program = lower(planOf(graphOf(text)), Limits.portable)
    expect([program.kernels.length, program.steps.length]).toEqual([2, 3])
    expect(Program.steps(program, { T: 4 }).length).toBe(3)
    expect(Program.steps(program, { T: 0 }).map((s) => program.kernels[s.kernel]?.name)).toEqual([
      "reduce_sum"
    ])
  })

  test("memory that one node needs for itself serves the next as well", () => {
    const distance = (x: string, out: string) => `%${out}: f32[T, S] = fused ${x} {
      body = {
        %x: f32[T, S] = input {name = "x"}
        %0: f32[T] = reduce_max %x {axes = [1]}
        %1: f32[T, 1] = reshape %0
        %2: f32[T, S] = sub %x, %1
        return %2
      }
    }`
    const text = `graph {
      %x: f32[T, S] = input {name = "x"}
      ${distance("%x", "a")}
      ${distance("%a", "b")}
      return "a": %a, "b": %b
    }`
    const program = lower(planOf(graphOf(text)), Limits.portable)
    expect([program.steps.length, program.kernels.length]).toEqual([4, 2])
    const { buffers, places } = Intermediates.of(program, program.steps, { T: 90, S: 100 }, Limits.portable)
    expect(buffers).toEqual([512])
    expect([...places.values()]).toEqual([0, 1].map(() => ({ buffer: 0, offset: 0, bytes: 512 })))
  })

  test("equal constants are stored once", () => {
    const text = `graph {
      %x: f32[3] = input {name = "x"}
      %0: f32[3] = constant {values = [1, 2, 3]}
      %1: f32[3] = add %x, %0
      %2: f32[3] = mul %1, %0
      return %2
    }`
    expect(lower(planOf(graphOf(text)), Limits.portable).constants.length).toBe(1)
  })
})

test("the scalar table holds exactly the ops on single elements", () => {
  const families = new Set(["elementwise", "compare"])
  for (const name of opNames) expect(isScalarOp(name), name).toBe(families.has(ops[name].family))
})
