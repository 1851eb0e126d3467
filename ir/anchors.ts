import { type OpName, opNames, ops } from "./ops.ts"

/** Ops that a kernel is built around, each with its own loop; all others are folded into its loads and stores. */
export const anchors: ReadonlySet<OpName> = new Set(
  opNames.filter(
    (name) => ["reduce", "contract", "normalise"].includes(ops[name].family) || name === "flash_attention"
  )
)
