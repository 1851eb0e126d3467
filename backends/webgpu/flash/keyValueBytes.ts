import * as Dim from "../../../ir/Dim.ts"
import * as DType from "../../../ir/DType.ts"
import * as Budget from "../../../ir/flashBudget.ts"
import type * as Node from "../../../ir/Node.ts"
import { parts } from "../../../ir/ops/flashAttention.ts"
import type { Flash } from "../../../ir/Schedule.ts"
import { enclose } from "./enclosure.ts"
import * as Regions from "./regions.ts"

/**
 * Bytes of K and V that one call reads, counted from the schedule and the range region: each block of packed rows reads what it visits
 * once, for all heads of its group; where its threads own rows and hand nothing to each other, each of them does. Where the range depends on data it counts the keys that any data may show. Keys that take part with a finite fill are counted
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
  const variants = Budget.splitVariants(
    schedule,
    terms.map((term) => Dim.value(term.q.type.shape[3] as Dim.Dim) ?? 1),
    E,
    known,
    Dim.value(q.type.shape[2] as Dim.Dim)
  )
  const { prefill } = schedule
  const few = rows <= (variants.at(-1)?.most ?? 0)
  const block = few ? Math.max(rows, 1) : prefill.rows
  const readers = few || prefill.tiles === "workgroup" || prefill.quads ? 1 : prefill.threads
  const { range, fill, mask, normaliser } = node.attrs
  const hiddenTakePart = mask !== undefined && normaliser === undefined && fill !== -Infinity
  if (range === undefined) return B * Hkv * Math.ceil(rows / block) * readers * S * perKey

  const [readsBatch, readsHead] = [Regions.reads(range, 0), Regions.reads(range, 1)]
  let keys = 0
  for (let b = 0; b < (readsBatch ? B : 1); b++) {
    for (let head = 0; head < (readsHead ? Hkv : 1); head++) {
      for (let row = 0; row < rows; row += block) {
        const first = Math.floor(row / group)
        const last = Math.floor((Math.min(row + block, rows) - 1) / group)
        let [lo, hi] = [S, 0]
        for (let h = head * group; h < head * group + (readsHead ? group : 1); h++) {
          const [start, end] = enclose(range, [b, h, first, last], sizes)
          lo = Math.min(lo, start?.least ?? 0)
          hi = Math.max(hi, end?.most ?? S)
        }
        lo = Math.max(0, Math.min(lo, S))
        const visible = Math.max(lo, Math.min(hi, S)) - lo
        keys += visible === 0 && hiddenTakePart ? S : visible
      }
    }
  }
  return (readsBatch ? 1 : B) * (readsHead ? 1 : Hkv) * readers * keys * perKey
}

/** Bytes of an element in its buffer: a cast to f32 on the way in happens in registers. */
const elementBytes = (x: Node.Node): number => {
  const source = x.op === "cast" ? (x.operands[0] as Node.Node) : x
  return DType.deviceBytes[source.type.dtype]
}
