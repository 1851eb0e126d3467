import type { Dims, Refused, Show, Size, Stretch } from "./dims.ts"

/** The equation of `einsum` as a type. Equations with `...`, without an arrow, or not written as a literal are not followed. */

/** The shape that an equation gives, or the reason why the operands do not fit. */
export type Einsum<E extends string, Operands extends ReadonlyArray<Dims>> = string extends E
  ? Dims
  : E extends `${string}.${string}` | `${string} ${string}`
    ? Dims
    : E extends `${infer Left}->${infer Right}`
      ? Bind<Terms<Left>, Operands, Record<never, never>, E> extends infer Sizes
        ? Sizes extends Refused<string>
          ? Sizes
          : Sizes extends Sized
            ? Result<Right, Sizes, E>
            : Dims
        : never
      : Dims

type Sized = { readonly [letter: string]: Size }

type Terms<Left extends string> = Left extends `${infer A},${infer R}`
  ? readonly [A, ...Terms<R>]
  : readonly [Left]

/** The size of each letter. */
type Bind<
  T extends ReadonlyArray<string>,
  Operands extends ReadonlyArray<Dims>,
  Sizes,
  E extends string
> = T extends readonly [infer A extends string, ...infer R extends ReadonlyArray<string>]
  ? Operands extends readonly [infer S extends Dims, ...infer Q extends ReadonlyArray<Dims>]
    ? number extends S["length"]
      ? Dims
      : BindTerm<A, S, Sizes, E, S> extends infer Next
        ? Next extends Refused<string>
          ? Next
          : Bind<R, Q, Next, E>
        : never
    : Refused<`einsum: ${E} takes more operands`>
  : Operands extends readonly []
    ? Sizes
    : Refused<`einsum: ${E} takes fewer operands`>

type BindTerm<
  A extends string,
  S extends Dims,
  Sizes,
  E extends string,
  Whole extends Dims
> = A extends `${infer L}${infer R}`
  ? S extends readonly [infer D extends Size, ...infer Q extends Dims]
    ? L extends keyof Sizes
      ? [Stretch<Sizes[L] & Size, D>] extends [never]
        ? Refused<`einsum: ${L} is ${Sizes[L] & Size} and ${D} in ${E}`>
        : BindTerm<R, Q, Omit<Sizes, L> & Record<L, Stretch<Sizes[L] & Size, D>>, E, Whole>
      : BindTerm<R, Q, Sizes & Record<L, D>, E, Whole>
    : Refused<`einsum: ${E} names more axes than ${Show<Whole>} has`>
  : S extends readonly []
    ? Sizes
    : Refused<`einsum: ${E} names fewer axes than ${Show<Whole>} has`>

type Result<
  Right extends string,
  Sizes,
  E extends string,
  Out extends Dims = readonly []
> = Right extends `${infer L}${infer R}`
  ? L extends keyof Sizes
    ? Result<R, Sizes, E, readonly [...Out, Sizes[L] & Size]>
    : Refused<`einsum: no operand of ${E} has ${L}`>
  : Out
