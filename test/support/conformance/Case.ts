import type { HostArray } from "../../../ir/HostArray.ts"
import type { Tensor } from "../../../src/tensor/Tensor.ts"

/** A published case, rebuilt as tensor expressions. */
export interface Case {
  readonly name: string
  /** The operator, or the kind of literal. */
  readonly kind: string
  readonly inputs: { readonly [name: string]: HostArray }
  readonly expected: { readonly [name: string]: HostArray }
  /** Allowed error, absolute and relative to the expected value. */
  readonly tolerance: number
  readonly build: (inputs: { readonly [name: string]: Tensor }) => { readonly [name: string]: Tensor }
  /** Whether it holds attention, which is then expected to fuse into one node. */
  readonly attention: boolean
}
