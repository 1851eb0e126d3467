import type { OpName } from "../../ir/ops.ts"
import { attention } from "./attention.ts"
import { contract } from "./contract.ts"
import { elementwise } from "./elementwise.ts"
import { indexing } from "./indexing.ts"
import type { Kernels } from "./Kernel.ts"
import { movement } from "./movement.ts"
import { normalise } from "./normalise.ts"
import { reduce } from "./reduce.ts"
import { source } from "./source.ts"
import type { Value } from "./Value.ts"

/** How every op is computed; inputs are given. The type checker names an op that misses here. */
export const kernels: Kernels<Exclude<OpName, "input">> = {
  ...source,
  ...elementwise,
  ...reduce,
  ...contract,
  ...movement,
  ...indexing,
  ...normalise,
  ...attention,
  fused: (node, operands, _shape, { evaluate }) => (evaluate(node.attrs.body, operands)[0] as Value).data
}
