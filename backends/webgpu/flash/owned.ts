import * as Budget from "../../../ir/flashBudget.ts"
import { type Frame, laneOf, lanes, range, rowOf } from "./frame.ts"
import * as Regions from "./regions.ts"
import { excludedBits, type KeyTile, type OwnKeys, plainWeights, score, weigh } from "./scores.ts"
import { together } from "./share.ts"
import * as Visit from "./visit.ts"

/**
 * Emits the loop over keys where a thread owns whole rows. Queries and sums lie in private arrays that only constants index: written-out code reads
 * them as if they were registers, and code that is run rarely walks them in a loop. With quads four neighbours load a quarter of
 * each key and value and pass it around, so that each lane meets the vectors of a row in an order of its own: n XOR lane.
 */
export const loop = (frame: Frame): void => {
  const { e, tile, values } = frame
  const queries = frame.terms.map((_, n) => loadQueries(frame, n))
  Visit.keys(frame, (from, end, full) => {
    e.block(
      "loop",
      `for (var ${from.name} = ${from.start}; ${from.name} < ${end}; ${from.name} += ${tile.keys})`,
      () => {
        const first = e.known(from.name)
        Visit.count(frame, from, end, full)
        // Keys past the last are loaded as the last one, and take no part.
        const positions = range(tile.keys).map((n) =>
          e.bind(`min(${e.add(first, String(n))}, ${frame.keys} - 1)`)
        )
        const products = frame.terms.map((_, n) => logits(frame, n, queries[n] as string, positions))
        const own = ownKeys(frame, first, products)
        const fades = weights(frame, own, { end, full, excluded: undefined })
        if (values.length > 0) accumulate(frame, own, positions, fades)
      }
    )
  })
}

const swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"] as const

/** What a thread loads is what `turns` vectors become in turn: its own, and those of its neighbours. */
const turns = ({ tile }: Frame): ReadonlyArray<(typeof swaps)[number]> => (tile.quads ? swaps : [""])

/** A vector of an operand; zeros past the last. */
const vectorAt = (
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
const vectorOf = ({ e, tile, lane }: Frame, n: string): string => (tile.quads ? e.bind(`${n} ^ ${lane}`) : n)

/** The queries of the thread's rows as a private array, row by row. */
const loadQueries = (frame: Frame, term: number): string => {
  const { e, tile, problem, rows, rowGroup, firstRow, b, head, rowCount } = frame
  const { q, size } = frame.terms[term] as Frame["terms"][number]
  const vectors = Budget.ownedVectors(size, tile.quads)
  const type = `array<vec4<f32>, ${vectors * rows.length}>`
  const array = e.variable(type, `${type}()`)
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

/** q·k of the thread's rows and keys: a number for each key and each row. */
const logits = (
  frame: Frame,
  term: number,
  queries: string,
  positions: ReadonlyArray<string>
): ReadonlyArray<ReadonlyArray<string>> => {
  const { e, tile, rows, lane } = frame
  const { k, at, size } = frame.terms[term] as Frame["terms"][number]
  const vectors = Budget.ownedVectors(size, tile.quads)
  // Constants all the way: a software device stores a variable only where its thread is not switched off, and asks each time.
  const sums = positions.map(() => rows.map(() => ""))
  const order = turns(frame)
  for (let g = 0; g < vectors; g += order.length) {
    const loaded = positions.map((p) => vectorAt(frame, k, [...at, p], e.add(lane, String(g)), size))
    order.forEach((swap, turn) => {
      const keys = loaded.map((x) => (swap === "" ? x : e.constant(`${swap}(${x})`)))
      rows.forEach((_, a) => {
        const x = e.constant(`${queries}[${a * vectors + g + turn}]`)
        keys.forEach((key, n) => {
          const row = sums[n] as Array<string>
          row[a] = e.constant(row[a] === "" ? `dot(${x}, ${key})` : `${row[a]} + dot(${x}, ${key})`)
        })
      })
    })
  }
  return sums
}

const quadsOf = ({ tile }: Frame): number => Math.ceil(tile.threadRows / 4)

/** Four rows of one key as a vector. */
const gather = (rows: ReadonlyArray<string>, quad: number): string =>
  `vec4<f32>(${lanes.map((_, n) => rows[quad * 4 + n] ?? "0.0").join(", ")})`

/** The thread's keys: written out where what is computed for a pair is short, else in a loop over a private array. */
const ownKeys = (
  frame: Frame,
  first: string,
  products: ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>>
): OwnKeys & { readonly weights: ReadonlyArray<ReadonlyArray<string>> } => {
  const { e, tile, problem } = frame
  const quads = range(quadsOf(frame))
  const [one = [], ...more] = products.map((term) =>
    term.map((rows) => quads.map((quad) => gather(rows, quad)))
  )
  if (Regions.areShort(problem.node, tile.threadRows * tile.keys)) {
    const places = one.map((key) => key.map((x) => e.variable("vec4<f32>", x)))
    return {
      unrolled: true,
      weights: places,
      each: (_, inside) =>
        places.forEach((key, n) => {
          const place = (quad: number): string => key[quad] as string
          inside({
            logits: (quad) => [place(quad), ...more.map((term) => term[n]?.[quad] as string)],
            score: place,
            weight: place,
            j: e.add(first, String(n))
          })
        })
    }
  }
  const count = tile.keys * quads.length
  const type = `array<vec4<f32>, ${count}>`
  const arrays = [one, ...more].map((term) => e.variable(type, `${type}(${term.flat().join(", ")})`))
  const [places] = arrays as [string]
  return {
    unrolled: false,
    weights: range(tile.keys).map((n) => quads.map((quad) => `${places}[${n * quads.length + quad}]`)),
    each: (from, inside) =>
      e.loop(from, String(tile.keys), "1", (n) => {
        const at = (quad: number): string => e.add(e.mul(n, String(quads.length)), String(quad))
        const place = (quad: number): string => `${places}[${at(quad)}]`
        inside({
          logits: (quad) => arrays.map((array) => `${array}[${at(quad)}]`),
          score: place,
          weight: place,
          j: e.add(first, n)
        })
      })
  }
}

/** Makes weights of the logits; gives the factors on what was summed so far, where a softmax's maximum may rise. */
const weights = (frame: Frame, own: OwnKeys, tile: KeyTile): ReadonlyArray<string> | undefined => {
  const { e, problem, maxima } = frame
  if (!problem.normalised) {
    plainWeights(frame, own, tile)
    return undefined
  }
  const tops = score(frame, own, tile)
  if (!problem.onlyMaxima) return weigh(frame, own, tops)
  maxima.forEach((m, quad) => {
    e.line(`${m} = max(${m}, ${tops[quad]});`)
  })
  return undefined
}

/**
 * Adds the tile's weighted values. A value that a row does not see must not reach it, not even as 0 * NaN: values that are not finite count as 0 at
 * first, and where a tile has some, a loop adds them to the rows that see them. A loop of no turn stands for a branch, whose sides
 * a software device would run both.
 */
const accumulate = (
  frame: Frame,
  own: { readonly weights: ReadonlyArray<ReadonlyArray<string>> },
  positions: ReadonlyArray<string>,
  fades: ReadonlyArray<string> | undefined
): void => {
  const { e, tile, problem, v, b, head, lane, rows, values } = frame
  const vectors = tile.chunks
  const order = turns(frame)
  const load = (p: string, n: string): string => vectorAt(frame, v, [b, head, p], n, problem.E)
  const infinite = (x: string): string =>
    e.constant(`(bitcast<vec4<u32>>(${x}) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u)`)
  const raw = own.weights.map((key) => key.map((x) => e.constant(x)))
  const isOut = raw.map((key) =>
    key.map((x) =>
      e.constant(
        problem.normalised ? `${x} == vec4<f32>()` : `bitcast<vec4<u32>>(${x}) == vec4<u32>(${excludedBits})`
      )
    )
  )
  const weights = raw.map((key, n) =>
    key.map((x, quad) =>
      problem.normalised ? x : e.constant(`select(${x}, vec4<f32>(), ${isOut[n]?.[quad]})`)
    )
  )
  const of = (xs: ReadonlyArray<ReadonlyArray<string>>, n: number, a: number): string => {
    const [quad, part] = laneOf(a)
    return `${xs[n]?.[quad]}.${part}`
  }
  const faded = (sum: string, a: number): string => {
    const [quad, part] = laneOf(a)
    return fades === undefined ? sum : `${sum} * ${fades[quad]}.${part}`
  }

  let found = "vec4<bool>()"
  for (let g = 0; g < vectors; g += order.length) {
    const loaded = positions.map((p) => {
      const x = load(p, e.add(lane, String(g)))
      const bad = infinite(x)
      found = e.constant(`${found} | ${bad}`)
      return e.constant(`select(${x}, vec4<f32>(), ${bad})`)
    })
    order.forEach((swap, turn) => {
      const parts = loaded.map((x) => (swap === "" ? x : e.constant(`${swap}(${x})`)))
      rows.forEach((_, a) => {
        const sum = values[a]?.[g + turn] as string
        const terms = parts.map((x, n) => `${of(weights, n, a)} * ${x}`)
        e.line(`${sum} = ${[faded(sum, a), ...terms].join(" + ")};`)
      })
    })
  }
  const any = together(frame, e.constant(`select(0u, 1u, any(${found}))`))
  e.loop(e.constant(`select(${vectors}, 0, ${any} != 0u)`), String(vectors), "1", (n) => {
    const loaded = positions.map((p) => load(p, vectorOf(frame, n)))
    const bad = loaded.map(infinite)
    rows.forEach((_, a) => {
      const terms = loaded.map((x, key) => {
        const seen = `${bad[key]} & vec4<bool>(!${of(isOut, key, a)})`
        return `select(vec4<f32>(), ${of(weights, key, a)} * ${x}, ${seen})`
      })
      e.line(`${frame.owned}[${a * vectors} + ${n}] += ${terms.join(" + ")};`)
    })
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
        if (tile.chunks === needed) give()
        else e.branch(`${chunk} < ${needed}`, give)
      })
    })
  })
}
