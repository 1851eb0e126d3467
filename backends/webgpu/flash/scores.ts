import { literal } from "../wgsl/scalar.ts"
import { type Frame, lanes, marked, type Row, range } from "./frame.ts"
import type { Masked } from "./visit.ts"

/** From logits to weights, the same for every way to cut a tile. */

/** What is known of the tile at hand. */
export interface KeyTile {
  /** The key past the last. */
  readonly end: string
  /** A condition that holds where all rows see all keys. */
  readonly full: string | undefined
  /** A variable, where it is asked for: whether some row does not take part with some key before the last. */
  readonly excluded: string | undefined
  /** Where masked keys have a score. */
  readonly masked: Masked | undefined
}

/** One of the thread's keys. */
export interface Own {
  /** Its logits with each four rows. */
  readonly logits: (quad: number) => ReadonlyArray<string>
  /** Where its scores with each four rows are kept (at first the first logit), and where its weights go. */
  readonly score: (quad: number) => string
  readonly weight: (quad: number) => string
  readonly j: string
}

/** Walks the thread's own keys, from the first or from a number at run time. */
export interface OwnKeys {
  readonly unrolled: boolean
  readonly each: (from: string, inside: (own: Own) => void) => void
}

/** The score of one key with four rows. */
interface Score {
  readonly own: Own
  readonly quad: number
  readonly value: string
  /** For which rows the mask excludes the key, and whether the key is past the last; both are conditions. */
  readonly hidden: string
  readonly past: string
}

/** Runs the score and the mask region for the thread's keys. */
const eachScore = (
  frame: Frame,
  own: OwnKeys,
  { end, full, masked: turned }: KeyTile,
  use: (s: Score) => void
): void => {
  const { e, problem, regions, rows, b } = frame
  const quads = range(Math.ceil(frame.tile.threadRows / 4))
  const each = (masked: boolean, from: string): void =>
    own.each(from, (key) => {
      const { j } = key
      const past = e.constant(`${j} >= ${end}`)
      for (const quad of quads) {
        const xs = key.logits(quad).map((x) => e.constant(x))
        const perLane = (value: (row: Row, lane: string) => string, otherwise: string): string =>
          lanes
            .map((lane, n) => {
              const row = rows[quad * 4 + n]
              return row === undefined ? otherwise : value(row, lane)
            })
            .join(", ")
        const scored = perLane(
          (row, lane) => regions.score(...xs.map((x) => `${x}.${lane}`), b, row.h, row.i, j),
          "0.0"
        )
        let value = e.constant(`vec4<f32>(${scored})`)
        let hidden = `vec4<bool>(false)`
        if (masked && regions.mask !== undefined) {
          const seen = perLane((row) => regions.mask?.(b, row.h, row.i, j) as string, "true")
          const visible = e.constant(`vec4<bool>(${seen})`)
          hidden = `!${visible}`
          if (turned !== undefined) {
            const fill = `vec4<f32>(${literal(e.module, "f32", problem.fill as number)})`
            const turn = `vec4<bool>(${turned.turn})`
            const isFar = `(${frame.maxima[quad]} > vec4<f32>(${turned.limit}))`
            value = e.constant(`select(${value}, ${fill}, ${turn})`)
            hidden = e.constant(`select(${hidden}, ${visible} | ${isFar}, ${turn})`)
          }
        }
        use({ own: key, quad, value, hidden, past })
      }
    })
  if (regions.mask === undefined || full === undefined || own.unrolled) {
    each(regions.mask !== undefined, "0")
    return
  }
  // Loops of no turn instead of branches: a software device runs both sides of a branch.
  const skip = frame.tile.threadKeys
  each(true, e.bind(`select(0, ${skip}, ${full})`))
  each(false, e.bind(`select(${skip}, 0, ${full})`))
}

/**
 * Logits become scores, -inf where a key does not take part (compared by bits, never computed with). Gives the largest score of the
 * thread for each four rows. Where only maxima are asked for, sums count the scores: 0 says that there was none, NaN that one was NaN or +inf.
 */
export const score = (frame: Frame, own: OwnKeys, tile: KeyTile): ReadonlyArray<string> => {
  const { e, problem, sums, nothing, lowest, zero } = frame
  const tops = frame.maxima.map(() => e.variable("vec4<f32>", `vec4<f32>(${lowest})`))
  eachScore(frame, own, tile, ({ own: key, quad, value, hidden, past }) => {
    const none = e.constant(`(bitcast<vec4<u32>>(${value}) == vec4<u32>(0xff800000u)) | ${hidden}`)
    const absent = e.constant(`${none} | vec4<bool>(${past})`)
    if (problem.onlyMaxima) {
      e.line(`${sums[quad]} += select(${value} * ${zero} + 1.0, vec4<f32>(), ${absent});`)
    } else {
      if (tile.excluded !== undefined)
        e.line(`${tile.excluded} = ${tile.excluded} | (!${past} & any(${none}));`)
      e.line(`${key.score(quad)} = select(${value}, vec4<f32>(${nothing}), ${absent});`)
    }
    const own = marked(frame, value, "vec4<f32>")
    e.line(`${tops[quad]} = max(${tops[quad]}, select(${own}, vec4<f32>(${lowest}), ${absent}));`)
  })
  return tops
}

/**
 * Bits of the weight of a pair that takes no part, which no weight has: a NaN, or a zero with a sign where weights are multiplied first and looked at
 * afterwards: where a thread owns its rows, on software devices, and in products of f16.
 */
export const excludedBits = ({ tile, problem, ofTile }: Frame): string =>
  ofTile || (tile.owned && problem.normalised) ? "0x80000000u" : "0xffc0deadu"

/** That weight, opaque to compilers. */
const excludedWeight = (frame: Frame): string =>
  frame.e.bind(`bitcast<f32>(${excludedBits(frame)} | ${frame.e.module.opaqueZero()})`)

/** Without a normaliser weights are the scores. */
export const plainWeights = (frame: Frame, own: OwnKeys, tile: KeyTile): void => {
  const { e, regions } = frame
  const { owned } = frame.tile
  const excludes = owned || regions.mask !== undefined
  const hiddenWeight = excludes ? excludedWeight(frame) : ""
  eachScore(frame, own, tile, ({ own: key, quad, value, hidden, past }) => {
    const place = key.weight(quad)
    if (!excludes) {
      e.line(`${place} = ${value};`)
      return
    }
    // A thread that owns its rows takes keys past the last for keys that no row sees; others do not get there.
    const absent = owned ? e.constant(`${hidden} | vec4<bool>(${past})`) : hidden
    if (tile.excluded !== undefined)
      e.line(`${tile.excluded} = ${tile.excluded} | (!${past} & any(${hidden}));`)
    e.line(`${place} = select(${value}, vec4<f32>(${hiddenWeight}), ${absent});`)
  })
}

/** exp(x - top) for x <= top; an argument so low that the result rounds to 0 is cut off before exp sees it. */
export const fade = (x: string, top: string, type: "f32" | "vec4<f32>" = "vec4<f32>"): string =>
  `exp(max(${x} - ${top}, ${type}(-128.0)))`

/** Factors, for each four rows, on what earlier tiles summed, and on the weights of this one where they are relative to its own maximum. */
export interface Fades {
  readonly before: ReadonlyArray<string>
  readonly now: ReadonlyArray<string>
}

/** Scores become weights relative to the new maximum, or to that of the tile. */
export const weigh = (frame: Frame, own: OwnKeys, highest: ReadonlyArray<string>): Fades => {
  const { e, regions, rows, b, zero, maxima, sums, values, ofTile } = frame
  const { owned } = frame.tile
  const now: Array<string> = []
  const before = maxima.map((m, quad) => {
    const top = e.constant(`max(${m}, ${highest[quad]})`)
    const factor = e.constant(fade(m, top))
    e.line(`${m} = ${top};`)
    e.line(`${sums[quad]} *= ${factor};`)
    if (ofTile) now.push(e.constant(fade(highest[quad] as string, top)))
    return factor
  })
  // A zero with a sign adds nothing to a sum; a NaN would.
  const absent = values.length === 0 ? "" : `vec4<f32>(${excludedWeight(frame)})`
  own.each("0", ({ score, weight, j }) => {
    maxima.forEach((total, quad) => {
      const m = ofTile ? (highest[quad] as string) : total
      const place = weight(quad)
      const x = e.constant(score(quad))
      const none = e.constant(`bitcast<vec4<u32>>(${x}) == vec4<u32>(0xff800000u)`)
      const nothing = owned && absent !== "" ? absent : "vec4<f32>()"
      // max may drop NaN.
      const p = e.constant(`select(${fade(x, m)} + ${x} * ${zero}, ${nothing}, ${none})`)
      e.line(`${sums[quad]} += ${ofTile ? `${p} * ${now[quad]}` : p};`)
      if (values.length === 0) return
      if (regions.probability === undefined) {
        e.line(`${place} = ${owned ? p : `select(${p}, ${absent}, ${none})`};`)
        return
      }
      const factors = lanes.map((_, n) => {
        const row = rows[quad * 4 + n]
        return row === undefined ? "1.0" : (regions.probability?.(b, row.h, row.i, j) as string)
      })
      // A product of -0 is a weight as well.
      const product = `${p} * vec4<f32>(${factors.join(", ")})${owned ? ` + ${zero}` : ""}`
      e.line(`${place} = select(${product}, ${absent}, ${none});`)
    })
  })
  return { before, now }
}
