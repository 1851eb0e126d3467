import { Pipeable } from "effect"
import * as Dim from "../../ir/Dim.ts"
import type { DType } from "../../ir/DType.ts"
import type * as IRNode from "../../ir/Node.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Spec } from "../spec.ts"
import type { Dims } from "./dims.ts"
import * as Site from "./Site.ts"

const node: unique symbol = Symbol.for("effuse/Tensor/node")

/**
 * An expression that stands for a tensor. Building one computes nothing.
 *
 * `D` is the element type and `S` the sizes, outermost axis first: numbers for sizes that are known, names for symbols,
 * `Size` where TypeScript cannot follow. `Tensor` alone is any tensor.
 */
export interface Tensor<out D extends DType = DType, out S extends Dims = Dims> extends Pipeable.Pipeable {
  readonly dtype: D
  /** Sizes: a number where it is known, else the symbol or the polynomial as text, such as `"T"` or `"P + T"`. */
  readonly shape: S
  /** The number of axes. */
  readonly rank: S["length"]
  readonly [node]: IRNode.Node
}

class Expression extends Pipeable.Class {
  readonly [node]: IRNode.Node
  constructor(of: IRNode.Node) {
    super()
    this[node] = of
  }
  get dtype(): DType {
    return this[node].type.dtype
  }
  get shape(): Dims {
    return this[node].type.shape.map((d) => Dim.value(d) ?? d.key)
  }
  get rank(): number {
    return this[node].type.shape.length
  }
  override toString(): string {
    return TensorType.print(this[node].type)
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Tensor(${this.toString()})`
  }
}

/** The tensor of an IR node. */
export const fromNode = (of: IRNode.Node): Tensor => new Expression(of)

/** The IR node of a tensor. */
export const nodeOf = (tensor: Tensor): IRNode.Node => tensor[node]

export const isTensor = (x: unknown): x is Tensor => typeof x === "object" && x !== null && node in x

/** A named argument of the program, with the type that its spec says. */
export const input = <D extends DType, S extends Dims>(name: string, spec: Spec<D, S>): Tensor<D, S> =>
  fromNode(Site.emit("input", [], { name, type: spec.type })) as Tensor<D, S>

/** A tensor with a name for people, seen in dumps and diagnostics. Its meaning stays. */
export const label: {
  (name: string): <D extends DType, S extends Dims>(x: Tensor<D, S>) => Tensor<D, S>
  <D extends DType, S extends Dims>(x: Tensor<D, S>, name: string): Tensor<D, S>
} = Site.dual(
  (args) => args.length > 1,
  (x: Tensor, name: string) => fromNode({ ...nodeOf(x), label: name })
)
