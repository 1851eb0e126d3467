import * as DType from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"

/** A seeded stream of random numbers: the same seed gives the same arrays on every machine. */
export interface Random {
  /** Uniform in [0, 1). */
  readonly next: () => number
  /** Uniform integer from `low` to `high`, both included. */
  readonly integer: (low: number, high: number) => number
  /** Standard normal. */
  readonly normal: () => number
  readonly pick: <A>(from: ReadonlyArray<A>) => A
}

/** Mulberry32: 32 bits of state, enough for test data. */
export const random = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    integer: (low, high) => low + Math.floor(next() * (high - low + 1)),
    // Box & Muller 1958.
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    pick: (from) => from[Math.floor(next() * from.length)] as (typeof from)[number]
  }
}

/**
 * What random elements look like. "normal" and "uniform" ([-1, 1)) fit every float dtype; "huge" reaches a thousandth of the largest
 * finite value of the dtype; "holes" is normal with a quarter of the elements -inf.
 */
export type Kind = "normal" | "uniform" | "huge" | "holes"

const element = (dtype: DType.DType, kind: Kind, { next, normal, integer }: Random): number => {
  if (dtype === "bool") return next() < 0.5 ? 0 : 1
  if (dtype === "i32") return kind === "huge" ? integer(-(2 ** 31), 2 ** 31 - 1) : integer(-9, 9)
  if (dtype === "u32") return kind === "huge" ? integer(0, 2 ** 32 - 1) : integer(0, 9)
  switch (kind) {
    case "normal":
      return normal()
    case "uniform":
      return 2 * next() - 1
    case "huge":
      return (2 * next() - 1) * DType.maxFinite[dtype] * 1e-3
    case "holes":
      return next() < 0.25 ? -Infinity : normal()
  }
}

/** A random array; integers are small unless "huge". */
export const array = <D extends DType.DType>(
  from: Random,
  dtype: D,
  shape: ReadonlyArray<number>,
  kind: Kind = "normal"
): HostArray.HostArray<D> =>
  HostArray.fromNumbers(
    dtype,
    shape,
    Float64Array.from({ length: HostArray.sizeOf(shape) }, () => element(dtype, kind, from))
  )

/** Integers from `low` to `high`, both included. */
export const integers = (
  from: Random,
  shape: ReadonlyArray<number>,
  low: number,
  high: number
): HostArray.HostArray<"i32"> =>
  HostArray.fromNumbers(
    "i32",
    shape,
    Float64Array.from({ length: HostArray.sizeOf(shape) }, () => from.integer(low, high))
  )
