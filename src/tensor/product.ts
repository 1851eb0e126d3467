import type * as Dim from "../../ir/Dim.ts"
import type { Dims, HasRank, Refused, Show, Size } from "./dims.ts"

/**
 * Whether two shapes hold the same number of elements, as types: sizes that both have are struck out, and what is left is
 * multiplied, where it is all numbers. Numbers are lists of digits, the last digit first.
 */

/** `Result` where the elements of `S` fit into the sizes `P`, or cannot be counted. */
export type Reshaped<S extends Dims, P extends ReadonlyArray<Dim.DimLike>, Result extends Dims> =
  HasRank<S> extends true
    ? HasRank<Result> extends true
      ? P extends Dims
        ? -1 extends P[number]
          ? Result
          : SameSize<Strike<S, P>> extends false
            ? Refused<`reshape: ${Show<S>} and ${Show<P>} hold different numbers of elements`>
            : Result
        : Result
      : Result
    : Result

/** What is left of two lists of sizes once sizes that both have are struck out. */
type Strike<S extends Dims, T extends Dims, Left extends Dims = readonly []> = S extends readonly [
  infer A extends Size,
  ...infer R extends Dims
]
  ? Remove<T, A> extends infer U
    ? [U] extends [Dims]
      ? Strike<R, U, Left>
      : Strike<R, T, readonly [...Left, A]>
    : never
  : readonly [Left, T]

/** A list without the first entry that is exactly `A`; never where there is none. */
type Remove<T extends Dims, A extends Size, Before extends Dims = readonly []> = T extends readonly [
  infer B extends Size,
  ...infer R extends Dims
]
  ? [A, B] extends [B, A]
    ? readonly [...Before, ...R]
    : Remove<R, A, readonly [...Before, B]>
  : undefined

type SameSize<Rest> = Rest extends readonly [infer S extends Dims, infer T extends Dims]
  ? AllNumbers<S> extends true
    ? AllNumbers<T> extends true
      ? [Product<S>, Product<T>] extends [Product<T>, Product<S>]
        ? true
        : false
      : true
    : true
  : true

/** Whether every size is a literal number, not past what digits can be read of. */
type AllNumbers<S extends Dims> = S extends readonly [infer A, ...infer R extends Dims]
  ? A extends number
    ? number extends A
      ? false
      : AllNumbers<R>
    : false
  : true

type Digit = "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9"
type Digits = ReadonlyArray<Digit>

type Read<Text extends string, Out extends Digits = []> = Text extends `${infer A extends Digit}${infer R}`
  ? Read<R, [A, ...Out]>
  : Out

type Product<S extends Dims, Out extends Digits = ["1"]> = S extends readonly [
  infer A extends Size,
  ...infer R extends Dims
]
  ? Product<R, Times<Out, Read<`${A}`>>>
  : Trim<Out>

/** Zeros that lead, which here come last, mean nothing. */
type Trim<A extends Digits> = A extends readonly [...infer R extends Digits, "0"] ? Trim<R> : A

type Times<A extends Digits, B extends Digits, Out extends Digits = []> = B extends readonly [
  infer D extends Digit,
  ...infer R extends Digits
]
  ? Plus<Out, Scale<A, D>> extends readonly [infer Low extends Digit, ...infer High extends Digits]
    ? [Low, ...Times<A, R, High>]
    : Times<A, R, []>
  : Out

/** Digits times one digit. */
type Scale<A extends Digits, D extends Digit, Carry extends Digit = "0"> = A extends readonly [
  infer X extends Digit,
  ...infer R extends Digits
]
  ? AddDigit<Table[X][D], Carry> extends `${infer C extends Digit}${infer U extends Digit}`
    ? [U, ...Scale<R, D, C>]
    : never
  : Carry extends "0"
    ? []
    : [Carry]

type Plus<A extends Digits, B extends Digits, Carry extends Digit = "0"> = A extends readonly [
  infer X extends Digit,
  ...infer R extends Digits
]
  ? B extends readonly [infer Y extends Digit, ...infer Q extends Digits]
    ? AddDigit<AddDigit<`0${X}`, Y>, Carry> extends `${infer C extends Digit}${infer U extends Digit}`
      ? [U, ...Plus<R, Q, C>]
      : never
    : Carry extends "0"
      ? A
      : Plus<A, ["0"], Carry>
  : Carry extends "0"
    ? B
    : Plus<B extends readonly [] ? ["0"] : B, ["0"], Carry>

/** A number of two digits plus one digit. */
type AddDigit<Text extends string, D extends Digit> = D extends "0"
  ? Text
  : Text extends keyof Next
    ? AddDigit<Next[Text], Less[D]>
    : never

interface Less {
  "0": "0"
  "1": "0"
  "2": "1"
  "3": "2"
  "4": "3"
  "5": "4"
  "6": "5"
  "7": "6"
  "8": "7"
  "9": "8"
}

type Tens = { [A in Digit]: { [B in Exclude<Digit, "9"> as `${A}${B}`]: `${A}${Up[B]}` } }
interface Up {
  "0": "1"
  "1": "2"
  "2": "3"
  "3": "4"
  "4": "5"
  "5": "6"
  "6": "7"
  "7": "8"
  "8": "9"
}
type Next = Tens["0"] &
  Tens["1"] &
  Tens["2"] &
  Tens["3"] &
  Tens["4"] &
  Tens["5"] &
  Tens["6"] &
  Tens["7"] &
  Tens["8"] &
  Tens["9"] & { [A in Exclude<Digit, "9"> as `${A}9`]: `${Up[A]}0` }

type Row<T extends ReadonlyArray<string>> = { [D in Digit]: T[D & keyof T] & string }
interface Table {
  "0": Row<["00", "00", "00", "00", "00", "00", "00", "00", "00", "00"]>
  "1": Row<["00", "01", "02", "03", "04", "05", "06", "07", "08", "09"]>
  "2": Row<["00", "02", "04", "06", "08", "10", "12", "14", "16", "18"]>
  "3": Row<["00", "03", "06", "09", "12", "15", "18", "21", "24", "27"]>
  "4": Row<["00", "04", "08", "12", "16", "20", "24", "28", "32", "36"]>
  "5": Row<["00", "05", "10", "15", "20", "25", "30", "35", "40", "45"]>
  "6": Row<["00", "06", "12", "18", "24", "30", "36", "42", "48", "54"]>
  "7": Row<["00", "07", "14", "21", "28", "35", "42", "49", "56", "63"]>
  "8": Row<["00", "08", "16", "24", "32", "40", "48", "56", "64", "72"]>
  "9": Row<["00", "09", "18", "27", "36", "45", "54", "63", "72", "81"]>
}
