import { describe, expect, test } from "vitest"
import * as Mask from "../../src/Mask.ts"
import * as Tensor from "../../src/Tensor.ts"
import * as Arrays from "../support/arrays.ts"
import { run } from "../support/tensors.ts"

/** Masks are equal where they agree on small grids, wide ones, tall ones, and one without keys. */
const tables = (mask: Mask.Mask): ReadonlyArray<ReadonlyArray<number>> =>
  [
    [4, 4],
    [2, 7],
    [5, 3],
    [3, 0]
  ].map((shape) => run(Mask.toTensor(mask, shape)).data)

const random = Arrays.random(11)

const leaf = (): Mask.Keep =>
  random.pick([
    () => Mask.all,
    () => Mask.none,
    () => Mask.causal,
    () => Mask.causalBottomRight,
    () => Mask.causalFrom(random.integer(-3, 3)),
    () => Mask.slidingWindow(random.integer(0, 3), random.integer(0, 3)),
    () => Mask.prefix(random.integer(0, 4)),
    () => Mask.dilated(random.integer(0, 4), random.integer(1, 3)),
    () => Mask.chunked(random.integer(1, 4)),
    () =>
      Mask.keepWhere(({ query, key }) => Tensor.ne(Tensor.mod(Tensor.add(query, Tensor.mul(key, 3)), 5), 2))
  ])()

const grow = (depth: number): Mask.Keep => {
  if (depth === 0) return leaf()
  const [a, b] = [grow(depth - 1), grow(depth - 1)]
  return random.pick([() => Mask.and(a, b), () => Mask.or(a, b), () => Mask.not(a)])()
}

const samples = Array.from(
  { length: 12 },
  (_, i) => [grow(i % 3), grow((i + 1) % 3), grow((i + 2) % 3)] as const
)

const { meet, join, zero, one, implies, not } = Mask.BooleanAlgebra

const same = (a: Mask.Mask, b: Mask.Mask): void => {
  expect(tables(a)).toEqual(tables(b))
}

describe("keep-masks are a Boolean algebra", () => {
  const laws: ReadonlyArray<
    readonly [string, (a: Mask.Keep, b: Mask.Keep, c: Mask.Keep) => readonly [Mask.Keep, Mask.Keep]]
  > = [
    ["meet is associative", (a, b, c) => [meet(a, meet(b, c)), meet(meet(a, b), c)]],
    ["join is associative", (a, b, c) => [join(a, join(b, c)), join(join(a, b), c)]],
    ["meet is commutative", (a, b) => [meet(a, b), meet(b, a)]],
    ["join is commutative", (a, b) => [join(a, b), join(b, a)]],
    ["meet absorbs", (a, b) => [meet(a, join(a, b)), a]],
    ["join absorbs", (a, b) => [join(a, meet(a, b)), a]],
    ["meet distributes", (a, b, c) => [meet(a, join(b, c)), join(meet(a, b), meet(a, c))]],
    ["join distributes", (a, b, c) => [join(a, meet(b, c)), meet(join(a, b), join(a, c))]],
    ["one is neutral for meet", (a) => [meet(a, one), a]],
    ["zero is neutral for join", (a) => [join(a, zero), a]],
    ["a mask and its complement meet in zero", (a) => [meet(a, not(a)), zero]],
    ["a mask and its complement join to one", (a) => [join(a, not(a)), one]],
    ["implication", (a, b) => [implies(a, b), join(not(a), b)]],
    ["a mask implies itself", (a) => [implies(a, a), one]]
  ]
  test.each(laws)("%s", (_, law) => {
    for (const [a, b, c] of samples) same(...law(a, b, c))
  })
})

describe("polarity", () => {
  test("keep to drop and back is the same mask", () => {
    for (const [a] of samples) same(Mask.toKeep(Mask.toDrop(a)), a)
  })
  test("de Morgan: what both drop is what either keeps, turned round", () => {
    for (const [a, b] of samples) {
      same(Mask.toKeep(Mask.and(Mask.toDrop(a), Mask.toDrop(b))), Mask.or(a, b))
      same(Mask.toKeep(Mask.or(Mask.toDrop(a), Mask.toDrop(b))), Mask.and(a, b))
    }
  })
  test("positions elsewhere: of themselves nothing changes, of others in turn, and a shift is one of queries", () => {
    const place = (f: (p: number) => number): Mask.Place => {
      const table = Tensor.fromValues(
        Array.from({ length: 8 }, (_, p) => f(p)),
        "i32"
      )
      return (p) => Tensor.take(table, p, 0) as Tensor.Tensor<"i32">
    }
    const [itself, turned, folded] = [place((p) => p), place((p) => 7 - p), place((p) => p % 3)]
    for (const [a] of samples) {
      same(Mask.reindex(a, itself), a)
      same(
        Mask.reindex(Mask.reindex(a, turned), folded),
        Mask.reindex(a, (p) => turned(folded(p)))
      )
      same(a.pipe(Mask.reindex((p) => Tensor.add(p, 2) as Tensor.Tensor<"i32">, itself)), Mask.shift(a, 2))
    }
  })
  test("shifts add up, and a shift by nothing is nothing", () => {
    for (const [a] of samples) {
      same(Mask.shift(Mask.shift(a, 2), -1), Mask.shift(a, 1))
      same(Mask.shift(a, 0), a)
    }
  })
})
