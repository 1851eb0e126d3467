import * as Dim from "../../../ir/Dim.ts"
import type * as DType from "../../../ir/DType.ts"
import * as DTypes from "../../../ir/DType.ts"
import * as arrays from "../arrays.ts"
import { type Axis, axes, type Choices, names, repaired, scoreType, simplest } from "./Axes.ts"

/**
 * An attention program drawn at random: a choice along each axis, so that a failure names them. B batch, N and P more batch axes,
 * M key/value heads, G query heads of each, T queries, S keys, D head size, E value head size.
 */
export interface Program {
  readonly seed: number
  readonly choices: Choices
  readonly sizes: Sizes
}

export interface Sizes {
  readonly B: number
  readonly N: number
  readonly P: number
  readonly M: number
  readonly G: number
  readonly T: number
  readonly S: number
  readonly D: number
  readonly E: number
}

const isBatched = ({ layout }: Choices): boolean => layout !== "HSD" && layout !== "SD"

/** Sizes that the choices allow: no groups where heads are as many, no batch where the layout has none. */
const fitted = (c: Choices, sizes: Sizes): Sizes => {
  const { layout, heads } = c
  const one = layout === "(B·H)SD" || layout === "SD"
  return {
    ...sizes,
    B: isBatched(c) ? sizes.B : 1,
    N: layout === "5-D" || layout === "6-D" ? sizes.N : 1,
    P: layout === "6-D" ? sizes.P : 1,
    M: one || heads === "broadcast one head" ? 1 : sizes.M,
    G: one || heads === "as many" ? 1 : sizes.G,
    // No query and no key is for lengths that a call brings along.
    T: c.lengths === "numbers" ? Math.max(sizes.T, 1) : sizes.T,
    S: c.lengths === "symbols" ? sizes.S : c.lengths === "numbers" ? Math.max(sizes.S, 1) : sizes.T
  }
}

export const make = (seed: number, choices: Choices, sizes: Sizes): Program => {
  const c = repaired(choices)
  return { seed, choices: c, sizes: fitted(c, sizes) }
}

/** One program for each seed. An axis is plain half of the time, or less where it offers much, so that programs differ in several. */
export const draw = (seed: number): Program => {
  const from = arrays.random(Math.imul(seed, 0x9e3779b1) + 13)
  const choices = Object.fromEntries(
    names.map((a) => {
      const rest = axes[a].slice(1) as ReadonlyArray<string>
      const plain = Math.min(0.5, 3 / axes[a].length)
      return [a, from.next() < plain ? simplest[a] : from.pick(rest)]
    })
  ) as unknown as Choices
  const length = () => from.pick([1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
  const T = from.next() < 0.02 ? 0 : length()
  const D = from.pick([1, 2, 3, 4, 5, 8])
  return make(seed, choices, {
    B: from.pick([1, 2, 3]),
    N: from.pick([1, 2]),
    P: from.pick([2, 3]),
    M: from.pick([1, 2, 3]),
    G: from.pick([1, 2, 2, 3]),
    T,
    S: from.next() < 0.02 ? 0 : from.next() < 0.3 ? T : length(),
    D,
    E: from.next() < 0.5 ? D : from.pick([1, 3, 4, 8])
  })
}

/** The sizes as a signature has them: symbols where the program has some. */
export const lengths = ({ choices, sizes }: Program): { readonly [K in keyof Sizes]: Dim.Dim } => {
  const free = (name: "B" | "T" | "S"): Dim.DimLike =>
    choices.lengths !== "numbers" && (name !== "B" || isBatched(choices)) ? name : sizes[name]
  const { B, T, S, ...rest } = {
    ...sizes,
    B: free("B"),
    T: free("T"),
    S: choices.lengths === "one symbol for T and S" ? "T" : free("S")
  }
  return Object.fromEntries(Object.entries({ B, T, S, ...rest }).map(([name, d]) => [name, Dim.from(d)])) as {
    [K in keyof Sizes]: Dim.Dim
  }
}

/** Axes on which the program is not the simplest. */
export const turned = ({ choices }: Program): ReadonlyArray<Axis> =>
  names.filter((a) => choices[a] !== simplest[a])

/** The choices that are not the simplest, on one line. */
export const describe = (p: Program): string =>
  [
    `seed ${p.seed}`,
    Object.entries(p.sizes)
      .filter(([name, n]) => !["N", "P"].includes(name) || n !== 1)
      .map(([name, n]) => `${name}${n}`)
      .join(" "),
    ...turned(p).map((a) => `${a}: ${p.choices[a]}`)
  ].join(" · ")

/** The score that stands for "masked". */
export const fill = ({ choices }: Program): number => {
  // What goes through a narrow type must be a number there.
  const type: DType.FloatDType = scoreType(choices)
  return choices.fill === "-inf"
    ? -Infinity
    : choices.fill === "finfo.min"
      ? -DTypes.maxFinite[type]
      : Number(choices.fill)
}

/** The scale that people want, and how it is passed: a factor 1/√D, or one half as an argument. */
export const scaleOf = ({ choices, sizes }: Program): number =>
  choices.scalar === "runtime scalar" ? 0.5 : 1 / Math.sqrt(sizes.D)

/** The probability that a weight is dropped. */
export const rate = 0.25
