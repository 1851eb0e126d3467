import * as Dim from "./Dim.ts"
import * as DType from "./DType.ts"
import * as Shape from "./Shape.ts"
import * as TensorType from "./TensorType.ts"

/**
 * Attribute schemas. A kind says how an attribute is typed, printed and compared; the parser, the printer,
 * the JSON form and the verifier derive from it.
 *
 * The kinds `resultType`, `resultShape` and `resultDType` repeat what the type annotation of the printed node says,
 * so they are not printed in braces: `%1: f32[4] = cast %0` needs no attribute text.
 */
export type KindName =
  | "int"
  | "ints"
  | "number"
  | "numbers"
  | "bool"
  | "string"
  | "dim"
  | "dims"
  | "region"
  | "resultType"
  | "resultShape"
  | "resultDType"

export interface Kind<A> {
  readonly kind: KindName
  readonly optional: boolean
  /** Carries the type only; never set. */
  readonly _A?: (_: A) => A
}

/**
 * A graph inside an attribute, seen by an op's shape rule: only its typed boundary. In a node's attributes it is
 * a whole `Graph`.
 */
export interface Region {
  readonly inputs: ReadonlyArray<{ readonly type: TensorType.TensorType }>
  readonly outputs: ReadonlyArray<{
    readonly name: string
    readonly node: { readonly type: TensorType.TensorType }
  }>
}

const kind = <A>(name: KindName): Kind<A> => ({ kind: name, optional: false })

export const int = kind<number>("int")
export const ints = kind<ReadonlyArray<number>>("ints")
/** Any number, infinities and NaN included. */
export const number = kind<number>("number")
export const numbers = kind<ReadonlyArray<number>>("numbers")
export const bool = kind<boolean>("bool")
export const string = kind<string>("string")
export const dim = kind<Dim.Dim>("dim")
export const dims = kind<Shape.Shape>("dims")
export const region = kind<Region>("region")
export const resultType = kind<TensorType.TensorType>("resultType")
export const resultShape = kind<Shape.Shape>("resultShape")
export const resultDType = kind<DType.DType>("resultDType")

export const optional = <A>(k: Kind<A>): Kind<A | undefined> => ({ kind: k.kind, optional: true })

export type Schema = { readonly [name: string]: { readonly kind: KindName; readonly optional: boolean } }

/** The attribute record a schema describes. */
export type Of<S extends Schema> = {
  readonly [K in keyof S]: S[K] extends Kind<infer A> ? A : never
}

export const none = {} as const satisfies Schema

/** Whether a kind is read from the type annotation instead of braces. */
export const inAnnotation = (k: KindName): boolean =>
  k === "resultType" || k === "resultShape" || k === "resultDType"

/** Shortest text that reads back as the same number; `inf`, `-inf`, `nan`, `-0` included. */
export const printNumber = (x: number): string =>
  Object.is(x, -0)
    ? "-0"
    : x === Infinity
      ? "inf"
      : x === -Infinity
        ? "-inf"
        : Number.isNaN(x)
          ? "nan"
          : String(x)

const isInt = (x: unknown): boolean => Number.isSafeInteger(x) && !Object.is(x, -0)
const isNumber = (x: unknown): boolean => typeof x === "number"
const isShape = (x: unknown): boolean => Array.isArray(x) && x.every(Dim.isDim)
const isRecord = (x: unknown): x is { readonly [name: string]: unknown } =>
  typeof x === "object" && x !== null

const accepted: { readonly [K in KindName]: (x: unknown) => boolean } = {
  int: isInt,
  ints: (x) => Array.isArray(x) && x.every(isInt),
  number: isNumber,
  numbers: (x) => Array.isArray(x) && x.every(isNumber),
  bool: (x) => typeof x === "boolean",
  string: (x) => typeof x === "string",
  dim: Dim.isDim,
  dims: isShape,
  region: (x) => isRecord(x) && [x.inputs, x.nodes, x.outputs].every(Array.isArray),
  resultType: (x) => isRecord(x) && DType.isDType(x.dtype) && isShape(x.shape),
  resultShape: isShape,
  resultDType: DType.isDType
}

/** Whether a value is of the kind. Integers are those float64 holds exactly, without -0. */
export const accepts = (k: KindName, value: unknown): boolean => accepted[k](value)

/** What a value of the kind is called in messages. */
export const describe: { readonly [K in KindName]: string } = {
  int: "an integer",
  ints: "a list of integers",
  number: "a number",
  numbers: "a list of numbers",
  bool: "true or false",
  string: "a string",
  dim: "a dimension",
  dims: "a list of dimensions",
  region: "a region",
  resultType: "a type",
  resultShape: "a shape",
  resultDType: "a dtype"
}

/** What a type annotation says about an attribute of the kinds `result*`; undefined for the other kinds. */
export const annotated = (k: KindName, type: TensorType.TensorType): unknown =>
  k === "resultType" ? type : k === "resultShape" ? type.shape : k === "resultDType" ? type.dtype : undefined

/** The text of an attribute's value; `region` says how a region is written. */
export const print = (kind: KindName, value: unknown, region: (of: unknown) => string): string => {
  switch (kind) {
    case "int":
    case "number":
      return printNumber(value as number)
    case "ints":
    case "numbers":
      return `[${(value as ReadonlyArray<number>).map(printNumber).join(", ")}]`
    case "string":
      return JSON.stringify(value)
    case "dim":
      return (value as Dim.Dim).key
    case "dims":
    case "resultShape":
      return Shape.print(value as Shape.Shape)
    case "resultType":
      return TensorType.print(value as TensorType.TensorType)
    case "bool":
    case "resultDType":
      return String(value)
    case "region":
      return region(value)
  }
}
