/** Values that come and go in one memory: none in the way of another, in as little as can be. */
import { describe, expect, test } from "vitest"
import * as Arena from "../../backends/Arena.ts"
import { random } from "../support/arrays.ts"

/** Values of a few sizes over some steps, as a program might have them. */
const some = (seed: number, count: number, steps: number): ReadonlyArray<Arena.Life> => {
  const { next } = random(seed)
  const upTo = (n: number): number => Math.floor(next() * n)
  return Array.from({ length: count }, () => {
    const from = upTo(steps)
    return { from, to: Math.min(steps - 1, from + upTo(4)), bytes: 256 * (1 + upTo(8)) }
  })
}

/** Bytes alive at one step at most, by the definition. */
const least = (lives: ReadonlyArray<Arena.Life>): number =>
  Math.max(
    0,
    ...lives.map(({ from }) =>
      lives.filter((l) => l.from <= from && from <= l.to).reduce((sum, l) => sum + l.bytes, 0)
    )
  )

const expectApart = (lives: ReadonlyArray<Arena.Life>, { bytes, offsets }: Arena.Arena): void => {
  for (const [i, a] of lives.entries()) {
    const begin = offsets[i] as number
    expect(begin + a.bytes).toBeLessThanOrEqual(bytes)
    for (const [j, b] of lives.slice(0, i).entries()) {
      if (a.to < b.from || b.to < a.from) continue
      const other = offsets[j] as number
      expect(begin >= other + b.bytes || other >= begin + a.bytes).toBe(true)
    }
  }
}

describe("an arena", () => {
  test("is as large as what is alive at one step, or a little more where values of odd sizes meet", () => {
    let exact = 0
    for (let seed = 0; seed < 300; seed++) {
      const lives = some(seed, 4 + (seed % 40), 3 + (seed % 17))
      const arena = Arena.pack(lives)
      expectApart(lives, arena)
      expect(Arena.leastBytes(lives)).toBe(least(lives))
      expect(arena.bytes).toBeGreaterThanOrEqual(least(lives))
      expect(arena.bytes).toBeLessThanOrEqual(1.25 * least(lives))
      if (arena.bytes === least(lives)) exact++
    }
    expect(exact).toBeGreaterThan(290)
  })

  test("is as small where a small value lives long beside large ones as where large ones come first", () => {
    // Attention over keys behind others: the values of a step, and what its last kernel still needs of those before.
    const lives = [
      [0, 9, 1],
      [1, 2, 2053],
      [2, 3, 2048],
      [3, 4, 2049],
      [4, 9, 2050],
      [5, 6, 2053],
      [6, 7, 2048],
      [7, 8, 2049],
      [8, 9, 2050],
      [9, 10, 1225]
    ].map(([from = 0, to = 0, bytes = 0]) => ({ from, to, bytes }))
    const arena = Arena.pack(lives)
    expectApart(lives, arena)
    expect(arena.bytes).toBe(least(lives))
  })

  test("lays nothing across two of its pieces", () => {
    for (let seed = 0; seed < 100; seed++) {
      const lives = some(seed, 30, 12)
      const arena = Arena.pack(lives, 2048)
      expectApart(lives, arena)
      for (const [i, { bytes }] of lives.entries()) {
        const begin = arena.offsets[i] as number
        expect(Math.floor(begin / 2048)).toBe(Math.floor((begin + bytes - 1) / 2048))
      }
    }
  })

  test("of nothing is empty", () => {
    expect(Arena.pack([])).toEqual({ offsets: [], bytes: 0 })
  })

  test("tells from when to when each slot is needed", () => {
    const steps = [[0, 1], [2], [1, 3]].map((slots) => ({
      buffers: [{ _tag: "input", index: 0 }, ...slots.map((index) => ({ _tag: "slot", index }))]
    }))
    expect([...Arena.spans(steps)]).toEqual([
      [0, { from: 0, to: 0 }],
      [1, { from: 0, to: 2 }],
      [2, { from: 1, to: 1 }],
      [3, { from: 2, to: 2 }]
    ])
  })
})
