import * as Dim from "../../ir/Dim.ts"
import type * as Node from "../../ir/Node.ts"
import { parts } from "../../ir/ops/flashAttention.ts"
import * as TensorType from "../../ir/TensorType.ts"
import * as Diagnostic from "../Diagnostic.ts"
import { classifyMask } from "../mask/classify.ts"
import type { Refusal } from "./Attention.ts"
import { named } from "./contraction.ts"
import type { Fused } from "./fuse.ts"

const pass = "fuse-attention"

export const refused = (node: Node.Node, r: Refusal): Diagnostic.Diagnostic => ({
  pass,
  outcome: "refused",
  ...Diagnostic.about(node),
  ...(r.node.at === undefined ? {} : { at: r.node.at }),
  nearest: r.nearest,
  failed: `${r.failed} (${named(r.node)})`,
  suggestion: r.suggestion
})

/** What was fused and by what, for people. */
export const report = ({ found, flash }: Fused): Diagnostic.Diagnostic => {
  const { v, terms: logits } = parts(flash.operands, flash.attrs)
  const [{ q, k }, ...more] = logits as readonly [(typeof logits)[number], ...typeof logits]
  const [heads, keyHeads] = [q, k].map((x) => x.type.shape[1] as Dim.Dim) as [Dim.Dim, Dim.Dim]
  const group = Dim.divideExact(heads, keyHeads) as Dim.Dim
  const { score, mask, fill, sink, probability, output } = flash.attrs
  const steps = score.nodes.filter((n) => n.op !== "input" && n.op !== "constant").map((n) => n.op)
  const normalised = flash.attrs.normaliser !== "none"
  const wanted = {
    result: found.v === undefined ? "sums of the weights of " : "",
    lse: "the log-sum-exp of ",
    max: "the maxima of ",
    sum: "the sums of "
  }
  const words = [
    `${wanted[output as keyof typeof wanted]}flash_attention of q ${TensorType.print(q.type)}, k ${TensorType.print(k.type)}${found.v === undefined ? "" : `, v ${TensorType.print(v.type)}`}`,
    ...more.map(
      (t, n) => `logit ${n + 2} of q ${TensorType.print(t.q.type)}, k ${TensorType.print(t.k.type)}`
    ),
    ...(Dim.isOne(group) ? [] : [`${Dim.print(group)} query heads for each key head`]),
    ...(steps.length === 0
      ? []
      : [`logits go through ${steps.length > 8 ? `${steps.length} steps` : steps.join(", ")}`]),
    ...(normalised ? [] : ["no softmax: weights are the scores"]),
    ...found.read.map((n) => `reads the ${named(n)} from memory`),
    ...(mask === undefined
      ? []
      : [`mask: ${classifyMask(mask)}${fill === -Infinity || !normalised ? "" : `, ${fill} elsewhere`}`]),
    ...(sink === undefined ? [] : ["a sink in the sum"]),
    ...(probability === undefined ? [] : ["a factor on the weights"])
  ]
  const { terms, read } = found
  const used: ReadonlyArray<readonly [string, boolean]> = [
    ["scale-of-queries", terms.some((t) => t.q.factors.length > 0)],
    ["scale-of-keys", terms.some((t) => t.k.factors.length > 0)],
    ["scale-of-values", (found.v?.factors.length ?? 0) > 0],
    ["group-of-heads", !Dim.isOne(group)],
    ["several-logits", more.length > 0],
    ["contraction-is-read", read.length > 0],
    ["infinity-is-a-mask", normalised && mask !== undefined && fill === -Infinity],
    ["fill-is-kept", normalised && fill !== -Infinity],
    ["zero-is-a-mask", !normalised && mask !== undefined],
    ["weights-without-softmax", !normalised],
    ["columns-without-values", sink !== undefined],
    ["factor-on-weights", probability !== undefined]
  ]
  const about = found.softmax?.node ?? found.sum.node
  return {
    pass,
    outcome: "fused",
    ...Diagnostic.about(about),
    ...(about.at === undefined && found.sum.node.at !== undefined ? { at: found.sum.node.at } : {}),
    into: words.join("; "),
    rules: used.flatMap(([name, holds]) => (holds ? [name] : []))
  }
}
