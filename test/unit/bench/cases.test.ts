import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import {
  type Attention,
  bytesOf,
  type Case,
  causalOnly,
  cpuCases,
  flopsOf,
  gpuCases,
  squareFlopsOf
} from "../../../bench/cases/cases.ts"
import { floats, inputsOf, shapeOf, swapped } from "../../../bench/cases/inputs.ts"
import { judge, programOf } from "../../../bench/cases/program.ts"
import { reference } from "../../../bench/cases/reference.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile, Reference } from "../../../src/index.ts"

const small: Attention = {
  kind: "attention",
  name: "small",
  T: 5,
  S: 5,
  heads: [4, 2],
  D: 6,
  causal: true,
  dtype: "f32"
}

const find = (name: string): Case => {
  const found = [...cpuCases, ...gpuCases].find((c) => c.name === name)
  if (found === undefined) throw new Error(`no case ${name}`)
  return found
}

describe("the cases of the benchmark", () => {
  test.each([
    ["causal with groups", small],
    ["full, more keys", { ...small, causal: false, S: 9 }],
    ["one query", { ...small, causal: false, T: 1, S: 7 }],
    ["a window", { ...small, T: 9, S: 9, window: 3 }],
    ["softcap and distance", { ...small, softcap: 2, alibi: true }],
    ["f16", { ...small, dtype: "f16" }],
    ["a product", { kind: "product", name: "small", M: 3, N: 5, K: 4 }],
    ["a block", { kind: "block", name: "small", T: 3 }]
  ] as ReadonlyArray<readonly [string, Case]>)(
    "loops over the definition and the program say the same: %s",
    async (_, c) => {
      const inputs = inputsOf(c)
      const { fn, signature } = programOf(c)
      const out = await Effect.runPromise(
        Effect.gen(function* () {
          const run = yield* compile(fn as never, signature)
          return (yield* run(inputs as never)) as HostArray.HostArray
        }).pipe(Effect.provide(Reference.layer))
      )
      const expected = reference(c, inputs)
      const actual = floats(out)
      expect(judge(c, actual, expected)).toMatchObject({ ok: true })
      expect(actual.length).toBe(HostArray.sizeOf(shapeOf(c)))
      actual[0] = (actual[0] as number) + 1
      expect(judge(c, actual, expected)).toMatchObject({ ok: false })
    }
  )

  test("of long results each head is looked at, and the last row", () => {
    const c: Attention = { ...small, heads: [4, 4], T: 2048, S: 2048, D: 1, window: 2 }
    const expected = reference(c, inputsOf(c))
    const actual = Float32Array.from(expected)
    expect(judge(c, actual, expected).ok).toBe(true)
    // Nobody looks at this one.
    actual[1] = 9
    expect(judge(c, actual, expected).ok).toBe(true)
    for (const [head, row] of [
      [0, 4],
      [1, 5],
      [2, 2],
      [3, 2047],
      [0, 2047]
    ] as const) {
      const wrong = actual.slice()
      wrong[head * c.T + row] = 9
      expect(judge(c, wrong, expected).ok).toBe(false)
    }
  })

  test("without its window a case is what comes closest", () => {
    expect(causalOnly({ ...small, window: 3 })).toEqual(small)
    expect(causalOnly(small)).toBeUndefined()
    expect(causalOnly({ kind: "block", name: "b", T: 1 })).toBeUndefined()
  })

  test("a result with a number that is none, or too short, is wrong", () => {
    const c: Case = { kind: "product", name: "small", M: 2, N: 2, K: 2 }
    const expected = reference(c, inputsOf(c))
    expect(judge(c, Float32Array.of(Number.NaN, 0, 0, 0), expected).ok).toBe(false)
    expect(judge(c, new Float32Array(3), expected).ok).toBe(false)
  })

  test("multiplications and additions, as counted by hand", () => {
    expect(flopsOf(find("512-full"))).toBe(4 * 8 * 64 * 512 * 512)
    expect(flopsOf(find("512-causal"))).toBe((4 * 8 * 64 * 512 * 513) / 2)
    expect(flopsOf(find("decode-4096"))).toBe(4 * 8 * 64 * 4096)
    expect(flopsOf(find("matmul-1024"))).toBe(2 ** 31)
    // The first 256 rows see 1, 2, … keys, the others 256.
    expect(flopsOf(find("4096-window"))).toBe(4 * 8 * 64 * ((256 * 257) / 2 + (4096 - 256) * 256))
    expect(squareFlopsOf(find("4096-window"))).toBe(4 * 8 * 64 * 4096 * 4096)
    expect(flopsOf(find("block-512"))).toBe(
      2 * 512 * 512 * (512 + 128 + 128 + 512 + 3 * 1376) + (4 * 8 * 64 * 512 * 513) / 2
    )
  })

  test("bytes in and out", () => {
    expect(bytesOf(find("decode-4096"))).toBe(4 * 64 * (2 * 8 + 2 * 2 * 4096))
    expect(bytesOf(find("512-f16"))).toBe(2 * 64 * 4 * 8 * 512)
    expect(bytesOf(find("matmul-1024"))).toBe(12 * 2 ** 20)
    const own = HostArray.byteLength
    const { x, ...weights } = inputsOf(find("block-512"))
    const all = Object.values(weights).reduce((sum, w) => sum + own(w), 2 * own(x as HostArray.HostArray))
    expect(bytesOf(find("block-512"))).toBe(all)
  })

  test("inputs are the same each time, of variance 1", () => {
    const [q, again] = [inputsOf(small), inputsOf(small)].map((i) => floats(i["q"] as HostArray.HostArray))
    expect(q).toEqual(again)
    const k = floats(inputsOf(find("512-full"))["k"] as HostArray.HostArray)
    expect(k.reduce((sum, x) => sum + x * x, 0) / k.length).toBeCloseTo(1, 1)
  })

  test("names are each there once", () => {
    for (const cases of [cpuCases, gpuCases])
      expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length)
  })

  test("heads and positions change places, and back", () => {
    const x = Float32Array.from({ length: 24 }, (_, n) => n)
    const y = swapped(x, [2, 3, 4])
    expect([...y.subarray(0, 8)]).toEqual([0, 1, 2, 3, 12, 13, 14, 15])
    expect(swapped(y, [3, 2, 4])).toEqual(x)
  })
})
