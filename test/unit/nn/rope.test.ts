import { describe, expect, it } from "vitest"
import * as nn from "../../../src/nn/index.ts"

const close = (actual: ReadonlyArray<number>, expected: ReadonlyArray<number>) => {
  expect(actual).toHaveLength(expected.length)
  actual.forEach((x, n) => {
    expect(x).toBeCloseTo(expected[n] as number, 12)
  })
}

describe("frequencies", () => {
  const own = Array.from({ length: 4 }, (_, i) => 10000 ** (-i / 4))

  it("fall geometrically", () => close(nn.frequencies(8, {}), own))

  it("divide by the factor: linear", () =>
    close(
      nn.frequencies(8, { scaling: { kind: "linear", factor: 4 } }),
      own.map((f) => f / 4)
    ))

  it("keep the fastest pair and divide the slowest by the factor: ntk", () => {
    const scaled = nn.frequencies(8, { scaling: { kind: "ntk", factor: 4 } })
    expect(scaled[0]).toBe(1)
    expect(scaled[3]).toBeCloseTo((own[3] as number) / 4, 12)
  })

  it("keep pairs that turn often and divide those that do not turn once: llama3, yarn", () => {
    const llama3 = { kind: "llama3", factor: 8, trained: 8192, low: 1, high: 4 } as const
    const yarn = { kind: "yarn", factor: 8, trained: 8192 } as const
    const plain = nn.frequencies(128, { base: 500000 })
    for (const scaling of [llama3, yarn]) {
      const scaled = nn.frequencies(128, { base: 500000, scaling })
      expect(scaled[0]).toBe(plain[0])
      expect(scaled[63]).toBeCloseTo((plain[63] as number) / 8, 15)
      scaled.forEach((f, n) => {
        expect(f).toBeLessThanOrEqual(plain[n] as number)
        expect(f).toBeGreaterThanOrEqual((plain[n] as number) / 8)
      })
    }
  })

  it("lie on a line in turns between: llama3", () => {
    const scaling = { kind: "llama3", factor: 8, trained: 8192, low: 1, high: 4 } as const
    const plain = nn.frequencies(128, { base: 500000 })
    const n = plain.findIndex((f) => (8192 * f) / (2 * Math.PI) < 4)
    const f = plain[n] as number
    const smooth = ((8192 * f) / (2 * Math.PI) - 1) / 3
    expect(nn.frequencies(128, { base: 500000, scaling })[n]).toBeCloseTo(
      (1 - smooth) * (f / 8) + smooth * f,
      15
    )
  })

  it("refuse a kind that nobody knows by name", () => {
    const scaling = { kind: "dynamic", factor: 2 } as unknown as nn.RopeScaling
    expect(() => nn.frequencies(8, { scaling })).toThrow(/"dynamic"/)
  })
})
