import { expect, test } from "vitest"
import type * as Graph from "../../../../ir/Graph.ts"
import { classifyMask } from "../../../../passes/mask/classify.ts"
import { analysed, attention, type Capture, constant, eachBlock, i32, load, sound } from "./blocks.ts"

interface Listed {
  readonly name: string
  readonly lines: string
  readonly captures?: ReadonlyArray<Capture>
  /** What people are told. */
  readonly words: string
}

const lengths = i32("i32[B]", [2], [3, 0])
const offset = i32("i32[]", [], [4])

/** Masks whose blocks the analysis finds exactly: no key block too many, none missing. */
const listed: ReadonlyArray<Listed> = [
  { name: "causal", lines: "%m: bool[] = ge %i, %j", words: "causal" },
  { name: "causal, the other way round", lines: "%m: bool[] = le %j, %i", words: "causal" },
  { name: "strictly causal", lines: "%m: bool[] = lt %j, %i", words: "at least 1 back" },
  {
    name: "causal as the opposite of the future",
    lines: "%f: bool[] = gt %j, %i\n%m: bool[] = not %f",
    words: "causal"
  },
  {
    name: "causal aligned to the last key",
    lines: "%o: i32[] = dim {value = S - T}\n%p: i32[] = add %i, %o\n%m: bool[] = ge %p, %j",
    words: "causal from an offset"
  },
  {
    name: "causal from a captured offset",
    lines: "%o: i32[] = load %c0\n%p: i32[] = add %i, %o\n%m: bool[] = le %j, %p",
    captures: [offset],
    words: "causal from offsets"
  },
  {
    name: "causal sliding window",
    lines: `${constant("w", 3)}
      %d: i32[] = sub %i, %j
      %e: bool[] = lt %d, %w
      %c: bool[] = ge %i, %j
      %m: bool[] = and %c, %e`,
    words: "causal and window of 3 keys"
  },
  {
    name: "window on both sides",
    lines: `${constant("w", 2)}\n%d: i32[] = sub %i, %j\n%a: i32[] = abs %d\n%m: bool[] = le %a, %w`,
    words: "window of 2 on both sides"
  },
  {
    name: "prefix or causal",
    lines: `${constant("n", 3)}\n%p: bool[] = lt %j, %n\n%c: bool[] = le %j, %i\n%m: bool[] = or %p, %c`,
    words: "prefix of 3 or causal"
  },
  {
    name: "chunks",
    lines: `${constant("n", 3)}
      %x: i32[] = floor_div %i, %n
      %y: i32[] = floor_div %j, %n
      %m: bool[] = eq %x, %y`,
    words: "chunks of 3"
  },
  {
    name: "causal by blocks",
    lines: `${constant("n", 2)}
      %x: i32[] = floor_div %i, %n
      %y: i32[] = floor_div %j, %n
      %m: bool[] = ge %x, %y`,
    words: "blocks of 2"
  },
  {
    name: "chunk from its first position, written with a remainder",
    lines: `${constant("n", 3)}
      %r: i32[] = mod %i, %n
      %s: i32[] = sub %i, %r
      %x: bool[] = ge %j, %s
      %y: bool[] = le %j, %i
      %m: bool[] = and %x, %y`,
    words: "blocks of 3 and causal"
  },
  {
    name: "padding by lengths",
    lines: `${load}\n%m: bool[] = lt %j, %n`,
    captures: [lengths],
    words: "padding by lengths"
  },
  {
    name: "causal with padding by lengths",
    lines: `${load}\n%p: bool[] = lt %j, %n\n%c: bool[] = le %j, %i\n%m: bool[] = and %c, %p`,
    captures: [lengths],
    words: "causal and padding by lengths"
  },
  {
    name: "padded queries too",
    lines: `${load}\n%p: bool[] = lt %j, %n\n%c: bool[] = lt %i, %n\n%m: bool[] = and %c, %p`,
    captures: [lengths],
    words: "a condition on queries and padding by lengths"
  },
  {
    name: "left padding, lengths from the end",
    lines: `${load}\n%s: i32[] = dim {value = S}\n%l: i32[] = sub %s, %n\n%m: bool[] = ge %j, %l`,
    captures: [lengths],
    words: "keys from offsets on"
  },
  {
    name: "a cache that holds lengths and takes new tokens",
    lines: `${load}\n%p: i32[] = add %i, %n\n%m: bool[] = le %j, %p`,
    captures: [lengths],
    words: "causal from offsets"
  },
  {
    name: "one head causal, the other a window",
    lines: `${constant("one", 1)}\n${constant("w", 2)}
      %f: bool[] = lt %h, %one
      %c: bool[] = le %j, %i
      %d: i32[] = sub %i, %j
      %a: i32[] = abs %d
      %e: bool[] = lt %a, %w
      %m: bool[] = select %f, %c, %e`,
    words: "causal where a condition per head, window of 1 on both sides elsewhere"
  },
  {
    name: "first keys for everybody, then a window",
    lines: `${constant("g", 1)}\n${constant("w", 2)}
      %s: bool[] = lt %j, %g
      %d: i32[] = sub %i, %j
      %e: bool[] = lt %d, %w
      %c: bool[] = le %j, %i
      %x: bool[] = and %c, %e
      %m: bool[] = or %s, %x`,
    words: "prefix of 1 or (causal and window of 2 keys)"
  },
  {
    name: "keys twice as dense as queries",
    lines: `${constant("two", 2)}\n%y: i32[] = mul %j, %two\n%m: bool[] = le %y, %i`,
    words: "a condition on positions"
  },
  {
    name: "causal where queries hold the heads of a group",
    lines: "%n: i32[] = dim {value = N}\n%p: i32[] = mod %i, %n\n%m: bool[] = ge %p, %j",
    captures: [i32("i32[N]", [3], [0, 0, 0])],
    words: "causal"
  },
  {
    name: "a window where queries hold the heads of a group",
    lines: `%n: i32[] = dim {value = N}
      ${constant("two", 2)}
      %p: i32[] = mod %i, %n
      %c: bool[] = ge %p, %j
      %d: i32[] = sub %p, %j
      %w: bool[] = lt %d, %two
      %m: bool[] = and %c, %w`,
    captures: [i32("i32[N]", [3], [0, 0, 0])],
    words: "causal and window of 2 keys"
  },
  {
    name: "everything and nothing",
    lines: `%t: bool[] = constant {values = [1]}\n%f: bool[] = constant {values = [0]}
      %c: bool[] = le %j, %i
      %x: bool[] = and %c, %t
      %m: bool[] = or %x, %f`,
    words: "causal"
  },
  {
    name: "nobody sees anything",
    lines: `${constant("z", 0)}\n%m: bool[] = lt %j, %z`,
    words: "prefix of 0"
  }
]

const heads = [
  [0, 0],
  [1, 1]
] as const

const longestRun = (keys: ReadonlyArray<number>): number => {
  let [best, run] = [0, 0]
  keys.forEach((key, at) => {
    run = at > 0 && keys[at - 1] === key - 1 ? run + 1 : 1
    best = Math.max(best, run)
  })
  return best
}

test.each(listed)("$name: key blocks are the brute-force optimum", ({ lines, captures = [], words }) => {
  const node = analysed(attention(lines, captures))
  expect(classifyMask(node.attrs.mask as Graph.Graph)).toBe(words)
  for (const sizes of [
    { B: 2, T: 7, S: 7, N: 3 },
    { B: 2, T: 5, S: 9, N: 3 },
    { B: 2, T: 6, S: 2, N: 3 },
    { B: 2, T: 1, S: 1, N: 3 }
  ]) {
    eachBlock(node, captures, sizes, heads, (found, some, every, at) => {
      expect(sound(found, some, every, sizes.S), at).toBe(true)
      const [lo, hi, fullLo, fullHi] = found as [number, number, number, number]
      expect(hi - lo, at).toBe(some.length === 0 ? 0 : some.at(-1)! - some[0]! + 1)
      expect(fullHi - fullLo, at).toBe(longestRun(every))
    })
  }
})
