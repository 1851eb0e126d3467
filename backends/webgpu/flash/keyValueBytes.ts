import * as Dim from "../../../ir/Dim.ts"
import * as DType from "../../../ir/DType.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import type { Graph } from "../../../ir/Graph.ts"
import * as Node from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import * as Scalar from "../../../ir/Scalar.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import * as Regions from "./regions.ts"

/**
 * Bytes of K and V that one call reads, counted from the schedule and the range region: each block of packed rows reads what it visits
 * once, for all heads of its group. Where the range depends on data it counts all keys. Keys that take part with a finite fill are counted
 * where nothing is visible: otherwise they are read only if a row's scores are that low.
 */
export const keyValueBytesRead = (
  node: Node.NodeOf<"flash_attention">,
  schedule: Flash,
  sizes: Dim.Bindings
): number => {
  const [q, k] = node.operands as readonly [Node.Node, Node.Node]
  const { terms, v } = parts(node.operands, node.attrs)
  const of = (x: Node.Node, axis: number): number => Dim.evaluate(x.type.shape[axis] as Dim.Dim, sizes)
  const [B, heads, T] = [of(q, 0), of(q, 1), of(q, 2)]
  const [Hkv, S, E] = [of(k, 1), of(k, 2), of(v, 3)]
  if (Hkv === 0 || heads === 0) return 0
  const group = heads / Hkv
  const rows = group * T
  const keyBytes = terms.reduce((sum, term) => sum + of(term.k, 3) * elementBytes(term.k), 0)
  const perKey = keyBytes + (node.attrs.output === "result" ? E * elementBytes(v) : 0)

  const known = Dim.value(Dim.divideExact(q.type.shape[1] as Dim.Dim, k.type.shape[1] as Dim.Dim) as Dim.Dim)
  const variants = Budget.decodeVariants(schedule, known, Dim.value(q.type.shape[2] as Dim.Dim))
  const block = rows <= (variants.at(-1) ?? 0) ? Math.max(rows, 1) : schedule.prefill.rows
  const { range, fill, mask, normaliser } = node.attrs
  const hiddenTakePart = mask !== undefined && normaliser === undefined && fill !== -Infinity
  if (range === undefined) return B * Hkv * Math.ceil(rows / block) * S * perKey

  const [readsBatch, readsHead] = [Regions.reads(range, 0), Regions.reads(range, 1)]
  let keys = 0
  for (let b = 0; b < (readsBatch ? B : 1); b++) {
    for (let head = 0; head < (readsHead ? Hkv : 1); head++) {
      for (let row = 0; row < rows; row += block) {
        const first = Math.floor(row / group)
        const last = Math.floor((Math.min(row + block, rows) - 1) / group)
        let [lo, hi] = [S, 0]
        for (let h = head * group; h < head * group + (readsHead ? group : 1); h++) {
          const bounds = evaluate(range, [b, h, first, last], sizes)
          lo = Math.min(lo, bounds?.[0] ?? 0)
          hi = Math.max(hi, bounds?.[1] ?? S)
        }
        lo = Math.max(0, Math.min(lo, S))
        const visible = Math.max(lo, Math.min(hi, S)) - lo
        keys += visible === 0 && hiddenTakePart ? S : visible
      }
    }
  }
  return (readsBatch ? 1 : B) * (readsHead ? 1 : Hkv) * keys * perKey
}

/** Bytes of an element in its buffer: a cast to f32 on the way in happens in registers. */
const elementBytes = (x: Node.Node): number => {
  const source = x.op === "cast" ? (x.operands[0] as Node.Node) : x
  return DType.deviceBytes[source.type.dtype]
}

/** The values of a region over i32 parameters; undefined where it reads a captured tensor. */
const evaluate = (
  region: Graph,
  parameters: ReadonlyArray<number>,
  sizes: Dim.Bindings
): ReadonlyArray<number> | undefined => {
  const values = new Map<Node.Node, number>()
  region.inputs.slice(0, parameters.length).forEach((input, i) => {
    values.set(input, parameters[i] as number)
  })
  for (const node of region.nodes) {
    if (values.has(node) || node.op === "input") continue
    if (node.op === "constant") values.set(node, node.attrs.values[0] as number)
    else if (node.op === "dim") values.set(node, Dim.evaluate(node.attrs.value, sizes))
    else {
      const operands = node.operands.map((o) => values.get(o))
      const { scalar } = Node.specOf(node.op)
      if (operands.includes(undefined)) continue
      if (node.op === "cast") {
        const from = (node.operands[0] as Node.Node).type.dtype
        values.set(node, Scalar.cast(from, node.type.dtype)(operands[0] as number))
      } else if (scalar !== undefined)
        values.set(node, Scalar.wrap[node.type.dtype](scalar(...(operands as Array<number>))))
    }
  }
  const results = region.outputs.map((o) => values.get(o.node))
  return results.includes(undefined) ? undefined : (results as ReadonlyArray<number>)
}
