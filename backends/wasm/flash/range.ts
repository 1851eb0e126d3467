import * as Dim from "../../../ir/Dim.ts"
import type { Graph } from "../../../ir/Graph.ts"
import { type Expr, i32, op, select } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"
import * as Value from "../emit/Value.ts"
import type { Bounds } from "../kernels/pack.ts"
import { tileColumns } from "../kernels/tile.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Regions from "./regions.ts"

type I = Expr<"i32">

/** What mask analysis found, as code. */
export interface Ranges {
  /** Of a block of queries. */
  readonly range: Regions.Region | undefined
  /** Of one query, where only data knows. */
  readonly rowRange: Regions.Region | undefined
}

/** The keys that some row of a block may see, and runs of keys that all of them see. */
export interface Visible {
  readonly lo: I
  readonly hi: I
  readonly full: ReadonlyArray<{ readonly lo: I; readonly hi: I }>
}

type Four = readonly [lo: I, hi: I, fullLo: I, fullHi: I]

/** What holds of the block and what holds of its rows one by one; undefined where nothing is known. */
export const visible = (
  frame: Frame,
  problem: Problem,
  ranges: Ranges,
  place: Place.Place
): Visible | undefined => {
  const { e } = frame
  const found = [ofBlock(frame, problem, ranges, place), ofRows(frame, problem, ranges, place)].filter(
    (x) => x !== undefined
  )
  const [one, other] = found
  if (one === undefined) return undefined
  const full = found.map(([, , lo, hi]) => ({ lo, hi }))
  return other === undefined
    ? { lo: one[0], hi: one[1], full }
    : { lo: e.max(one[0], other[0]), hi: e.min(one[1], other[1]), full }
}

/** The keys that some row of a key/value head may see, from the beginning of a panel on, where data says so: nobody reads what is prepared of others. */
export const ofData = (problem: Problem): Bounds["of"] | undefined => {
  const { node, fill } = problem
  const { range: graph } = node.attrs
  if (fill !== undefined || !graph?.nodes.some((n) => n.op === "load")) return undefined
  return (frame, pair) => {
    const { e } = frame
    const all = Place.of(e, problem, pair, i32(0), e.dim(Dim.mul(problem.T, problem.group)))
    const ranges = { range: Regions.optional(frame, problem, graph), rowRange: undefined }
    const [lo, hi] = ofBlock(frame, problem, ranges, all) as Four
    return { lo: e.bind(op("i32.and", lo, i32(-tileColumns))), hi }
  }
}

/** Whether a region depends on the query head. */
const readsHead = (region: Graph | undefined): boolean =>
  region?.nodes.some((n) => n.operands.some((o) => o === region.inputs[1])) === true

/** The range of the queries of the block; where it depends on the head, over all heads of the group. */
const ofBlock = (
  { e }: Frame,
  { node, group }: Problem,
  { range }: Ranges,
  { b, firstHead, rowCount, queryOf }: Place.Place
): Four | undefined => {
  if (range === undefined) return undefined
  const [first, last] = [queryOf(i32(0)), queryOf(e.sub(rowCount, i32(1)))]
  const of = (head: I): ReadonlyArray<I> =>
    range(b, Value.uniform(head), first, last).map((x) => Value.first(e, x))
  const own = of(firstHead)
  if (Dim.isOne(group) || !readsHead(node.attrs.range)) return own as unknown as Four
  const all = own.map((x) => e.variable(x))
  e.loop(i32(1), e.dim(group), 1, (g) => {
    of(e.add(firstHead, g)).forEach((x, n) => {
      const isLess = n === 0 || n === 3
      const most = all[n] as (typeof all)[number]
      most.set(select(x, most.value, op(isLess ? "i32.lt_s" : "i32.gt_s", x, most.value)))
    })
  })
  return all.map((x) => e.now(x.value)) as unknown as Four
}

/** Every key that some row sees, and the run that all of them see. A row without keys adds none. */
const ofRows = (
  { e }: Frame,
  { node, group, S }: Problem,
  { rowRange }: Ranges,
  { b, firstHead, rowCount, headOf, queryOf }: Place.Place
): Four | undefined => {
  if (rowRange === undefined) return undefined
  const perHead = !Dim.isOne(group) && readsHead(node.attrs.rowRange)
  const keys = e.dim(S)
  const all = [keys, i32(0), i32(0), keys].map((x) => e.variable(x))
  const last = queryOf(e.sub(rowCount, i32(1))).base
  const [start, stop] = perHead ? [i32(0), rowCount] : [queryOf(i32(0)).base, e.add(last, i32(1))]
  e.loop(start, stop, 1, (n) => {
    const [head, query] = perHead ? [headOf(n), queryOf(n)] : [Value.uniform(firstHead), Value.uniform(n)]
    const [lo, hi, fullLo, fullHi] = rowRange(b, head, query).map((x) => Value.first(e, x)) as unknown as Four
    const some = op("i32.lt_s", lo, hi)
    const seen = [e.bind(select(lo, keys, some)), e.bind(select(hi, i32(0), some)), fullLo, fullHi]
    seen.forEach((x, at) => {
      const isLess = at === 0 || at === 3
      const most = all[at] as (typeof all)[number]
      most.set(select(x, most.value, op(isLess ? "i32.lt_s" : "i32.gt_s", x, most.value)))
    })
  })
  return all.map((x) => e.now(x.value)) as unknown as Four
}
