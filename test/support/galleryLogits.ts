import type { Problem } from "./plain.ts"

/** What each piece of the gallery says of query i and key j at the lengths of its picture, in numbers. */

const root = Math.sqrt(8)
type Sees = (i: number, j: number) => boolean

const seen =
  (sees: Sees): Problem["logit"] =>
  (x, _b, _h, i, j) =>
    sees(i, j) ? x / root : -Infinity

const causal: Sees = (i, j) => j <= i
const starts = [0, 5, 8]
const document = (i: number): number => starts.findLastIndex((s) => s <= i)
const owner = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4]
const continued = [-1, 0, 0, -1, 3]
const parents = [0, 0, 0, 1, 1, 2, 3, 3, 5, 8]
const chosen = [0, 1, 1, 4, 0, 2, 2, 3, 1, 4, 4, 3, 2, 1, 3, 0, 0, 3, 1, 2]
const images = [
  [1, 5],
  [1, 5],
  [5, 8],
  [8, 12]
] as const

/** Row and column in a picture that is `width` wide, from the place in memory. */
type Layout = (n: number) => readonly [row: number, column: number]

const rowByRow: Layout = (n) => [Math.floor(n / 6), n % 6]
/** 4 × 6 in tiles of 2 × 3, written out. */
const tiles = [0, 3, 12, 15]
const tileByTile: Layout = (n) => {
  const place = (tiles[Math.floor(n / 6)] as number) + 6 * Math.floor((n % 6) / 3) + (n % 3)
  return rowByRow(place)
}
/** 4 × 4 along the curve, written out. */
const curve = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
const zigzag: Layout = (n) => [Math.floor((curve[n] as number) / 4), (curve[n] as number) % 4]

const inside = (x: number, reach: number, size: number): number =>
  Math.min(Math.max(x, reach), size - 1 - reach)

const near =
  (at: Layout, [rows, columns]: readonly [number, number]): Sees =>
  (i, j) => {
    const [[r, c], [y, x]] = [at(i), at(j)]
    return Math.abs(inside(r, 1, rows) - y) <= 1 && Math.abs(inside(c, 1, columns) - x) <= 1
  }

const withText =
  (canvas: number, text: number, picture: Sees): Sees =>
  (i, j) =>
    i < canvas && j < canvas ? picture(i, j) : j < canvas + text

const prompt: Sees = (i, j) => Math.max(i, j) >= 20

const sees: Readonly<Record<string, Sees>> = {
  causal,
  slidingWindow: (i, j) => j <= i && i - j <= 4,
  dilatedWindow: (i, j) => Math.abs(i - j) <= 6 && (i - j) % 2 === 0,
  globalTokens: (i, j) => Math.abs(i - j) <= 2 || [0, 9].includes(i) || [0, 9].includes(j),
  prefixLanguageModel: (i, j) => j < 6 || j <= i,
  documents: (i, j) => document(i) === document(j) && j <= i,
  packedDocuments: (i, j) => document(i) === document(j) && j <= i,
  sharedPrefix: (i, j) => (owner[i] === owner[j] && j <= i) || owner[j] === continued[owner[i] as number],
  blockDiffusion: (i, j) => {
    const [own, other] = [Math.floor((i % 8) / 2), Math.floor((j % 8) / 2)]
    if (i < 8) return j < 8 ? own === other : other < own
    return j >= 8 && other <= own
  },
  draftTree: (i, j) => {
    const ancestors = [i]
    while (ancestors[0] !== 0) ancestors.unshift(parents[ancestors[0] as number] as number)
    return j < 6 || ancestors.includes(j - 6)
  },
  draftTraining: (i, j) => j < 5 || (j <= i && Math.floor((i - 5) / 4) === Math.floor((j - 5) / 4)),
  neighborhood: near(rowByRow, [4, 6]),
  neighborhoodTiled: near(tileByTile, [4, 6]),
  neighborhoodMorton: near(zigzag, [4, 4]),
  slidingTile: withText(32, 3, (i, j) => {
    const [r, c, y, x] = [i >> 3, (i >> 2) % 2, j >> 3, (j >> 2) % 2]
    return Math.abs(inside(r, 1, 4) - y) <= 1 && c === x
  }),
  // Three frames within reach of the middle one: all of them, at one place.
  slidingTileVideo: withText(48, 2, (i, j) => (i >> 2) % 4 === (j >> 2) % 4),
  videoSpatial: (i, j) => prompt(i, j) || Math.abs(i - j) < 6 || j < 4,
  videoTemporal: (i, j) => prompt(i, j) || i % 4 === j % 4,
  batched: (i, j) => Math.floor(i / 5) === Math.floor(j / 5) && j <= i,
  visionCross: (i, j) => {
    const [from, to] = images[Math.floor(j / 4)] as (typeof images)[number]
    return from <= i && i < to
  }
}

const around = (i: number, j: number): number => Math.min(Math.abs(i - j), 12 - Math.abs(i - j))

/** The sum over an edge of each of three tables along a ring of 12. */
const edges = (i: number, j: number): number => {
  let sum = 0
  for (let step = 0; step < Math.min((j - i + 12) % 12, 3); step++) {
    const edge = (i + step) % 12
    sum += Math.fround(-1 - edge / 8)
  }
  return sum
}

const scores: Readonly<Record<string, Problem["logit"]>> = {
  alibi: (x, _b, h, i, j) => (j <= i ? x / root - (i - j) * 2 ** -(h + 1) : -Infinity),
  softcap: (x) => 2 * Math.tanh(x / root / 2),
  sandwich: (x, _b, h, i, j) => {
    let sum = 0
    for (let n = 0; n < 16; n++) sum += Math.cos((i - j) / 10000 ** (n / 16))
    return j <= i ? x / root + sum / (h + 1) : -Infinity
  },
  graphDistance: (x, _b, _h, i, j) => x / root - 0.5 * around(i, j),
  graphEdges: (x, _b, _h, i, j) => x / root + edges(i, j) / 3,
  chosenTiles: (x, _b, h, i, j) => {
    const first = h * 10 + Math.floor(i / 4) * 2
    return chosen.slice(first, first + 2).includes(Math.floor(j / 4)) ? x / root : -Infinity
  },
  ropeTerm: (x, _b, _h, i, j) => (j <= i ? (x + 9 * Math.cos(0.4 * (i - j))) / root : -Infinity)
}

export const logits: Readonly<Record<string, Problem["logit"]>> = {
  ...Object.fromEntries(Object.entries(sees).map(([name, rule]) => [name, seen(rule)])),
  ...scores
}
