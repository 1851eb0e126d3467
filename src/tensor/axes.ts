import type { Dims, HasRank, Refused, Show, Size } from "./dims.ts"

/** Axes in types: negative axes, axes that do not exist, shapes with axes removed or replaced. Ranks past 8 are not followed. */

interface AxisTable {
  readonly 0: Record<never, never>
  readonly 1: { "0": 0; "-1": 0 }
  readonly 2: { "0": 0; "1": 1; "-1": 1; "-2": 0 }
  readonly 3: { "0": 0; "1": 1; "2": 2; "-1": 2; "-2": 1; "-3": 0 }
  readonly 4: { "0": 0; "1": 1; "2": 2; "3": 3; "-1": 3; "-2": 2; "-3": 1; "-4": 0 }
  readonly 5: { "0": 0; "1": 1; "2": 2; "3": 3; "4": 4; "-1": 4; "-2": 3; "-3": 2; "-4": 1; "-5": 0 }
  readonly 6: {
    "0": 0
    "1": 1
    "2": 2
    "3": 3
    "4": 4
    "5": 5
    "-1": 5
    "-2": 4
    "-3": 3
    "-4": 2
    "-5": 1
    "-6": 0
  }
  readonly 7: {
    "0": 0
    "1": 1
    "2": 2
    "3": 3
    "4": 4
    "5": 5
    "6": 6
    "-1": 6
    "-2": 5
    "-3": 4
    "-4": 3
    "-5": 2
    "-6": 1
    "-7": 0
  }
  readonly 8: {
    "0": 0
    "1": 1
    "2": 2
    "3": 3
    "4": 4
    "5": 5
    "6": 6
    "7": 7
    "-1": 7
    "-2": 6
    "-3": 5
    "-4": 4
    "-5": 3
    "-6": 2
    "-7": 1
    "-8": 0
  }
}

/** Whether rank and axis are known well enough to say more. */
export type CanIndex<S extends Dims, N extends number> =
  HasRank<S> extends true
    ? number extends N
      ? false
      : S["length"] extends keyof AxisTable
        ? true
        : false
    : false

/** The axis counted from 0; never where there is none. */
export type Normal<S extends Dims, N extends number> = S["length"] extends keyof AxisTable
  ? `${N}` extends infer Key
    ? Key extends keyof AxisTable[S["length"]]
      ? AxisTable[S["length"]][Key]
      : never
    : never
  : never

type Missing<S extends Dims, N extends number> = N extends N
  ? [Normal<S, N>] extends [never]
    ? N
    : never
  : never

/** `unknown` where the axes exist (or cannot be judged), the reason where they do not. */
export type AxisFits<S extends Dims, N extends number, Op extends string = "axis"> =
  CanIndex<S, N> extends true
    ? [Missing<S, N>] extends [never]
      ? unknown
      : Refused<`${Op}: axis ${Missing<S, N>} is outside ${Show<S>}`>
    : unknown

/** The axes of an option that is one axis or a list. */
export type AxesOf<A> = A extends number ? A : A extends ReadonlyArray<infer N extends number> ? N : never

/** The shape without the axes `N`; every axis where `N` is undefined. */
export type Drop<S extends Dims, N> = [N] extends [undefined]
  ? readonly []
  : N extends number
    ? DropAxes<S, N>
    : DropAxes<S, AxesOf<N>>

type DropAxes<S extends Dims, N extends number> =
  CanIndex<S, N> extends true ? Without<S, Normal<S, N> & number> : Dims

type Without<
  S extends Dims,
  I extends number,
  At extends ReadonlyArray<unknown> = [],
  Out extends Dims = readonly []
> = S extends readonly [infer A extends Size, ...infer R extends Dims]
  ? Without<R, I, [...At, unknown], At["length"] extends I ? Out : readonly [...Out, A]>
  : Out

/** The shape with the size `A` at the axes `N`. */
export type Replace<S extends Dims, N, A extends Size> = [N] extends [undefined]
  ? { readonly [K in keyof S]: A }
  : CanIndex<S, AxesOf<N>> extends true
    ? ReplaceAt<S, `${Normal<S, AxesOf<N>> & number}`, A>
    : HasRank<S> extends true
      ? { readonly [K in keyof S]: Size }
      : Dims

type ReplaceAt<S extends Dims, Key extends string, A extends Size> = {
  readonly [K in keyof S]: K extends Key ? A : S[K]
}

/** The size at an axis. */
export type At<S extends Dims, N extends number> =
  CanIndex<S, N> extends true
    ? Normal<S, N> extends infer I extends keyof S
      ? Extract<S[I], Size>
      : Size
    : Size

/** The last two axes swapped. */
export type SwapLast<S extends Dims> =
  HasRank<S> extends true
    ? S extends readonly [...infer R extends Dims, infer A extends Size, infer B extends Size]
      ? readonly [...R, B, A]
      : Refused<`transpose: ${Show<S>} has no two axes to swap`>
    : Dims

/** Axis i of the result is axis P[i]; refusals name the operation `Op`. */
export type Permute<S extends Dims, P extends ReadonlyArray<number>, Op extends string> =
  HasRank<S> extends true
    ? number extends P["length"]
      ? { readonly [K in keyof S]: Size }
      : P["length"] extends S["length"]
        ? CanIndex<S, P[number]> extends true
          ? [Missing<S, P[number]>] extends [never]
            ? { readonly [K in keyof P]: At<S, P[K]> }
            : Refused<`${Op}: axis ${Missing<S, P[number]>} is outside ${Show<S>}`>
          : { readonly [K in keyof S]: Size }
        : Refused<`${Op}: ${Show<S>} needs one entry for each axis, not ${P["length"]}`>
    : Dims
