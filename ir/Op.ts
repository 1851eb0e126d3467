import type * as Attr from "./Attr.ts"
import type { Constraint } from "./Shape.ts"
import type { TensorType } from "./TensorType.ts"

export type Family =
  | "source"
  | "elementwise"
  | "compare"
  | "reduce"
  | "contract"
  | "movement"
  | "index"
  | "normalise"
  | "fused"

/** What a shape rule concludes: the result's type, and what must hold at run time for it to be right. */
export interface Inferred {
  readonly type: TensorType
  readonly constraints?: ReadonlyArray<Constraint>
}

/** What rules may rely on. Absent means unknown, never true. */
export interface Facts {
  readonly commutative?: true
  readonly associative?: "exact" | "reassociates"
  /** Non-decreasing in every operand. */
  readonly monotone?: true
  /** The result is an exact value of the result type whatever finite operands come in. */
  readonly exact?: true
  /** Only moves elements: the result holds no value that is not in an operand (or in a constant attribute). */
  readonly movement?: true
}

/**
 * Everything the compiler knows about one op. The verifier re-runs `infer`; printer, parser, JSON, documentation
 * derive from the rest; every consumer (reference, WGSL, …) is a total table over the op names.
 */
export interface OpSpec<Name extends string, S extends Attr.Schema, F extends Family = Family> {
  readonly name: Name
  readonly family: F
  /** One line, present tense. */
  readonly summary: string
  /** One node as the printer writes it, or several where operands need types. A test parses and prints it. */
  readonly example: string
  /** Operand names; a last name that ends in `...` takes any number. */
  readonly operands: ReadonlyArray<string>
  readonly attrs: S
  /**
   * Shape and dtype rule. Throws `ShapeError`, `DTypeError` or `AttrError`, always through `Infer`, so that the
   * message names op, operand types and a hint.
   */
  readonly infer: (operands: ReadonlyArray<TensorType>, attrs: Attr.Of<S>) => Inferred
  /**
   * Meaning on one element, for elementwise ops: float64 in, float64 out; a bool is 0 or 1. Integer results are
   * wrapped by whoever stores them.
   */
  readonly scalar?: (...operands: Array<number>) => number
  readonly facts: Facts
}

export const define = <const Name extends string, const S extends Attr.Schema, const F extends Family>(
  name: Name,
  spec: Omit<OpSpec<Name, S, F>, "name" | "facts"> & { readonly facts?: Facts }
): OpSpec<Name, S, F> => ({ ...spec, name, facts: spec.facts ?? {} })
