import type { Graph } from "../../../ir/Graph.ts"
import type { Node, NodeOf } from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import type { Module } from "../wgsl/Module.ts"
import type { Problem } from "./Problem.ts"

type Call = (...args: ReadonlyArray<string>) => string

/** The regions of a node as WGSL functions: each takes the expressions of its scalar parameters and gives a call. */
export interface Regions {
  /** (logit…, b, h, i, j) → f32 */
  readonly score: Call
  /** (b, h, i, j) → bool */
  readonly mask: Call | undefined
  /** (b, h, i) → f32 */
  readonly sink: Call | undefined
  /** (b, h, i, j) → f32 */
  readonly probability: Call | undefined
  /** (b, h, first, last) → vec4<i32>: lo, hi, fullLo, fullHi */
  readonly range: Call | undefined
  /** (b, h, i) → the same of one row */
  readonly rowRange: Call | undefined
}

/** Declares the functions in the module. Captures are read where the body has them, through the views on the way. */
export const declare = (module: Module, { job, node, terms }: Problem): Regions => {
  const { captures } = parts(node.operands, node.attrs)
  const one = (name: string, region: Graph, types: ReadonlyArray<string>, result: string): Call => {
    const emitter = Emitter.make(module)
    const parameters = types.map(() => emitter.known(module.fresh("a")))
    const outer = Body.make(emitter, job.body)
    const inner = Body.region(emitter, region, (_, position) =>
      position < types.length
        ? undefined
        : (indices) => outer.at(captures[position - types.length] as Node, indices)
    )
    for (const [i, p] of parameters.entries()) inner.give(region.inputs[i] as Node, p)
    const values = region.outputs.map((o) => inner.at(o.node, []))
    module.declare(
      [
        `fn ${name}(${parameters.map((p, i) => `${p}: ${types[i]}`).join(", ")}) -> ${result} {`,
        ...emitter.lines().map((l) => `  ${l}`),
        `  return ${values.length === 1 ? values[0] : `${result}(${values.join(", ")})`};`,
        "}"
      ].join("\n")
    )
    return (...args) => `${name}(${args.join(", ")})`
  }
  const optional = (name: string, region: Graph | undefined, types: ReadonlyArray<string>, result: string) =>
    region === undefined ? undefined : one(name, region, types, result)
  const { attrs } = node
  return {
    score: one("score", attrs.score, [...terms.map(() => "f32"), "i32", "i32", "i32", "i32"], "f32"),
    mask: optional("visible", attrs.mask, ["i32", "i32", "i32", "i32"], "bool"),
    sink: optional("sink", attrs.sink, ["i32", "i32", "i32"], "f32"),
    probability: optional("weight", attrs.probability, ["i32", "i32", "i32", "i32"], "f32"),
    range: module.steering(() =>
      optional("key_range", attrs.range, ["i32", "i32", "i32", "i32"], "vec4<i32>")
    ),
    rowRange: module.steering(() => optional("row_range", attrs.rowRange, ["i32", "i32", "i32"], "vec4<i32>"))
  }
}

/** Whether a region's value depends on its parameter of this number. */
export const reads = (region: Graph, parameter: number): boolean => {
  const input = region.inputs[parameter] as Node
  return (
    region.outputs.some((o) => o.node === input) ||
    region.nodes.some((n) => n.operands.some((o) => o === input))
  )
}

/** Ops of one instruction or so. */
const short: ReadonlySet<string> = new Set(
  "input constant dim neg abs add sub mul min max and or not lt le gt ge eq ne select cast".split(" ")
)

/** Instructions that may be written out for the pairs of a thread, and how many a call of a function or a load counts as. */
const mostWritten = 512
const longCounts = 8

/**
 * Whether what is computed for each pair of a row and a key may be repeated for each of a thread's pairs: a handful of instructions that read
 * no data, or where there are few pairs some more.
 */
export const areShort = ({ attrs }: NodeOf<"flash_attention">, pairs: number): boolean => {
  const nodes = [attrs.score, attrs.mask, attrs.probability].flatMap((region) => region?.nodes ?? [])
  const computed = nodes.filter((n) => !["input", "constant", "dim"].includes(n.op))
  const isShort = (n: Node): boolean => short.has(n.op)
  if (computed.length <= 8 && computed.every(isShort)) return true
  const instructions = computed.reduce((sum, n) => sum + (isShort(n) ? 1 : longCounts), 0)
  return instructions * pairs <= mostWritten
}
