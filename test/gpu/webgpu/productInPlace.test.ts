import { describe, expect, test } from "vitest"
import * as HostArray from "../../../ir/HostArray.ts"
import { dispatched } from "../../support/dispatched.ts"
import { input } from "../../support/irText.ts"

const kinds = ["cpu", "gpu"] as const
const dot = "{lhsBatch = [], rhsBatch = [], lhsContract = [2], rhsContract = [1]}"

interface Options {
  readonly dtype?: string
  readonly wrap?: boolean
  /** Keys and values are [B, T, H, D] where false. */
  readonly moved?: boolean
}

/** Queries, keys and values of x [B, T, K]; keys are turned, keys and values go into caches of C places. */
const cached = ({ dtype: d = "f32", wrap = false, moved = true }: Options): string => {
  const of = (size: string) => (moved ? `B, 2, ${size}, 4` : `B, ${size}, 2, 4`)
  const half = moved ? "B, 2, T, 2" : "B, T, 2, 2"
  const [tables, axis] = moved ? ["T, 2", 2] : ["T, 1, 2", 1]
  const cut = (name: string, start: number) =>
    `%${name}: f32[${half}] = slice %kh {starts = [0, 0, 0, ${start}], stops = [${half.replace(/2$/, String(start + 2))}], steps = [1, 1, 1, 1]}`
  const heads = (name: string) =>
    moved
      ? `%${name}r: f32[B, T, 2, 4] = reshape %${name}p
         %${name}h: f32[B, 2, T, 4] = transpose %${name}r {perm = [0, 2, 1, 3]}`
      : `%${name}h: f32[B, T, 2, 4] = reshape %${name}p`
  const cast = (name: string, x: string) => (d === "f32" ? "" : `%${name}: ${d}[${of("T")}] = cast %${x}`)
  const [k, v] = d === "f32" ? ["o", "vh"] : ["ok", "vk"]
  return `graph {
    ${input("f32[B, T, K]")}
    ${input("f32[12, K]", "wq")}
    ${input("f32[8, K]", "wk")}
    ${input("f32[8, K]", "wv")}
    ${input(`f32[${tables}]`, "cos")}
    ${input(`f32[${tables}]`, "sin")}
    ${input("i32[B]", "start")}
    ${input(`${d}[${of("C")}]`, "keys")}
    ${input(`${d}[${of("C")}]`, "values")}
    %q: f32[B, T, 12] = dot %x, %wq ${dot}
    %kp: f32[B, T, 8] = dot %x, %wk ${dot}
    %vp: f32[B, T, 8] = dot %x, %wv ${dot}
    ${heads("k")}
    ${heads("v")}
    ${cut("a", 0)}
    ${cut("b", 2)}
    %ac: f32[${half}] = mul %a, %cos
    %bs: f32[${half}] = mul %b, %sin
    %bc: f32[${half}] = mul %b, %cos
    %as: f32[${half}] = mul %a, %sin
    %u: f32[${half}] = sub %ac, %bs
    %w: f32[${half}] = add %bc, %as
    %o: f32[${of("T")}] = concat %u, %w {axis = 3}
    ${cast("ok", "o")}
    ${cast("vk", "vh")}
    %k: ${d}[${of("C")}] = update_slice %keys, %${k}, %start {axis = ${axis}, wrap = ${wrap}}
    %v: ${d}[${of("C")}] = update_slice %values, %${v}, %start {axis = ${axis}, wrap = ${wrap}}
    return "q": %q, "keys": %k, "values": %v
  }`
}

const sizes = [1, 2, 3, 5, 33].map((T) => ({ B: 2, T, K: 12, C: 40 }))
const caches = ["keys", "values"]
const [keys, values] = [7, 8]

describe.each(kinds)("projections write keys and values into caches, by kernels for a %s", (kind) => {
  test.each([
    [{}],
    [{ wrap: true }],
    [{ moved: false }],
    [{ dtype: "f16" }],
    [{ dtype: "bf16", moved: false, wrap: true }]
  ] as ReadonlyArray<readonly [Options]>)("%o", async (options) => {
    const calls = sizes.map((own) => ({ sizes: own, donated: [keys, values] }))
    const names = await dispatched(cached(options), calls, { kind }, caches)
    expect(names.map((n) => n.length)).toEqual([1, 1, 1, 1, 1])
  })

  test("that are not given away after a copy", async () => {
    const own = { B: 1, T: 3, K: 8, C: 5 }
    const calls = [[], [keys], [values], [keys, values]].map((donated) => ({ sizes: own, donated }))
    const [none, one, other, both] = await dispatched(cached({}), calls, { kind }, caches)
    expect([none, one, other, both].map((n) => n?.filter((name) => name === "map").length)).toEqual([
      2, 1, 1, 0
    ])
    expect([none, one, other, both].map((n) => n?.length)).toEqual([3, 2, 2, 1])
    const [never] = await dispatched(cached({}), [{ sizes: own }], { kind })
    expect(never).toHaveLength(3)
  })

  test("and nothing where nothing is there", async () => {
    const calls = [
      { B: 1, T: 0, K: 8, C: 5 },
      { B: 0, T: 2, K: 8, C: 5 },
      { B: 2, T: 2, K: 0, C: 5 }
    ].map((own) => ({ sizes: own, donated: [keys, values] }))
    await dispatched(cached({}), calls, { kind }, caches)
  })

  test("with parts of long sums", async () => {
    const text = `graph {
      ${input("f32[T, K]")}
      ${input("f32[K, 8]", "w")}
      ${input("i32[]", "start")}
      ${input("f32[C, 8]", "keys")}
      %p: f32[T, 8] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
      %k: f32[C, 8] = update_slice %keys, %p, %start {axis = 0, wrap = false}
      return "keys": %k
    }`
    const own = { T: 5, K: 700, C: 6 }
    const calls = [{ sizes: own, donated: [3] }, { sizes: own }]
    expect(await dispatched(text, calls, { kind }, ["keys"])).toEqual([
      ["matmul_split", "matmul_combine"],
      ["map", "matmul_split", "matmul_combine"]
    ])
  })

  test("by tables", async () => {
    const text = `graph {
      ${input("f32[N, K]")}
      ${input("f32[K, 8]", "w")}
      ${input("i32[N]", "page")}
      ${input("i32[N]", "row")}
      ${input("f16[P, 3, 2, 4]", "pool")}
      %p: f32[N, 8] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [1], rhsContract = [0]}
      %h: f32[N, 2, 4] = reshape %p
      %n: f16[N, 2, 4] = cast %h
      %k: f16[P, 3, 2, 4] = scatter %pool, %n, %page, %row
      return "pool": %k
    }`
    const calls = [[4], []].map((donated) => ({ sizes: { N: 1, K: 8, P: 5 }, donated }))
    const names = await dispatched(text, calls, { kind }, ["pool"])
    expect(names.map((n) => n.length)).toEqual([1, 2])
  })

  test.each(["f32", "f16", "bf16"])(
    "by tables of single numbers in %s, which part neighbours",
    async (dtype) => {
      const text = `graph {
      ${input("f32[K]")}
      ${input("f32[K, 8]", "w")}
      ${input("i32[8]", "place")}
      ${input(`${dtype}[P]`, "pool")}
      %p: f32[8] = dot %x, %w {lhsBatch = [], rhsBatch = [], lhsContract = [0], rhsContract = [0]}
      %n: ${dtype}[8] = cast %p
      %k: ${dtype}[P] = scatter %pool, %n, %place
      return "pool": %k
    }`
      const place = HostArray.fromNumbers("i32", [8], [5, 2, 9, 0, 7, 4, 11, -1])
      const calls = [{ sizes: { K: 5, P: 11 }, donated: [3], inputs: { place } }]
      const [names] = await dispatched(text, calls, { kind }, ["pool"])
      expect(names).toHaveLength(1)
    }
  )
})
