import * as Dim from "../../ir/Dim.ts"
import type { Limits } from "../../ir/Limits.ts"
import type * as Node from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import type { Attention, Refusal } from "./Attention.ts"

/** Why attention that was read off a graph does not become a node. */

const nearest = "softmax of a contraction, contracted with values"

export const nothingSelects = (a: Attention): Refusal => ({
  node: a.terms[0].k.arranged.node,
  nearest,
  failed: "the keys or the values depend on the query index, so no two queries share them",
  suggestion: "leave the query axis out of the keys and the values"
})

export const needsScores = (value: Node.Node, changed: "scores" | "weights"): Refusal => ({
  node: value,
  nearest,
  failed: `the ${changed} are changed by ${value.op}, which is computed from the scores themselves`,
  suggestion:
    "a maximum that is subtracted needs no writing: softmax does it; other statistics need the scores in memory"
})

/** Weights are multiplied, and columns without values have logits, by what is known before the scores are. */
export const knowsItsScore = ({ sum }: Attention, isWeight: boolean): Refusal => ({
  node: sum.node,
  nearest: "softmax weights contracted with values",
  failed: `${isWeight ? "the weights are multiplied by a function" : "a column without a value has a logit that is a function"} of the scores`,
  suggestion: "use factors and dropout masks that are known before the scores"
})

/** Kernels lay out their tiles by the head size when they are compiled; where tiles come from a schedule, they hold one row of a head at a time. */
export const mostHeadSize = (limits: Limits): number => (limits.ownTiles === true ? Infinity : 256)

/** The head size that no attention kernel takes, or undefined. Such attention runs by its parts. */
export const unfitHead = (flash: Node.NodeOf<"flash_attention">, most: number): Refusal | undefined => {
  const { v, terms } = parts(flash.operands, flash.attrs)
  const node = [...terms.flatMap(({ q, k }) => [q, k]), v].find((x) => {
    const size = Dim.value(x.type.shape[3] as Dim.Dim)
    return size === undefined || size < 1 || size > most
  })
  if (node === undefined) return undefined
  return {
    node,
    nearest: "flash_attention",
    failed: `its head size is ${Dim.print(node.type.shape[3] as Dim.Dim)}, ${
      most === Infinity ? "kernels take numbers from 1" : `kernels of WebGPU take numbers from 1 to ${most}`
    }`,
    suggestion:
      most === Infinity
        ? "write the head size as a number in the signature"
        : `write the head size as a number up to ${most} in the signature, or run on WebAssembly, which takes any number`
  }
}
