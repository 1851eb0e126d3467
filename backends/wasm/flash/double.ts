import * as Dim from "../../../ir/Dim.ts"
import { laneF64, loadF64, splatF64, storeF64, wide, withLaneF64 } from "../assembler/doubles.ts"
import { type Expr, i32, load, op } from "../assembler/Instruction.ts"
import * as Body from "../emit/body.ts"
import * as Epilogue from "../emit/epilogue.ts"
import * as Frame from "../emit/Frame.ts"
import { reals, where } from "../emit/real.ts"
import { scalar } from "../emit/scalar.ts"
import * as Value from "../emit/Value.ts"
import type { Lowered } from "../Job.ts"
import { across, active } from "../kernels/rowOps.ts"
import { nameOf } from "./attend.ts"
import * as Place from "./Place.ts"
import type { Problem } from "./Problem.ts"
import * as Range from "./range.ts"
import * as Regions from "./regions.ts"

type I = Expr<"i32">
type D = Expr<"v256">

const real = reals.f64
const bytes = 8

/** Vectors of columns whose sums a row keeps in registers. */
const columnVectors = 4

/** Keys whose products with a row become a vector. */
const together = [0, 1, 2, 3] as const

/** The weight of a pair that takes no part: a zero with a sign, which no weight has. Its value must not reach the row, not even as 0 * NaN. */
const noPart = splatF64(-0)

/**
 * Attention in float64, the size of operands in memory notwithstanding. An item is a row: its scores lie in memory of the kernel, so that the greatest is
 * known before the first exponential and nothing is rescaled. Simple and slow beside `attend`, and right for every region.
 */
export const double = (problem: Problem): Lowered => {
  const { job, node, B, Hkv, S, E, terms, normalised } = problem
  const { attrs } = node
  const frame = Frame.open(job)
  const { e } = frame
  const body = Body.make(frame, job.body)
  const R = Dim.mul(problem.T, problem.group)
  const [keys, rowCount] = [e.dim(S), e.dim(R)]
  const lastKey = e.sub(keys, i32(1))
  const doubles = (count: Dim.Dim): I => frame.local(Dim.add(count, Dim.constant(together.length)))
  const scores = doubles(S)
  const queries = terms.map(({ D }) => doubles(D))
  const region = (graph: typeof attrs.mask) => Regions.optional(frame, problem, graph)
  const score = Regions.inline(frame, problem, attrs.score)
  const [mask, sink, probability] = [attrs.mask, attrs.sink, attrs.probability].map(region)
  const ranges = { range: region(attrs.range), rowRange: region(attrs.rowRange) }
  const puts = problem.asked.map((own) => ({ output: own.output, put: Epilogue.make(frame, own.job) }))
  const hidden = normalised ? splatF64(-Infinity) : noPart
  const at = (start: I, index: I): I => e.add(start, e.mul(index, i32(bytes)))

  e.loop(frame.begin, frame.end, 1, (item) => {
    const pair = e.div(item, rowCount)
    const row = e.sub(item, e.mul(pair, rowCount))
    const place = Place.of(e, problem, pair, row, i32(1))
    const position = [place.b, place.headOf(i32(0)), place.queryOf(i32(0))]
    const batch = [place.b, place.keyHead]
    for (const [n, { q, D }] of terms.entries()) {
      const free = Value.delinearize(e, Value.uniform(row), q.free)
      Frame.vectors(e, D, Dim.value(D), (d) => {
        const own = Value.toDoubles(q.at(body, e, batch, free, [Value.along(e, d, D)]))
        e.line(storeF64(at(queries[n] as I, d), own, e.width === 1 ? { lane: 0 } : {}))
      })
    }

    // Masked keys take part where their score is finite.
    const bounded = mask !== undefined && (!normalised || attrs.fill === -Infinity)
    const range = bounded ? Range.visible(frame, problem, ranges, place) : undefined
    const lo = range === undefined ? i32(0) : e.bind(op("i32.and", e.max(range.lo, i32(0)), i32(-4)))
    const hi = range === undefined ? keys : e.min(range.hi, keys)

    /** The products of a term with four keys. */
    const logit = (n: number, first: I): D => {
      const { k, D } = terms[n] as (typeof terms)[number]
      const shared = k.batch.map((d, axis) =>
        Dim.isOne(d) ? Value.integer(0) : (batch[axis] as Value.Value)
      )
      const rows = together.map((key) => Value.uniform(e.min(e.add(first, i32(key)), lastKey)))
      const sums = rows.map(() => e.variable<"v256">(splatF64(0)))
      Frame.vectors(e, D, Dim.value(D), (d) => {
        const q = e.now(loadF64("v256.load", at(queries[n] as I, d)))
        for (const [key, sum] of sums.entries()) {
          const own = k.at(body, e, shared, [rows[key] as Value.Value], [Value.along(e, d, D)])
          sum.set(active(e, e.bind(real.madd(e, q, Value.toDoubles(own), sum.value)) as D, sum.value))
        }
      })
      return sums.reduce<D>(
        (all, sum, key) =>
          e.now(
            withLaneF64(
              key,
              all,
              laneF64(
                0,
                across<D>(e, sum.value, (a, b) => wide("f64x4.add", a, b))
              )
            )
          ),
        splatF64(0)
      )
    }
    const keyAt = (first: I): Value.Affine => ({ _tag: "affine", base: first, step: 1, align: 4 })
    const region4 = (f: Regions.Region, first: I): Value.Value =>
      f(...position, keyAt(first))[0] as Value.Value

    const greatest = e.variable<"v256">(splatF64(-Infinity))
    e.loop(lo, hi, together.length, (first) => {
      const logits = terms.map((_, n) => Value.doubles(logit(n, first)))
      const own = Value.toDoubles(score(...logits, ...position, keyAt(first))[0] as Value.Value)
      // A score of -0 is a weight as well.
      const s = normalised ? own : e.bind(wide("f64x4.add", own, splatF64(0)))
      const fill = normalised ? splatF64(attrs.fill) : noPart
      const masked = mask === undefined ? s : where(Value.toVector(e, region4(mask, first)), s, fill)
      const inside = op("i32x4.lt_s", Value.toVector(e, keyAt(first)), e.bind(op("i32x4.splat", hi)))
      const all = e.now(where(e.bind(inside), masked, hidden)) as D
      e.line(storeF64(at(scores, first), all))
      if (normalised) greatest.set(wide("f64x4.max", greatest.value, all))
    })

    const statistics = normalised ? weigh() : undefined
    /** Scores become weights relative to the greatest. */
    function weigh() {
      const own = across<D>(e, greatest.value, (a, b) => wide("f64x4.max", a, b))
      const extra = sink && Value.toDoubles(sink(...position)[0] as Value.Value)
      const max = extra === undefined ? own : e.now(wide("f64x4.max", own, extra))
      // Distances are taken from a finite number, so that those of -inf are -inf.
      const base = e.now(wide("f64x4.pmax", max, splatF64(real.least)))
      const total = e.variable<"v256">(splatF64(0))
      e.loop(lo, hi, together.length, (first) => {
        const s = e.now(loadF64("v256.load", at(scores, first)))
        const w = e.now(real.expBelow(e, wide("f64x4.sub", s, base))) as D
        total.set(wide("f64x4.add", total.value, w))
        const factor = probability && Value.toDoubles(region4(probability, first))
        const weight = factor === undefined ? w : wide("f64x4.add", wide("f64x4.mul", w, factor), splatF64(0))
        const absent = wide("f64x4.eq", s, splatF64(-Infinity))
        e.line(storeF64(at(scores, first), e.now(where(absent, noPart, weight)) as D))
      })
      const sum = across<D>(e, total.value, (a, b) => wide("f64x4.add", a, b))
      const whole =
        extra === undefined
          ? sum
          : e.now(wide("f64x4.add", sum, real.expBelow(e, wide("f64x4.sub", extra, base)) as D))
      const some = e.now(wide("f64x4.ne", whole, splatF64(0)))
      const lse = (): D => wide("f64x4.add", base, real.call(e, "log", whole) as D)
      return {
        max: () => max,
        sum: () => whole,
        lse: () => where(some, lse(), splatF64(-Infinity)) as D,
        quotient: (x: D) => where(some, wide("f64x4.div", x, whole), splatF64(0)) as D
      }
    }

    const cast = (x: D): Value.Value =>
      scalar.cast({ e, from: "f64", to: node.type.dtype }, Value.doubles(e.now(x)))
    /** Some vectors of columns of the result, all keys. */
    const columns = (put: Epilogue.Epilogue, starts: ReadonlyArray<I>): void => {
      const places = starts.map((c) => Value.along(e, c, E))
      const sums = starts.map(() => e.variable<"v256">(splatF64(0)))
      e.loop(lo, hi, 1, (key) => {
        const address = at(scores, key)
        const isPart = op(
          "i32.or",
          load("i32.load", address),
          op("i32.xor", load("i32.load", address, 4), i32(0x80000000))
        )
        e.branch(isPart, () => {
          const weight = e.now(loadF64("v256.load64_splat", address))
          for (const [n, sum] of sums.entries()) {
            const own = problem.v.at(body, e, batch, [places[n] as Value.Value], [Value.uniform(key)])
            sum.set(real.madd(e, weight, Value.toDoubles(own), sum.value) as D)
          }
        })
      })
      for (const [n, sum] of sums.entries())
        put([...position, places[n] as Value.Value], cast(statistics?.quotient(sum.value) ?? sum.value))
    }
    for (const { output, put } of puts) {
      if (output !== "result") {
        const value = statistics?.[output]()
        if (value !== undefined) e.at(1, () => put(position, Value.doubles(e.now(value))))
        continue
      }
      const width = e.dim(E)
      const [most, whole] = [-4 * columnVectors, -4].map((n) => e.bind(op("i32.and", width, i32(n)))) as [
        I,
        I
      ]
      e.loop(i32(0), most, 4 * columnVectors, (c) =>
        e.at(4, () =>
          columns(
            put,
            Array.from({ length: columnVectors }, (_, n) => e.add(c, i32(4 * n)))
          )
        )
      )
      e.loop(most, whole, 4, (c) => e.at(4, () => columns(put, [c])))
      e.loop(whole, width, 1, (c) => e.at(1, () => columns(put, [c])))
    }
  })
  return frame.finish(nameOf("flash_f64", problem), { times: Dim.mul(B, Hkv), of: R, per: 1 })
}
