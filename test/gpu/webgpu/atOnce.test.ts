import { describe, expect, test } from "vitest"
import { dispatched } from "../../support/dispatched.ts"
import { input } from "../../support/irText.ts"

const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [2], rhsContract = [1]}"

const projections = `graph {
  ${input("f32[B, T, 12]")}
  ${input("f32[20, 12]", "q")}
  ${input("f32[4, 12]", "k")}
  ${input("f16[6, 12]", "v")}
  ${input("f32[4]", "bias")}
  %a: f32[B, T, 20] = dot %x, %q ${dot}
  %b: f32[B, T, 4] = dot %x, %k ${dot}
  %w: f32[6, 12] = cast %v
  %c: f32[B, T, 6] = dot %x, %w ${dot}
  %d: f32[B, T, 4] = add %b, %bias
  %n: f32[B, T, 20] = neg %a
  %s: f32[B, T] = reduce_sum %n {axes = [2]}
  %t: f16[B, T, 6] = cast %c
  return "s": %s, "d": %d, "t": %t
}`

const lengths = [
  { B: 1, T: 1 },
  { B: 3, T: 5 },
  { B: 2, T: 17 },
  { B: 0, T: 3 }
].map((sizes) => ({ sizes }))

describe("kernels that need nothing of each other are one dispatch", () => {
  test.each(["cpu", "gpu"] as const)("projections of one input, by kernels for a %s", async (kind) => {
    const names = await dispatched(projections, lengths, { kind })
    expect(names.map((n) => n.length)).toEqual([2, 2, 2, 0])
  })

  test("as many as the device has buffers for", async () => {
    const names = await dispatched(projections, lengths.slice(0, 3), { maxStorageBuffersPerShaderStage: 6 })
    expect(names.map((n) => n.length)).toEqual([3, 3, 3])
  })

  test("updates in place are one dispatch with each other, where all are given away", async () => {
    const text = `graph {
      ${input("f32[B, C, 3]", "keys")}
      ${input("f32[B, C, 3]", "values")}
      ${input("f32[B, T, 3]", "k")}
      ${input("f32[B, T, 3]", "v")}
      ${input("i32[B]", "start")}
      %n: f32[B, T, 3] = neg %k
      %a: f32[B, C, 3] = update_slice %keys, %n, %start {axis = 1, wrap = true}
      %b: f32[B, C, 3] = update_slice %values, %v, %start {axis = 1, wrap = true}
      return "keys": %a, "values": %b
    }`
    const sizes = { B: 2, C: 7, T: 3 }
    const calls = [[0, 1], [], [0], [1]].map((donated) => ({ sizes, donated }))
    expect(await dispatched(text, calls, {}, ["keys", "values"])).toEqual([
      ["update"],
      ["map", "map"],
      ["update", "map"],
      ["map", "update"]
    ])
  })

  test("what another kernel still reads is not overwritten before", async () => {
    const text = `graph {
      ${input("f32[B, C, 3]", "keys")}
      ${input("f32[B, C, 3]", "k")}
      ${input("i32[B]", "start")}
      %m: f32[B, C, 3] = exp %k
      %sum: f32[B, 3] = reduce_sum %m {axes = [1]}
      %old: f32[B, 3] = reduce_max %keys {axes = [1]}
      %d: f32[B, 3] = add %old, %sum
      %a: f32[B, C, 3] = update_slice %keys, %k, %start {axis = 1, wrap = true}
      return "m": %m, "keys": %a, "d": %d
    }`
    await dispatched(text, [{ sizes: { B: 2, C: 5 }, donated: [0] }], {}, ["keys"])
  })
})

describe("two products of one input are one kernel", () => {
  const gated = (d: string, transposed: boolean): string => {
    const [w, axis] = transposed ? ["N, K", 1] : ["K, N", 0]
    const by = `{lhsBatch = [], rhsBatch = [], lhsContract = [2], rhsContract = [${axis}]}`
    return `graph {
      ${input(`${d}[B, T, K]`)}
      ${input(`${d}[${w}]`, "g")}
      ${input(`${d}[${w}]`, "u")}
      ${input(`${d}[N]`, "bias")}
      %a: ${d}[B, T, N] = dot %x, %g ${by}
      %b: ${d}[B, T, N] = dot %x, %u ${by}
      %c: ${d}[B, T, N] = add %a, %bias
      %s: ${d}[B, T, N] = sigmoid %c
      %h: ${d}[B, T, N] = mul %c, %s
      %r: ${d}[B, T, N] = mul %h, %b
      return %r
    }`
  }
  test.each(["cpu", "gpu"] as const)("of odd and of even sizes, by kernels for a %s", async (kind) => {
    for (const [d, transposed] of [
      ["f32", true],
      ["f32", false],
      ["f16", true],
      ["bf16", false]
    ] as const) {
      const text = gated(d, transposed)
      const odd = [1, 7].map((T) => ({ sizes: { B: 1, T, K: 9, N: 13 } }))
      const names = await dispatched(text, odd, { kind })
      const even = text.replaceAll(/\bK\b/g, "12").replaceAll(/\bN\b/g, "20")
      const all = [...names, ...(await dispatched(even, lengths.slice(0, 3), { kind }))]
      expect(all.map((n) => n.length)).toEqual(all.map(() => 1))
    }
  })

  test("where the device allows", async () => {
    const names = await dispatched(gated("f32", true), [{ sizes: { B: 2, T: 3, K: 8, N: 20 } }], {
      twinProducts: false
    })
    expect(names[0]).toHaveLength(2)
  })
})
