import * as Budget from "../../../ir/flashBudget.ts"
import { type Frame, laneOf, lanes, range, rowOf } from "./frame.ts"
import * as Regions from "./regions.ts"
import { excludedBits, type KeyTile, type OwnKeys, plainWeights, score, weigh } from "./scores.ts"
import { reduce, together } from "./share.ts"
import * as Visit from "./visit.ts"

/**
 * Emits the loop over keys where a thread owns whole rows. Queries, sums and what waits between two steps lie in private arrays that only constants
 * index, but for code that is run rarely and walks them in a loop: so a software device, whose compiler finds room in registers only for what lives
 * shortly, reads each number where it is needed. With quads four neighbours load a quarter of each key and value and pass it around, so
 * that each lane meets the vectors of a row in an order of its own: n XOR lane. `after` is emitted behind each turn of keys.
 */
export const loop = (frame: Frame, after: (turn: string) => void): void => {
  const { e, tile, values } = frame
  const queries = frame.terms.map((_, n) => loadQueries(frame, n))
  const waiting = waitingOf(frame)
  const tiles: Visit.Tiles = (from, end, full, masked) => {
    e.block(
      "loop",
      `for (var ${from.name} = ${from.start}; ${from.name} < ${end}; ${from.name} += ${tile.keys})`,
      () => {
        const first = e.known(from.name)
        Visit.count(frame, from, end, full)
        // Keys past the last are loaded as the last one, and take no part.
        for (const n of range(tile.keys)) {
          e.line(`${waiting.position(String(n))} = min(${e.add(first, String(n))}, ${frame.keys} - 1);`)
        }
        frame.terms.forEach((_, n) => {
          logits(frame, n, queries[n] as string, waiting)
        })
        const own = ownKeys(frame, first, waiting)
        const fades = weights(frame, own, { end, full, excluded: undefined, masked })
        if (values.length > 0) accumulate(frame, waiting, own, fades)
      }
    )
  }
  Visit.keys(frame, tiles, after)
}

/** Where numbers wait between the steps of a tile: vectors in private memory, by their numbers. */
interface Waiting {
  /** Where the keys of the tile lie, and the first vector that a thread loads of those from g on, which neighbours share. */
  readonly position: (key: string) => string
  readonly chunk: (g: number) => string
  /** Logits of each term: four rows of a key. The first becomes score and weight, where a loop visits the keys. */
  readonly logits: ReadonlyArray<(key: string, quad: string | number) => string>
  /** Four keys of a row: weights that take part, and weights as they are, which without a normaliser say whether their key does. */
  readonly weights: (row: string | number, four: string | number) => string
  readonly raw: (row: string | number, four: string | number) => string
  /** Factors on the sums of four rows. */
  readonly fades: (quad: number) => string
}

const waitingOf = (frame: Frame): Waiting => {
  const { e, tile, problem, rows, lane } = frame
  const places = e.array("i32", tile.keys + 1)
  const laneAt = `${places}[${tile.keys}]`
  if (tile.quads) e.line(`${laneAt} = ${lane};`)
  const [quads, fours] = [quadsOf(frame), Math.ceil(tile.keys / 4)]
  const [ofLogits, ofWeights] = [tile.keys * quads, rows.length * fours]
  const sets = problem.normalised ? 1 : 2
  const one = e.array("vec4<f32>", ofLogits + sets * ofWeights + quads)
  const arrays = frame.terms.map((_, n) => (n === 0 ? one : e.array("vec4<f32>", ofLogits)))
  const weightAt =
    (offset: number) =>
    (row: string | number, four: string | number): string =>
      `${one}[${e.add(e.add(e.mul(String(row), String(fours)), String(four)), String(offset))}]`
  return {
    position: (key) => `${places}[${key}]`,
    chunk: (g) => (tile.quads ? e.constant(`${laneAt} + ${g}`) : String(g)),
    logits: arrays.map(
      (array) => (key, quad) => `${array}[${e.add(e.mul(key, String(quads)), String(quad))}]`
    ),
    weights: weightAt(ofLogits),
    raw: weightAt(ofLogits + (sets - 1) * ofWeights),
    fades: (quad) => `${one}[${ofLogits + sets * ofWeights + quad}]`
  }
}

/** What a thread has loaded becomes, step by step, what its neighbours have, each step from the one before; the other number is n of n XOR lane. */
const passes = [
  ["", 0],
  ["quadSwapX", 1],
  ["quadSwapY", 3],
  ["quadSwapX", 2]
] as const

const turns = ({ tile }: Frame): ReadonlyArray<(typeof passes)[number]> =>
  tile.quads ? passes : passes.slice(0, 1)

/** A vector of an operand; zeros past the last. */
export const vectorAt = (
  { e, tile }: Frame,
  operand: Frame["v"],
  index: readonly [string, string, string],
  n: string,
  size: number
): string => {
  const needed = Math.ceil(size / 4)
  if (!tile.quads || needed % 4 === 0) return operand.vec4(e, index, n)
  const loaded = operand.vec4(e, index, e.bind(`min(${n}, ${needed - 1})`))
  return e.constant(`select(vec4<f32>(), ${loaded}, ${n} < ${needed})`)
}

/** The number of the thread's n-th vector of a row. */
export const vectorOf = ({ e, tile, lane }: Frame, n: string): string =>
  tile.shared ? e.add(e.mul(n, "4"), lane) : tile.quads ? e.bind(`${n} ^ ${lane}`) : n

/** Vectors of a row that a thread has. */
export const vectorsOf = ({ tile }: Frame, size: number): number =>
  Budget.ownedVectors(size, tile.quads) / (tile.shared ? 4 : 1)

/** The queries of the thread's rows as a private array, row by row. */
export const loadQueries = (frame: Frame, term: number): string => {
  const { e, tile, problem, rows, rowGroup, firstRow, b, head, rowCount } = frame
  const { q, size } = frame.terms[term] as Frame["terms"][number]
  const vectors = vectorsOf(frame, size)
  const array = e.array("vec4<f32>", vectors * rows.length)
  const threadRow = e.add(firstRow, e.mul(rowGroup, String(tile.threadRows)))
  e.loop("0", String(rows.length), "1", (a) => {
    const row = rowOf(e, problem, head, e.add(threadRow, a), rowCount)
    e.loop("0", String(vectors), "1", (n) => {
      const x = vectorAt(frame, q, [b, row.h, row.i], vectorOf(frame, n), size)
      e.line(`${array}[${a} * ${vectors} + ${n}] = ${x};`)
    })
  })
  return array
}

/** q·k of the thread's rows and keys, one key after the other. */
const logits = (frame: Frame, term: number, queries: string, waiting: Waiting): void => {
  const { e, tile, rows } = frame
  const { k, at, size } = frame.terms[term] as Frame["terms"][number]
  const vectors = Budget.ownedVectors(size, tile.quads)
  const order = turns(frame)
  for (const n of range(tile.keys)) {
    // Constants all the way: a software device stores a variable only where its thread is not switched off, and asks each time.
    const sums = rows.map(() => "")
    for (let g = 0; g < vectors; g += order.length) {
      const position = e.constant(waiting.position(String(n)))
      let key = vectorAt(frame, k, [...at, position], waiting.chunk(g), size)
      for (const [swap, turn] of order) {
        if (swap !== "") key = e.constant(`${swap}(${key})`)
        rows.forEach((_, a) => {
          const product = `dot(${queries}[${a * vectors + g + turn}], ${key})`
          sums[a] = e.constant(sums[a] === "" ? product : `${sums[a]} + ${product}`)
        })
      }
    }
    for (const quad of range(quadsOf(frame)))
      e.line(`${waiting.logits[term]?.(String(n), quad)} = ${gather(sums, quad)};`)
  }
}

export const quadsOf = ({ tile }: Frame): number => Math.ceil(tile.threadRows / 4)

/** Four of a list of numbers as a vector. */
export const gather = (numbers: ReadonlyArray<string>, four: number): string =>
  `vec4<f32>(${lanes.map((_, n) => numbers[four * 4 + n] ?? "0.0").join(", ")})`

/** The thread's keys: written out where what is computed for a pair is short, else in a loop. */
const ownKeys = (
  frame: Frame,
  first: string,
  { logits: [logit, ...more] }: Waiting
): OwnKeys & { readonly weights: ReadonlyArray<ReadonlyArray<string>> } => {
  const { e, tile, problem } = frame
  const [keys, quads] = [range(tile.keys), range(quadsOf(frame))]
  const waits = logit as Waiting["logits"][number]
  const logitsOf = (place: string, n: string, quad: number): ReadonlyArray<string> => [
    place,
    ...more.map((term) => term(n, quad))
  ]
  if (Regions.areShort(problem.node, tile.threadRows * tile.keys)) {
    const places = keys.map((n) => quads.map((quad) => e.variable("vec4<f32>", waits(String(n), quad))))
    return {
      unrolled: true,
      weights: places,
      each: (_, inside) =>
        places.forEach((key, n) => {
          const place = (quad: number): string => key[quad] as string
          inside({
            logits: (quad) => logitsOf(place(quad), String(n), quad),
            score: place,
            weight: place,
            j: e.add(first, String(n))
          })
        })
    }
  }
  return {
    unrolled: false,
    weights: keys.map((n) => quads.map((quad) => waits(String(n), quad))),
    each: (from, inside) =>
      e.loop(from, String(tile.keys), "1", (n) => {
        const place = (quad: number): string => waits(n, quad)
        inside({
          logits: (quad) => logitsOf(place(quad), n, quad),
          score: place,
          weight: place,
          j: e.add(first, n)
        })
      })
  }
}

/** Makes weights of the logits; gives the factors on what was summed so far, where a softmax's maximum may rise. */
export const weights = (frame: Frame, own: OwnKeys, tile: KeyTile): ReadonlyArray<string> | undefined => {
  const { e, problem, maxima } = frame
  if (!problem.normalised) {
    plainWeights(frame, own, tile)
    return undefined
  }
  const ofThread = score(frame, own, tile)
  const tops = frame.tile.shared ? reduce(frame, ofThread, "max") : ofThread
  if (!problem.onlyMaxima) return weigh(frame, own, tops).before
  maxima.forEach((m, quad) => {
    e.line(`${m} = max(${m}, ${tops[quad]});`)
  })
  return undefined
}

/** Puts the weights where they wait for the values, row by row, and the factors on what was summed so far. */
const putWeights = (
  frame: Frame,
  waiting: Waiting,
  own: { readonly weights: ReadonlyArray<ReadonlyArray<string>> },
  fades: ReadonlyArray<string> | undefined
): void => {
  const { e, tile, problem, rows } = frame
  const raw = own.weights.map((key) => key.map((x) => e.constant(x)))
  const taken = problem.normalised
    ? raw
    : raw.map((key) => key.map((x) => e.constant(`select(${x}, vec4<f32>(), ${isExcluded(frame, x)})`)))
  const ofRow = (xs: ReadonlyArray<ReadonlyArray<string>>, a: number): ReadonlyArray<string> => {
    const [quad, part] = laneOf(a)
    return xs.map((key) => `${key[quad]}.${part}`)
  }
  for (const four of range(Math.ceil(tile.keys / 4))) {
    rows.forEach((_, a) => {
      e.line(`${waiting.weights(a, four)} = ${gather(ofRow(taken, a), four)};`)
      if (!problem.normalised) e.line(`${waiting.raw(a, four)} = ${gather(ofRow(raw, a), four)};`)
    })
  }
  fades?.forEach((x, quad) => {
    e.line(`${waiting.fades(quad)} = ${x};`)
  })
}

export const isExcluded = (frame: Frame, x: string): string =>
  `bitcast<vec4<u32>>(${x}) == vec4<u32>(${excludedBits(frame)})`

/** Which of these numbers a row sees that has this weight for them. */
export const isSeen = (frame: Frame, numbers: string, weight: string): string =>
  `${numbers} & vec4<bool>(bitcast<u32>(${weight}) != ${excludedBits(frame)})`

/** Whether numbers are infinite or NaN; `type` is theirs. */
export const isInfinite = (x: string, type: string): string => {
  const bits = type.replace("f32", "u32")
  return `(bitcast<${bits}>(${x}) & ${bits}(0x7f800000u)) == ${bits}(0x7f800000u)`
}

/** The products of up to four keys' weights and as many numbers, which are a vector or one number, added up. */
const weighted = (weights: string, numbers: string, count: number): string =>
  count === 1
    ? `${weights}.x * ${numbers}`
    : `dot(${weights}${["", "", ".xy", ".xyz", ""][count]}, ${numbers})`

/**
 * Adds the tile's weighted values, number by number, of up to four keys at once. A value that a row does not see must not reach it, not even as
 * 0 * NaN: values that are not finite count as 0 at first, and where a tile has some, a loop adds them to the rows that see them. A
 * loop of no turn stands for a branch, whose sides a software device would run both.
 */
const accumulate = (
  frame: Frame,
  waiting: Waiting,
  own: { readonly weights: ReadonlyArray<ReadonlyArray<string>> },
  fades: ReadonlyArray<string> | undefined
): void => {
  const { e, tile, problem, v, b, head, rows, values } = frame
  const vectors = tile.chunks
  const order = turns(frame)
  const load = (key: string, n: string): string =>
    vectorAt(frame, v, [b, head, e.constant(waiting.position(key))], n, problem.E)
  putWeights(frame, waiting, own, fades)
  const fours = range(Math.ceil(tile.keys / 4)).map((four) => Math.min(4, tile.keys - 4 * four))

  let found = "false"
  for (let g = 0; g < vectors; g += order.length) {
    const loaded = range(tile.keys).map((n) => load(String(n), waiting.chunk(g)))
    for (const part of lanes) {
      let numbers = fours.map((count, four) => {
        const xs = range(count).map((n) => `${loaded[four * 4 + n]}.${part}`)
        const [type, x] =
          count === 1 ? ["f32", xs[0]] : [`vec${count}<f32>`, `vec${count}<f32>(${xs.join(", ")})`]
        const number = e.constant(x as string)
        const bad = e.constant(isInfinite(number, type))
        found = e.constant(`${found} | ${count === 1 ? bad : `any(${bad})`}`)
        return e.constant(`select(${number}, ${type}(), ${bad})`)
      })
      for (const [swap, turn] of order) {
        if (swap !== "") numbers = numbers.map((x) => e.constant(`${swap}(${x})`))
        rows.forEach((_, a) => {
          const sum = `${values[a]?.[g + turn]}.${part}`
          const [quad, row] = laneOf(a)
          const before = fades === undefined ? sum : `${sum} * ${waiting.fades(quad)}.${row}`
          const terms = fours.map((count, four) =>
            weighted(waiting.weights(a, four), numbers[four] as string, count)
          )
          e.line(`${sum} = ${[before, ...terms].join(" + ")};`)
        })
      }
    }
  }
  const any = together(frame, e.constant(`select(0u, 1u, ${found})`))
  const [ofKey, all] = [vectors * rows.length, vectors * rows.length * tile.keys]
  // One loop: what is used in loops of loops would keep its register all the while.
  e.loop(e.constant(`select(${all}, 0, ${any} != 0u)`), String(all), "1", (turn) => {
    const key = e.bind(`${turn} / ${ofKey}`)
    const inKey = e.bind(`${turn} - ${key} * ${ofKey}`)
    const a = e.bind(`${inKey} / ${vectors}`)
    const n = e.bind(`${inKey} - ${a} * ${vectors}`)
    const x = load(key, vectorOf(frame, n))
    const bad = e.constant(isInfinite(x, "vec4<f32>"))
    const weight = e.constant(`${waiting.raw(a, `${key} / 4`)}[${key} % 4]`)
    e.line(
      `${frame.owned}[${inKey}] += select(vec4<f32>(), ${weight} * ${x}, ${isSeen(frame, bad, weight)});`
    )
  })
}

/** A loop over the thread's rows and vectors of values that exist, by their numbers at run time. */
export const eachValue = (
  frame: Frame,
  inside: (
    row: { readonly a: string; readonly number: string; readonly h: string; readonly i: string },
    chunk: string,
    value: string
  ) => void
): void => {
  const { e, tile, problem, rows, rowGroup, firstRow, head, rowCount } = frame
  const needed = Math.ceil(problem.E / 4)
  const threadRow = e.add(firstRow, e.mul(rowGroup, String(tile.threadRows)))
  e.loop("0", String(rows.length), "1", (a) => {
    const number = e.add(threadRow, a)
    e.branch(`${number} < ${rowCount}`, () => {
      const row = rowOf(e, problem, head, number, rowCount)
      e.loop("0", String(tile.chunks), "1", (n) => {
        const chunk = vectorOf(frame, n)
        const give = (): void =>
          inside({ ...row, a }, chunk, e.constant(`${frame.owned}[${a} * ${tile.chunks} + ${n}]`))
        if (tile.chunks * (tile.shared ? 4 : 1) === needed) give()
        else e.branch(`${chunk} < ${needed}`, give)
      })
    })
  })
}
