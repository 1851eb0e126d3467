import * as Dim from "../../../ir/Dim.ts"
import { negligibleBelow } from "../../../ir/ops/flashAttention.ts"
import { loadF64, splatF64, storeF64, wide } from "../assembler/doubles.ts"
import { call, type Expr, i32, load, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import type { Emitter } from "../emit/Emitter.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { madd } from "../emit/mathF64.ts"
import { where } from "../emit/real.ts"
import { scalar } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered } from "../Job.ts"
import { arithmetic } from "../kernels/arithmetic.ts"
import { across, active } from "../kernels/rowOps.ts"
import { nameOf } from "./attend.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Range from "./range.ts"
import * as Regions from "./regions.ts"

type I = Expr<"i32">
type D = Expr<"v256">

const bytes = 8

/** Vectors of columns whose sums a row keeps in registers. */
const columnVectors = 4

/** Keys whose products with a row become a vector. */
const together = [0, 1, 2, 3] as const

/** The weight of a pair that takes no part: a zero with a sign, which no weight has. Its value must not reach the row, not even as 0 * NaN. */
const noPart = splatF64(-0)

const { totals } = arithmetic("f64")
const add = (a: D, b: D): D => wide("f64x4.add", a, b)
const greater = (a: D, b: D): D => wide("f64x4.max", a, b)

const at = (e: Emitter, start: I, index: I): I => e.add(start, e.mul(index, i32(bytes)))

/**
 * Attention in float64, whatever its operands are stored as. An item is a row: its scores lie in memory of the kernel, so that the greatest is
 * known before the first exponential, and nothing is rescaled. Simple and slow beside `attend`, and right for every region.
 */
export const double = (problem: Problem): Lowered => {
  const { job, node, B, Hkv, S, E, terms } = problem
  const { attrs } = node
  const frame = Frame.open(job)
  const { e } = frame
  const R = Dim.mul(problem.T, problem.group)
  const [keys, rowCount] = [e.dim(S), e.dim(R)]
  // Twice what is needed: half of a length is no polynomial.
  const doubles = (count: Dim.Dim): I => frame.local(Dim.add(count, Dim.constant(together.length)))
  const region = (graph: typeof attrs.mask) => Regions.optional(frame, problem, graph)
  const kernel: Kernel = {
    frame,
    problem,
    body: Body.make(frame, job.body),
    scores: doubles(S),
    queries: terms.map(({ D }) => doubles(D)),
    score: Regions.inline(frame, problem, attrs.score),
    mask: region(attrs.mask),
    sink: region(attrs.sink),
    probability: region(attrs.probability)
  }
  const ranges = { range: region(attrs.range), rowRange: region(attrs.rowRange) }
  const puts = problem.asked.map((own) => ({ output: own.output, put: Epilogue.make(frame, own.job) }))
  // Masked keys take part where their score is finite.
  const bounded = attrs.mask !== undefined && (!problem.normalised || attrs.fill === -Infinity)

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, rowCount)
    const number = e.sub(item, e.mul(pair, rowCount))
    const place = Place.of(e, problem, pair, number, i32(1))
    const range = bounded ? Range.visible(frame, problem, ranges, place) : undefined
    const row: Row = {
      number,
      batch: [place.b, place.keyHead],
      position: [place.b, place.headOf(i32(0)), place.queryOf(i32(0))],
      lo:
        range === undefined ? i32(0) : e.bind(op("i32.and", e.max(range.lo, i32(0)), i32(-together.length))),
      hi: range === undefined ? keys : e.min(range.hi, keys)
    }
    stageQueries(kernel, row)
    const greatest = scoreKeys(kernel, row)
    const statistics = problem.normalised ? weigh(kernel, row, greatest) : undefined
    for (const { output, put } of puts) {
      if (output === "result") {
        const columns = (starts: ReadonlyArray<I>) => sumValues(kernel, row, starts, statistics, put)
        const width = e.dim(E)
        const most = e.bind(op("i32.and", width, i32(-4 * columnVectors)))
        const whole = e.bind(op("i32.and", width, i32(-4)))
        e.loop(i32(0), most, 4 * columnVectors, (c) =>
          e.at(4, () => columns(Array.from({ length: columnVectors }, (_, n) => e.add(c, i32(4 * n)))))
        )
        e.loop(most, whole, 4, (c) => e.at(4, () => columns([c])))
        e.loop(whole, width, 1, (c) => e.at(1, () => columns([c])))
      } else if (statistics !== undefined) {
        const value = e.now(statistics[output]())
        e.at(1, () => put(row.position, Value.doubles(value)))
      }
    }
  })
  return frame.finish(nameOf("flash_f64", problem), { times: Dim.mul(B, Hkv), of: R, per: 1 })
}

interface Kernel {
  readonly frame: Frame.Frame
  readonly problem: Problem
  readonly body: Body.Body
  /** Where the scores of the row lie, then its weights. */
  readonly scores: I
  /** Where the row's queries lie, of each term. */
  readonly queries: ReadonlyArray<I>
  readonly score: Regions.Region
  readonly mask: Regions.Region | undefined
  readonly sink: Regions.Region | undefined
  readonly probability: Regions.Region | undefined
}

interface Row {
  /** Among those that share its keys. */
  readonly number: I
  readonly batch: ReadonlyArray<Value.Value>
  readonly position: ReadonlyArray<Value.Value>
  /** The keys that it may see, from a multiple of those that are looked at together. */
  readonly lo: I
  readonly hi: I
}

interface Statistics {
  readonly max: () => D
  readonly sum: () => D
  readonly lse: () => D
  /** A sum of weighted values as a result. */
  readonly quotient: (x: D) => D
}

const stageQueries = ({ frame: { e }, problem, body, queries }: Kernel, row: Row): void => {
  for (const [n, { q, D }] of problem.terms.entries()) {
    const free = Value.delinearize(e, Value.uniform(row.number), q.free)
    Frame.vectors(e, D, Dim.value(D), (d) => {
      const own = Value.toDoubles(q.at(body, e, row.batch, free, [Value.along(e, d, D)]))
      e.line(storeF64(at(e, queries[n] as I, d), own, e.width === 1 ? { lane: 0 } : {}))
    })
  }
}

/** The products of a term with four keys; past the last key with that one. */
const logit = ({ frame: { e }, problem, body, queries }: Kernel, row: Row, term: number, first: I): D => {
  const { k, D } = problem.terms[term] as Problem["terms"][number]
  const shared = k.batch.map((d, axis) =>
    Dim.isOne(d) ? Value.integer(0) : (row.batch[axis] as Value.Value)
  )
  const last = e.sub(e.dim(problem.S), i32(1))
  const places = together.map((key) => Value.uniform(e.min(e.add(first, i32(key)), last)))
  const sums = places.map(() => e.variable<"v256">(splatF64(0)))
  Frame.vectors(e, D, Dim.value(D), (d) => {
    const q = e.now(loadF64("v256.load", at(e, queries[term] as I, d)))
    for (const [n, sum] of sums.entries()) {
      const own = Value.toDoubles(k.at(body, e, shared, [places[n] as Value.Value], [Value.along(e, d, D)]))
      sum.set(active<D>(e, e.bind(madd(e, q, own, sum.value)), sum.value))
    }
  })
  return totals(
    e,
    sums.map(({ value }) => value)
  ) as D
}

const keyAt = (first: I): Value.Affine => ({ _tag: "affine", base: first, step: 1, align: 4 })

/** Leaves the scores of all keys that the row may see, and gives the greatest of each lane. */
const scoreKeys = (kernel: Kernel, row: Row): D => {
  const { problem, scores, score, mask } = kernel
  const { e } = kernel.frame
  const { normalised, node } = problem
  const hidden = normalised ? splatF64(-Infinity) : noPart
  const fill = normalised ? splatF64(node.attrs.fill) : noPart
  const greatest = e.variable<"v256">(splatF64(-Infinity))
  e.loop(row.lo, row.hi, together.length, (first) => {
    const key = keyAt(first)
    const logits = problem.terms.map((_, n) => Value.doubles(logit(kernel, row, n, first)))
    const own = Value.toDoubles(score(...logits, ...row.position, key)[0] as Value.Value)
    // A score of -0 is a weight as well.
    const s = normalised ? own : e.bind(add(own, splatF64(0)))
    const seen = mask && Value.toVector(e, mask(...row.position, key)[0] as Value.Value)
    const masked = seen === undefined ? s : where<D>(seen, s, fill)
    const inside = op("i32x4.lt_s", Value.toVector(e, key), e.bind(op("i32x4.splat", row.hi)))
    const all = e.now(where<D>(e.bind(inside), masked, hidden))
    e.line(storeF64(at(e, scores, first), all))
    if (normalised) greatest.set(greater(greatest.value, all))
  })
  return e.now(greatest.value)
}

/** Scores become weights relative to the greatest. */
const weigh = (kernel: Kernel, row: Row, greatest: D): Statistics => {
  const { problem, scores, sink, probability } = kernel
  const { e } = kernel.frame
  const { fill } = problem.node.attrs
  const exp = (x: D): D => call(e.unit.helperF64("exp"), x)
  const own = across<D>(e, greatest, greater)
  const extra = sink && Value.toDoubles(sink(...row.position)[0] as Value.Value)
  const max = extra === undefined ? own : e.now(greater(own, extra))
  // Distances are taken from a finite number, so that those of -inf are -inf.
  const base = e.now(wide("f64x4.pmax", max, splatF64(-Number.MAX_VALUE)))
  const isFar = wide("f64x4.gt", max, splatF64(negligibleBelow(fill, "f64")))
  const total = e.variable<"v256">(splatF64(0))
  e.loop(row.lo, row.hi, together.length, (first) => {
    const s = e.now(loadF64("v256.load", at(e, scores, first)))
    const weight = e.now(exp(wide("f64x4.sub", s, base)))
    total.set(add(total.value, weight))
    const factor =
      probability && Value.toDoubles(probability(...row.position, keyAt(first))[0] as Value.Value)
    // A product of -0 is a weight as well.
    const weighted = factor === undefined ? weight : add(wide("f64x4.mul", weight, factor), splatF64(0))
    const none = wide("f64x4.eq", s, splatF64(-Infinity))
    // A score of masked keys that is far below the greatest takes no part either.
    const absent =
      problem.fill === undefined
        ? none
        : op("v128.or", none, op("v128.and", wide("f64x4.eq", s, splatF64(fill)), isFar))
    e.line(storeF64(at(e, scores, first), e.now(where<D>(absent, noPart, weighted))))
  })
  const seen = across<D>(e, total.value, add)
  const sum = extra === undefined ? seen : e.now(add(seen, exp(wide("f64x4.sub", extra, base))))
  const some = e.now(wide("f64x4.ne", sum, splatF64(0)))
  // Without any key there is nothing that a sink of NaN could be the weight of.
  const hasKeys = op("i32.sub", i32(0), op("i32.ne", e.dim(problem.S), i32(0)))
  const isSome = extra === undefined ? some : e.now(op("v128.and", some, op("i32x4.splat", hasKeys)))
  return {
    max: () => max,
    sum: () => sum,
    lse: () => {
      const finite = where<D>(some, add(base, call(e.unit.helperF64("log"), sum)), splatF64(-Infinity))
      return where<D>(wide("f64x4.eq", max, splatF64(Infinity)), max, finite)
    },
    quotient: (x) => where<D>(isSome, wide("f64x4.div", x, sum), splatF64(0))
  }
}

/** Some vectors of columns of the result, all keys. */
const sumValues = (
  { frame: { e }, problem, body, scores }: Kernel,
  row: Row,
  starts: ReadonlyArray<I>,
  statistics: Statistics | undefined,
  put: Epilogue.Epilogue
): void => {
  const columns = starts.map((c) => Value.along(e, c, problem.E))
  const sums = columns.map(() => e.variable<"v256">(splatF64(0)))
  e.loop(row.lo, row.hi, 1, (key) => {
    const address = at(e, scores, key)
    const upper = op("i32.xor", load("i32.load", address, 4), i32(0x80000000))
    // The bits of `noPart` and of nothing else.
    e.branch(op("i32.or", load("i32.load", address), upper), () => {
      const weight = e.now(loadF64("v256.load64_splat", address))
      for (const [n, sum] of sums.entries()) {
        const own = problem.v.at(body, e, row.batch, [columns[n] as Value.Value], [Value.uniform(key)])
        sum.set(madd(e, weight, Value.toDoubles(own), sum.value))
      }
    })
  })
  const to = problem.node.type.dtype
  for (const [n, { value }] of sums.entries()) {
    const result = Value.doubles(e.now(statistics?.quotient(value) ?? value))
    put([...row.position, columns[n] as Value.Value], scalar.cast({ e, from: "f64", to }, result))
  }
}
