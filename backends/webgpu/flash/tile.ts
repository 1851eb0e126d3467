import * as Budget from "../../../ir/flashBudget.ts"
import { type Frame, laneOf, range } from "./frame.ts"
import * as Halves from "./halves.ts"
import type * as Operand from "./operands.ts"
import * as Regions from "./regions.ts"
import { excludedBits, type Fades, type KeyTile, type OwnKeys, plainWeights, score, weigh } from "./scores.ts"
import { reduce } from "./share.ts"
import * as Visit from "./visit.ts"

/** Emits the loops over keys, and `after` behind each turn of them. Afterwards maxima are those of the row, sums and values are partial. */
export const loop = (frame: Frame, after: (turn: string) => void): void => {
  const { e, tile } = frame
  const care = careOf(frame)
  const queries = Halves.largestQueries(frame)
  const values = frame.terms.length
  const tiles: Visit.Tiles = (from, end, full, masked) => {
    e.block(
      "loop",
      `for (var ${from.name} = ${from.start}; ${from.name} < ${end}; ${from.name} += ${tile.keys})`,
      () => {
        const first = e.known(from.name)
        Visit.count(frame, from, end, full)
        const own = ownKeys(frame, first, logits(frame, first, queries))
        const hasValues = frame.values.length > 0
        if (hasValues) care?.forget()
        if (tile.half) Halves.forget(frame, values, values + 1)
        const excluded = care === undefined ? undefined : e.variable("bool", "false")
        const fades = weights(frame, own, { end, full, excluded, masked })
        if (tile.half) Halves.forget(frame, 0, values)
        if (hasValues) {
          if (excluded !== undefined) care?.tell(excluded)
          if (tile.staged) stageTile(frame, frame.v, values, [frame.b, frame.head], frame.problem.E, first)
          e.line("workgroupBarrier();")
          accumulate(frame, first, end, care?.some(excluded as string), fades)
        }
        e.line("workgroupBarrier();")
      }
    )
  }
  Visit.keys(frame, tiles, after)
}

/** How threads learn whether some row of the tile does not take part with some key; undefined where they need not. */
interface Care {
  readonly forget: () => void
  readonly tell: (excluded: string) => void
  /** A condition, behind a barrier. */
  readonly some: (excluded: string) => string
}

const careOf = ({ e, ofTile, tile }: Frame): Care | undefined => {
  if (ofTile) return undefined
  if (tile.subgroup)
    return { forget: () => {}, tell: () => {}, some: (excluded) => e.constant(`subgroupAny(${excluded})`) }
  const flag = e.module.workgroupArray("atomic<u32>", 1, 4)
  return {
    forget: () => e.line(`if (lix == 0u) { atomicStore(&${flag}[0], 0u); }`),
    tell: (excluded) => e.line(`if (${excluded}) { atomicStore(&${flag}[0], 1u); }`),
    some: () => e.constant(`atomicLoad(&${flag}[0]) != 0u`)
  }
}

/** Makes weights of the logits, behind a barrier. What a softmax summed so far fades as its maximum rises. */
const weights = (frame: Frame, own: OwnKeys, tile: KeyTile): Fades | undefined => {
  const { e, problem, values } = frame
  if (!problem.normalised) {
    plainWeights(frame, own, tile)
    if (!frame.tile.subgroup) e.line("workgroupBarrier();")
    return undefined
  }
  const tops = score(frame, own, tile)
  const highest = reduce(frame, tops, "max")
  if (problem.onlyMaxima) {
    frame.maxima.forEach((m, quad) => {
      e.line(`${m} = max(${m}, ${highest[quad]});`)
    })
    return undefined
  }
  const fades = weigh(frame, own, highest)
  values.forEach((row, a) => {
    const [quad, lane] = laneOf(a)
    for (const value of row) e.line(`${value} *= ${fades.before[quad]}.${lane};`)
  })
  return fades
}

/** Copies a tile of K or V into workgroup memory. Keys past the end repeat the last one: no thread uses them. */
const stageTile = (
  frame: Frame,
  operand: Operand.Operand,
  number: number,
  [b, head]: readonly [b: string, head: string],
  size: number,
  first: string
) => {
  const { e, tile, stage, keys, half, halves } = frame
  const [chunks, stride] = [Math.ceil(size / 4), Budget.rowStride(size)]
  const n = e.module.fresh("n")
  const top = half === undefined ? "" : e.variable("u32", "0u")
  e.block("loop", `for (var ${n} = i32(lix); ${n} < ${tile.keys * chunks}; ${n} += ${tile.threads})`, () => {
    e.known(n)
    const key = e.bind(`${n} / ${chunks}`)
    const chunk = e.bind(`${n} - ${key} * ${chunks}`)
    const position = e.bind(`min(${first} + ${key}, ${keys} - 1)`)
    const place = `${key} * ${stride} + ${chunk}`
    if (half === undefined) {
      e.line(`${stage}[${place}] = ${operand.vec4(e, [b, head, position], chunk)};`)
      return
    }
    const x = operand.half(e, [b, head, position], chunk)
    e.line(`${halves}[${place}] = ${x};`)
    e.line(`${top} = max(${top}, ${e.module.helper("largest_bits")}(${half.floats(x)}));`)
  })
  if (half !== undefined) Halves.give(frame, number, top)
}

/** A vector of the staged tile as `vec4<f32>`. */
const staged = (frame: Frame, at: string): string =>
  frame.e.constant(frame.half === undefined ? `${frame.stage}[${at}]` : Halves.floats(frame, at))

const slotOf = ({ e, tile, column }: Frame, k: string): string =>
  e.add(e.mul(k, String(tile.columns)), column)

/** Where the thread's rows of a key lie among the weights. */
const weightsAt = ({ e, tile, rowGroup }: Frame, slot: string): string =>
  e.add(e.mul(slot, String(Budget.weightStride(tile))), e.mul(rowGroup, String(tile.threadRows / 4)))

/** q·k of the thread's rows and keys, one term after the other: a vector for each term, each key and each four rows. */
const logits = (
  frame: Frame,
  first: string,
  queries: ReadonlyArray<string>
): ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>> => {
  const { e, tile, rows } = frame
  const quads = range(tile.threadRows / 4)
  const own = range(tile.threadKeys)
  return frame.terms.map(({ q, k, at, size }, n) => {
    const [chunks, stride] = [Math.ceil(size / 4), Budget.rowStride(size)]
    if (tile.staged) {
      if (n > 0) e.line("workgroupBarrier();")
      stageTile(frame, k, n, at, size, first)
      e.line("workgroupBarrier();")
    }
    const products = own.map(() => quads.map(() => e.variable("vec4<f32>", "vec4<f32>()")))
    const slots = own.map((n) => slotOf(frame, String(n)))
    const inFloats = (): void =>
      e.loop("0", String(chunks), "1", (c) => {
        const vectors = slots.map((slot) =>
          tile.staged
            ? staged(frame, e.add(e.mul(slot, String(stride)), c))
            : k.vec4(e, [...at, e.add(first, slot)], c)
        )
        rows.forEach((row, a) => {
          const [quad, lane] = laneOf(a)
          const x = q.vec4(e, [frame.b, row.h, row.i], c)
          own.forEach((n) => {
            e.line(`${products[n]?.[quad]}.${lane} += dot(${x}, ${vectors[n]});`)
          })
        })
      })
    if (!tile.half) inFloats()
    else
      e.branch(
        Halves.tame(frame, n, queries[n] as string),
        () => Halves.logits(frame, n, slots, products),
        inFloats
      )
    return products
  })
}

/**
 * Short regions are repeated for each key, so that scores stay in registers. Long ones would make the kernel long: there the scores wait in
 * the thread's places among the weights, and a loop takes one key after the other.
 */
const ownKeys = (
  frame: Frame,
  first: string,
  products: ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>>
): OwnKeys => {
  const { e, tile, problem } = frame
  const placesOf = (slot: string): ((quad: number) => string) => {
    const at = weightsAt(frame, slot)
    return (quad) => `${frame.weights}[${e.add(at, String(quad))}]`
  }
  const [one, ...more] = products as readonly [ReadonlyArray<ReadonlyArray<string>>, ...typeof products]
  if (Regions.areShort(problem.node, tile.threadRows * tile.threadKeys)) {
    return {
      unrolled: true,
      each: (_, inside) =>
        one.forEach((quads, n) => {
          const slot = slotOf(frame, String(n))
          inside({
            logits: (quad) => products.map((term) => term[n]?.[quad] as string),
            score: (quad) => quads[quad] as string,
            weight: placesOf(slot),
            j: e.add(first, slot)
          })
        })
    }
  }
  one.forEach((quads, n) => {
    const place = placesOf(slotOf(frame, String(n)))
    quads.forEach((value, quad) => {
      e.line(`${place(quad)} = ${value};`)
    })
  })
  const [quads, count] = [tile.threadRows / 4, (tile.threadRows / 4) * tile.threadKeys]
  const arrays = more.map((term) =>
    e.variable(`array<vec4<f32>, ${count}>`, `array<vec4<f32>, ${count}>(${term.flat().join(", ")})`)
  )
  return {
    unrolled: false,
    each: (from, inside) =>
      e.loop(from, String(tile.threadKeys), "1", (k) => {
        const slot = slotOf(frame, k)
        const place = placesOf(slot)
        const at = (quad: number): string => e.add(e.mul(k, String(quads)), String(quad))
        inside({
          logits: (quad) => [place(quad), ...arrays.map((array) => `${array}[${at(quad)}]`)],
          score: place,
          weight: place,
          j: e.add(first, slot)
        })
      })
  }
}

/** What a weight is multiplied with, and the weight as it lies in memory, whose bits say whether the pair takes part. */
type Term = readonly [weight: string, value: string, own: string]

/** Adds the tile's weighted values. Where a key is excluded for some row its value must not reach that row, not even as 0 * NaN. */
const accumulate = (
  frame: Frame,
  first: string,
  end: string,
  skip: string | undefined,
  fades: Fades | undefined
): void => {
  const { e, tile, problem, v, b, head, valueColumn, slice, values } = frame
  const weight = (key: string, quad: number): string =>
    e.constant(`${frame.weights}[${e.add(weightsAt(frame, key), String(quad))}]`)
  const isExcluded = (w: string): string => `bitcast<u32>(${w}) == ${excludedBits(frame)}`
  const stride = Budget.rowStride(problem.E)
  const count = e.bind(`min(${tile.keys}, ${end} - ${first})`)
  const each = (
    start: string,
    stop: string,
    step: number,
    add: (sum: string, terms: ReadonlyArray<Term>) => string
  ): void =>
    e.loop(start, stop, String(step * tile.slices), (j) => {
      const keys = range(step).map((n) => e.add(j, String(n)))
      const columns = keys.map((key) =>
        range(tile.threadRows / 4).map((quad) => {
          const own = weight(key, quad)
          return { own, p: skip === undefined ? e.constant(`${own} * ${fades?.now[quad]}`) : own }
        })
      )
      range(tile.chunks).forEach((n) => {
        const chunk = e.add(valueColumn, String(n * tile.valueColumns))
        const vectors = keys.map((key) =>
          tile.staged
            ? staged(frame, e.add(e.mul(key, String(stride)), chunk))
            : v.vec4(e, [b, head, e.add(first, key)], chunk)
        )
        values.forEach((row, a) => {
          const [quad, lane] = laneOf(a)
          const sum = row[n] as string
          const terms = vectors.map((x, m): Term => {
            const at = columns[m]?.[quad]
            return [`${at?.p}.${lane}`, x, `${at?.own}.${lane}`]
          })
          e.line(`${sum} = ${add(sum, terms)};`)
        })
      })
    })
  const kept = (sum: string, terms: ReadonlyArray<Term>): string =>
    terms.reduce((text, [p, x, own]) => `select(${text} + ${p} * ${x}, ${text}, ${isExcluded(own)})`, sum)
  if (skip === undefined) {
    e.branch(
      Halves.tame(frame, frame.terms.length, Halves.largestWeight),
      () => Halves.accumulate(frame, count, fades?.now ?? [], weight),
      () => each(slice, count, 1, kept)
    )
    return
  }
  // Two keys at a time: sums that a device keeps in memory move half as often.
  const step = tile.slices === 1 && tile.keys > 1 ? 2 : 1
  const whole = step === 1 ? count : e.bind(`${count} / 2 * 2`)
  each(e.bind(`select(${slice}, ${whole}, ${skip})`), whole, step, (sum, terms) =>
    [sum, ...terms.map(([p, x]) => `${p} * ${x}`)].join(" + ")
  )
  const rest = step === 1 ? `select(${count}, ${slice}, ${skip})` : `select(${whole}, 0, ${skip})`
  each(e.bind(rest), count, 1, kept)
}
