import { type Frame, range } from "./frame.ts"
import * as Owned from "./owned.ts"
import * as Regions from "./regions.ts"
import type { OwnKeys } from "./scores.ts"
import { together } from "./share.ts"
import * as Visit from "./visit.ts"

/** What a thread has becomes what its neighbour n XOR lane has. */
const swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"] as const

const swapped = (n: number, x: string): string => (n === 0 ? x : `${swaps[n]}(${x})`)

/**
 * Emits the loop over keys of few rows, which four neighbours share: each multiplies a quarter of every vector of four keys, weighs one of the keys,
 * and sums a quarter of the values. So little is written out that it compiles in a third of the time in which rows of a thread's own do. A thread
 * meets the keys in an order of its own: n XOR lane. `after` is emitted behind each turn of keys.
 */
export const loop = (frame: Frame, after: (turn: string) => void): void => {
  const { e, tile, values, keys, lane } = frame
  const queries = frame.terms.map((_, n) => Owned.loadQueries(frame, n))
  const places = e.array("i32", tile.keys)
  const waiting = e.array("vec4<f32>", tile.keys * Owned.quadsOf(frame))
  const tiles: Visit.Tiles = (from, end, full, masked) => {
    e.block(
      "loop",
      `for (var ${from.name} = ${from.start}; ${from.name} < ${end}; ${from.name} += ${tile.keys})`,
      () => {
        const first = e.known(from.name)
        Visit.count(frame, from, end, full)
        // Keys past the last are loaded as the last one, and take no part.
        for (const n of range(tile.keys)) {
          const key = n === 0 ? lane : `(${lane} ^ ${n})`
          e.line(`${places}[${n}] = min(${e.add(first, key)}, ${keys} - 1);`)
        }
        const logits = frame.terms.map((_, n) => logitsOf(frame, n, queries[n] as string, places, waiting))
        const { own, weight } = ownKey(frame, e.add(first, lane), logits)
        const fades = Owned.weights(frame, own, { end, full, excluded: undefined, masked })
        if (values.length > 0) accumulate(frame, places, weight, fades)
      }
    )
  }
  Visit.keys(frame, tiles, after)
}

/** q·k of four rows each and the thread's key: the quarters that its neighbours have of it, and its own. */
const logitsOf = (
  frame: Frame,
  term: number,
  queries: string,
  places: string,
  waiting: string
): ReadonlyArray<string> => {
  const { e, tile, rows } = frame
  const { k, at, size } = frame.terms[term] as Frame["terms"][number]
  const vectors = Owned.vectorsOf(frame, size)
  const quads = Owned.quadsOf(frame)
  for (const n of range(tile.keys)) {
    const sums = rows.map(() => "")
    for (const g of range(vectors)) {
      const position = e.constant(`${places}[${n}]`)
      const key = Owned.vectorAt(frame, k, [...at, position], Owned.vectorOf(frame, String(g)), size)
      rows.forEach((_, a) => {
        const product = `dot(${queries}[${a * vectors + g}], ${key})`
        sums[a] = e.constant(sums[a] === "" ? product : `${sums[a]} + ${product}`)
      })
    }
    for (const quad of range(quads)) e.line(`${waiting}[${n * quads + quad}] = ${Owned.gather(sums, quad)};`)
  }
  return range(quads).map((quad) => {
    const [one, two, three, four] = range(tile.keys).map((n) => swapped(n, `${waiting}[${n * quads + quad}]`))
    return e.constant(`(${one} + ${two}) + (${three} + ${four})`)
  })
}

/** The thread's key, whose scores and weights are kept where its first logits were. */
const ownKey = (
  { e, problem, tile }: Frame,
  j: string,
  [logit, ...more]: ReadonlyArray<ReadonlyArray<string>>
): { readonly own: OwnKeys; readonly weight: ReadonlyArray<string> } => {
  const weight = (logit as ReadonlyArray<string>).map((x) => e.variable("vec4<f32>", x))
  const place = (quad: number): string => weight[quad] as string
  const key = {
    logits: (quad: number) => [place(quad), ...more.map((term) => term[quad] as string)],
    score: place,
    weight: place,
    j
  }
  const unrolled = Regions.areShort(problem.node, tile.threadRows)
  const own: OwnKeys = {
    unrolled,
    each: (from, inside) => (unrolled ? inside(key) : e.loop(from, "1", "1", () => inside(key)))
  }
  return { own, weight }
}

/**
 * Adds the weighted values of four keys. Values that are not finite count as 0 at first, and where there are some, a loop adds them to the rows
 * that see them: as where a thread owns its rows.
 */
const accumulate = (
  frame: Frame,
  places: string,
  weight: ReadonlyArray<string>,
  fades: ReadonlyArray<string> | undefined
): void => {
  const { e, tile, problem, v, b, head, rows, values } = frame
  const quads = weight.length
  const sets = problem.normalised ? 1 : 2
  const waiting = e.array("vec4<f32>", (sets * tile.keys + 1) * quads)
  const raw = (n: string | number, quad: string | number): string =>
    `${waiting}[${e.add(e.mul(String(n), String(quads)), String(quad))}]`
  const taken = (n: number, quad: number): string => raw(n + (sets - 1) * tile.keys, quad)
  const fade = (quad: number): string => raw(sets * tile.keys, quad)
  weight.forEach((place, quad) => {
    const own = e.constant(place)
    for (const n of range(tile.keys)) {
      const x = e.constant(swapped(n, own))
      e.line(`${raw(n, quad)} = ${x};`)
      if (!problem.normalised)
        e.line(`${taken(n, quad)} = select(${x}, vec4<f32>(), ${Owned.isExcluded(frame, x)});`)
    }
  })
  fades?.forEach((x, quad) => {
    e.line(`${fade(quad)} = ${x};`)
  })
  const load = (n: string | number, g: string): string =>
    Owned.vectorAt(frame, v, [b, head, e.constant(`${places}[${n}]`)], Owned.vectorOf(frame, g), problem.E)

  let found = "false"
  for (const g of range(tile.chunks)) {
    const loaded = range(tile.keys).map((n) => {
      const x = load(n, String(g))
      const bad = e.constant(Owned.isInfinite(x, "vec4<f32>"))
      found = e.constant(`${found} | any(${bad})`)
      return e.constant(`select(${x}, vec4<f32>(), ${bad})`)
    })
    rows.forEach((_, a) => {
      const [quad, row] = [a >> 2, "xyzw"[a & 3]]
      const sum = `${values[a]?.[g]}`
      const before = fades === undefined ? sum : `${sum} * ${fade(quad)}.${row}`
      e.line(`${sum} = ${[before, ...loaded.map((x, n) => `${taken(n, quad)}.${row} * ${x}`)].join(" + ")};`)
    })
  }
  const any = together(frame, e.constant(`select(0u, 1u, ${found})`))
  const ofKey = tile.chunks * rows.length
  const all = ofKey * tile.keys
  e.loop(e.constant(`select(${all}, 0, ${any} != 0u)`), String(all), "1", (turn) => {
    const n = e.bind(`${turn} / ${ofKey}`)
    const inKey = e.bind(`${turn} - ${n} * ${ofKey}`)
    const a = e.bind(`${inKey} / ${tile.chunks}`)
    const x = load(n, e.bind(`${inKey} - ${a} * ${tile.chunks}`))
    const bad = e.constant(Owned.isInfinite(x, "vec4<f32>"))
    const own = e.constant(`${raw(n, `${a} / 4`)}[${a} % 4]`)
    e.line(
      `${frame.owned}[${inKey}] += select(vec4<f32>(), ${own} * ${x}, ${Owned.isSeen(frame, bad, own)});`
    )
  })
}
