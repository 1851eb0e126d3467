/** The size of an axis in a type: a literal number, a literal name of a symbol, or wide where it is not known. */
export type Size = number | string

/** Sizes, outermost axis first; a tuple where the rank is known. */
export type Dims = ReadonlyArray<Size>

/**
 * What an argument would have to be, and is not, where TypeScript can see that a call is wrong: the property's type is the
 * reason.
 */
export interface Refused<Reason extends string> {
  readonly "does not fit": Reason
}

/** Nothing to add to an argument's type, or the reason why it is wrong. */
export type Fits<R> = R extends Refused<string> ? R : unknown

/** The shape a type-level rule found, any shape where it found a mistake. */
export type Shaped<R> = R extends Dims ? R : Dims

/** Whether the rank is known. */
export type HasRank<S extends Dims> = number extends S["length"] ? false : true

/** The same rank, no sizes. */
export type Blank<S extends Dims> = HasRank<S> extends true ? { readonly [K in keyof S]: Size } : Dims

/** Whether a size is one literal number or name. */
type IsWide<A> = number extends A ? true : string extends A ? true : false

/** A shape as text, for messages. */
export type Show<S extends Dims> = number extends S["length"] ? "[...]" : `[${Joined<S>}]`

type Joined<S extends Dims> = S extends readonly [infer A extends Size]
  ? `${A}`
  : S extends readonly [infer A extends Size, ...infer R extends Dims]
    ? `${A}, ${Joined<R>}`
    : ""

/** The one size that both are; never where they differ. A literal says more than a name, a name more than a wide type. */
export type Unify<A extends Size, B extends Size> =
  IsWide<A> extends true
    ? B
    : IsWide<B> extends true
      ? A
      : [A] extends [B]
        ? A
        : [B] extends [A]
          ? B
          : A extends number
            ? B extends number
              ? never
              : A
            : B extends number
              ? B
              : never

/** `Unify`, where a literal 1 stretches. */
export type Stretch<A extends Size, B extends Size> = [A] extends [1] ? B : [B] extends [1] ? A : Unify<A, B>

/** NumPy broadcasting of two shapes. */
export type Broadcast<S extends Dims, T extends Dims, Op extends string = "broadcast"> = [S, T] extends [T, S]
  ? S
  : T extends readonly []
    ? S
    : S extends readonly []
      ? T
      : HasRank<S> extends true
        ? HasRank<T> extends true
          ? BroadcastFrom<S, T, S, T, Op>
          : Dims
        : Dims

type BroadcastFrom<
  S extends Dims,
  T extends Dims,
  AllS extends Dims,
  AllT extends Dims,
  Op extends string,
  Out extends Dims = readonly []
> = S extends readonly [...infer S1 extends Dims, infer A extends Size]
  ? T extends readonly [...infer T1 extends Dims, infer B extends Size]
    ? [Stretch<A, B>] extends [never]
      ? Refused<`${Op}: ${Show<AllS>} and ${Show<AllT>} do not broadcast: ${A} and ${B} must be equal or 1`>
      : BroadcastFrom<S1, T1, AllS, AllT, Op, readonly [Stretch<A, B>, ...Out]>
    : readonly [...S, ...Out]
  : readonly [...T, ...Out]

/** Shape of `matmul`; vectors as NumPy takes them. */
export type Matmul<S extends Dims, T extends Dims> =
  HasRank<S> extends true
    ? HasRank<T> extends true
      ? S extends readonly []
        ? Refused<"matmul: a scalar has no axis to contract">
        : T extends readonly []
          ? Refused<"matmul: a scalar has no axis to contract">
          : S extends readonly [infer K extends Size]
            ? T extends readonly [infer L extends Size]
              ? Contracted<S, T, K, L, readonly []>
              : T extends readonly [...infer B extends Dims, infer L extends Size, infer N extends Size]
                ? Contracted<S, T, K, L, readonly [...B, N]>
                : Dims
            : S extends readonly [...infer A extends Dims, infer M extends Size, infer K extends Size]
              ? T extends readonly [infer L extends Size]
                ? Contracted<S, T, K, L, readonly [...A, M]>
                : T extends readonly [...infer B extends Dims, infer L extends Size, infer N extends Size]
                  ? Contracted<S, T, K, L, Batched<Broadcast<A, B, "matmul batch axes">, M, N>>
                  : Dims
              : Dims
      : Dims
    : Dims

type Batched<B, M extends Size, N extends Size> = B extends Dims ? readonly [...B, M, N] : B

type Contracted<S extends Dims, T extends Dims, K extends Size, L extends Size, Result> = [
  Unify<K, L>
] extends [never]
  ? Refused<`matmul: ${Show<S>} and ${Show<T>} do not fit: it contracts ${K} with ${L}`>
  : Result
