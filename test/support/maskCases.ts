import * as HostArray from "../../ir/HostArray.ts"
import type { Attention } from "./flashText.ts"

/** Masks as people write them, over %b, %h, %i, %j and captures, with data for captures and what the analysis makes of them. */
export interface MaskCase {
  readonly name: string
  readonly mask: ReadonlyArray<string>
  readonly captures?: Attention["captures"]
  /** Captured tensors for B, T and S, in order. */
  readonly data?: (B: number, T: number, S: number) => ReadonlyArray<HostArray.HostArray>
  /** "range": arithmetic on lengths; "row": that of each row, with data at the row; "measured": by a kernel before. */
  readonly by: "range" | "row" | "measured"
  /** What people are told, where another test does not say. */
  readonly words?: string
  /** Visible keys of a block may have holes, which an interval spans. */
  readonly holes?: true
  /** Keys by which an end of the interval may be too far out: a step of two is not followed to where the keys begin and end. */
  readonly slack?: number
}

const int = (name: string, value: number): string => `%${name}: i32[] = constant {values = [${value}]}`

export const ints = (shape: ReadonlyArray<number>, of: (i: number) => number): HostArray.HostArray =>
  HostArray.fromNumbers(
    "i32",
    shape,
    Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, i) => of(i))
  )

const bools = (shape: ReadonlyArray<number>, of: (i: number) => boolean): HostArray.HostArray =>
  HostArray.fromNumbers(
    "bool",
    shape,
    Float64Array.from({ length: HostArray.sizeOf(shape) }, (_, i) => Number(of(i)))
  )

const causal = "%c: bool[] = le %j, %i"
const window = (name: string, width: number): ReadonlyArray<string> => [
  int(`${name}w`, width),
  `%${name}d: i32[] = sub %i, %j`,
  `%${name}a: i32[] = abs %${name}d`,
  `%${name}: bool[] = le %${name}a, %${name}w`
]
const back = (name: string, width: number): ReadonlyArray<string> => [
  int(`${name}w`, width),
  `%${name}d: i32[] = sub %i, %j`,
  `%${name}: bool[] = lt %${name}d, %${name}w`
]
const prefix = (name: string, count: number): ReadonlyArray<string> => [
  int(`${name}n`, count),
  `%${name}: bool[] = lt %j, %${name}n`
]
const chunk = (name: string, size: number): ReadonlyArray<string> => [
  int(`${name}n`, size),
  `%${name}x: i32[] = floor_div %i, %${name}n`,
  `%${name}y: i32[] = floor_div %j, %${name}n`,
  `%${name}: bool[] = eq %${name}x, %${name}y`
]
const padding = ["%len: i32[] = load %lengths, %b", "%p: bool[] = lt %j, %len"]
const lengths = { lengths: "i32[B]" }
const and = (x: string, y: string, as = "m"): string => `%${as}: bool[] = and %${x}, %${y}`
const or = (x: string, y: string, as = "m"): string => `%${as}: bool[] = or %${x}, %${y}`
const someLengths: MaskCase["data"] = (B, _, S) => [ints([B], (b) => Math.max(0, S - 5 * b - 2))]

const same = ["%x: i32[] = load %doc, %b, %i", "%y: i32[] = load %doc, %b, %j", "%e: bool[] = eq %x, %y"]
/** Documents of uneven length: where those start that 24 positions hold, and what more positions hold in proportion. */
const starts = [0, 2, 3, 8, 13, 14, 21]
const startOf = (i: number, length: number): number =>
  starts.map((s) => Math.round(s * Math.max(1, length / 24))).findLast((s) => s <= i) as number
const docs: MaskCase["data"] = (B, _, S) => [ints([B, S], (at) => startOf((at % S) + Math.floor(at / S), S))]

export const maskCases: ReadonlyArray<MaskCase> = [
  { name: "causal", by: "range", mask: [causal] },
  {
    name: "causal from an offset",
    by: "range",
    mask: [int("o", 3), "%q3: i32[] = add %i, %o", "%m: bool[] = le %j, %q3"]
  },
  {
    name: "causal behind a cache, bottom right",
    by: "range",
    mask: ["%o: i32[] = dim {value = S - T}", "%p3: i32[] = add %i, %o", "%m: bool[] = le %j, %p3"]
  },
  {
    name: "causal from captured offsets",
    by: "range",
    captures: lengths,
    data: (B, T, S) => [ints([B], (b) => S - T - b)],
    mask: ["%o: i32[] = load %lengths, %b", "%p3: i32[] = add %i, %o", "%m: bool[] = le %j, %p3"]
  },
  { name: "window", by: "range", mask: window("m", 3) },
  { name: "causal and window", by: "range", mask: [causal, ...back("w", 5), and("c", "w")] },
  {
    name: "dilated window",
    by: "range",
    holes: true,
    slack: 1,
    mask: [
      ...window("w", 4),
      int("two", 2),
      int("z", 0),
      "%r: i32[] = mod %wd, %two",
      "%s: bool[] = eq %r, %z",
      and("w", "s")
    ]
  },
  { name: "prefix", by: "range", mask: prefix("m", 6) },
  { name: "prefix or causal", by: "range", mask: [causal, ...prefix("p", 6), or("p", "c")] },
  { name: "chunks", by: "range", mask: chunk("m", 5) },
  { name: "chunks, causal", by: "range", mask: [causal, ...chunk("k", 5), and("c", "k")] },
  { name: "padding", by: "range", captures: lengths, data: someLengths, mask: padding },
  {
    name: "causal and padding",
    by: "range",
    captures: lengths,
    data: someLengths,
    mask: [...padding, causal, and("c", "p")]
  },
  {
    name: "chunks, causal and padding",
    by: "range",
    captures: lengths,
    data: someLengths,
    mask: [...padding, causal, ...chunk("k", 5), and("c", "p", "cp"), and("cp", "k")]
  },
  {
    name: "window or global keys",
    by: "range",
    holes: true,
    mask: [...window("w", 2), ...prefix("g", 2), or("w", "g")]
  },
  {
    name: "window, or global keys and queries",
    by: "range",
    holes: true,
    mask: [
      ...window("w", 2),
      ...prefix("g", 2),
      "%gi: bool[] = lt %i, %gn",
      or("w", "g", "wg"),
      or("wg", "gi")
    ]
  },
  {
    name: "the opposite of causal",
    by: "range",
    mask: [causal, "%m: bool[] = not %c"]
  },
  {
    name: "packed causal documents by their start",
    by: "row",
    words: "causal and keys from a start of each query",
    captures: { start: "i32[T]" },
    data: (_, T) => [ints([T], (i) => startOf(i, T))],
    mask: ["%s: i32[] = load %start, %i", "%x: bool[] = ge %j, %s", causal, and("c", "x")]
  },
  {
    name: "documents",
    by: "measured",
    captures: { doc: "i32[B, S]" },
    data: docs,
    mask: same
  },
  {
    name: "documents, causal",
    by: "measured",
    captures: { doc: "i32[B, S]" },
    data: docs,
    mask: [...same, causal, and("c", "e")]
  },
  {
    name: "documents by cumulative lengths",
    by: "measured",
    words: "same document",
    captures: { doc: "i32[S]" },
    data: (_, __, S) => [ints([S], (i) => startOf(i, S))],
    mask: ["%x: i32[] = load %doc, %i", "%y: i32[] = load %doc, %j", "%m: bool[] = eq %x, %y"]
  },
  {
    name: "shared prefix",
    by: "measured",
    holes: true,
    captures: { doc: "i32[B, S]" },
    data: docs,
    mask: [...same, causal, ...prefix("p", 2), and("c", "e", "ce"), or("p", "ce")]
  },
  {
    name: "tree behind a prefix",
    by: "measured",
    words: "prefix of a length or tensor mask",
    holes: true,
    captures: { ancestor: "bool[T, T]" },
    // Node t has the parent floor((t - 1) / 2).
    data: (_, T) => [
      bools([T, T], (at) => {
        let i = Math.floor(at / T)
        while (i > at % T) i = Math.floor((i - 1) / 2)
        return i === at % T
      })
    ],
    mask: [
      "%o: i32[] = dim {value = S - T}",
      "%p: bool[] = lt %j, %o",
      "%k: i32[] = sub %j, %o",
      "%a: bool[] = load %ancestor, %i, %k",
      or("p", "a")
    ]
  },
  {
    name: "window or flags of global tokens",
    by: "measured",
    words: "window of 2 on both sides or (flags of queries or flags of keys)",
    holes: true,
    captures: { global: "bool[S]" },
    data: (_, __, S) => [bools([S], (j) => j === 4)],
    mask: [
      ...window("w", 2),
      "%x: bool[] = load %global, %i",
      "%y: bool[] = load %global, %j",
      or("x", "y", "g"),
      or("w", "g")
    ]
  },
  {
    name: "padding by flags",
    by: "measured",
    captures: { keep: "bool[B, S]" },
    data: (B, _, S) => [bools([B, S], (at) => at % S >= 3 * Math.floor(at / S) + 2)],
    mask: ["%m: bool[] = load %keep, %b, %j"]
  },
  {
    name: "causal and padding by flags",
    by: "measured",
    words: "causal and flags of keys",
    captures: { keep: "bool[B, S]" },
    data: (B, _, S) => [bools([B, S], (at) => at % S >= 3 * Math.floor(at / S) + 2)],
    mask: ["%k: bool[] = load %keep, %b, %j", causal, and("c", "k")]
  },
  {
    name: "a tensor of booleans",
    by: "measured",
    captures: { keep: "bool[T, S]" },
    data: (_, T, S) => [bools([T, S], (at) => Math.abs(Math.floor(at / S) - (at % S)) < 3 && at % S !== 6)],
    holes: true,
    mask: ["%m: bool[] = load %keep, %i, %j"]
  },
  {
    name: "an additive tensor with -inf",
    by: "measured",
    captures: { bias: "f32[T, S]" },
    data: (_, T, S) => [
      HostArray.fromNumbers(
        "f32",
        [T, S],
        Float64Array.from({ length: T * S }, (_, at) => (at % S > Math.floor(at / S) ? -Infinity : 0.5))
      )
    ],
    mask: ["%t: f32[] = load %bias, %i, %j", "%f: bool[] = is_inf %t", "%m: bool[] = not %f"]
  }
]
