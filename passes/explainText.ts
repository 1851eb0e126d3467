import { type Location, printLocation } from "../ir/errors.ts"
import type { Decision, Explanation, Step } from "./explain.ts"
import type { Fusion, Mask } from "./Fusion.ts"

/** How a piece of text is shown. */
export type Style = "good" | "bad" | "note" | "faint" | "strong" | "type"

export interface Options {
  /** Colours a piece of text. Default: leaves it alone. */
  readonly paint?: (style: Style, text: string) => string
  /** Columns that a line may have; longer ones are broken between words. Default: any number. */
  readonly width?: number | undefined
  /** How a file is called. Default: as the location says. */
  readonly file?: (file: string) => string
  /** The text of a line of a person's file, where it can be read. */
  readonly line?: (at: Location) => string | undefined
}

type Paint = NonNullable<Options["paint"]>

const plain: Paint = (_, text) => text

/** Lines of at most so many columns, broken between words. */
export const wrapped = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}

const indent = 2
const nameWidth = 8

/** `  name     text`, the text in a column of its own. */
const fact = (
  name: string,
  texts: ReadonlyArray<string>,
  paint: Paint,
  width: number
): ReadonlyArray<string> => {
  const start = indent + nameWidth + 1
  const lines = texts.flatMap((text) => wrapped(text, Math.max(24, width - start)))
  return lines.map((line, i) =>
    i === 0
      ? `${" ".repeat(indent)}${paint("strong", name.padEnd(nameWidth))} ${line}`
      : `${" ".repeat(start)}${line}`
  )
}

/** The line of the source with a caret, as compilers show it. */
const excerpt = (at: Location, line: string | undefined, width: number): ReadonlyArray<string> => {
  if (line === undefined) return []
  const number = String(at.line)
  const gutter = " ".repeat(number.length)
  const room = width - number.length - 6
  const blank = line.slice(0, at.column - 1).replace(/[^\t]/g, " ")
  // A caret beyond the edge of the terminal would stand under another line.
  if (at.column > room || at.column > line.length + 1) return []
  const shown = line.length > room ? `${line.slice(0, room - 1)}…` : line
  return [`  ${number} │ ${shown}`, `  ${gutter} │ ${blank}^`]
}

const percent = (fraction: number): string =>
  `${fraction >= 0.1 ? Math.round(fraction * 100) : Number((fraction * 100).toPrecision(2))} %`

const sizesOf = ({ T, S }: { readonly [symbol: string]: number }): string =>
  T === S ? `${T} queries and keys` : `${T} queries, ${S} keys`

const maskFacts = (mask: Mask): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => {
  const { kind, formula, fill, keys, exact, visible, example } = mask
  const others = fill === "-inf" ? "other pairs take no part" : `other pairs score ${fill}`
  const share = [
    ...(visible === undefined ? [] : [visible]),
    ...(example === undefined ? [] : [`${percent(example.fraction)} of ${sizesOf(example.sizes)}`])
  ]
  const range =
    keys === undefined
      ? "any, as far as can be told"
      : `row i visits ${keys.from} ≤ j < ${keys.to}${exact ? ", and sees all of them" : "; the mask is asked for each"}`
  return [
    ["mask", [`${kind}${formula === undefined ? "" : `:  ${formula}`}`, others]],
    ["keys", [range]],
    ...(share.length === 0 ? [] : [["visible", [share.join("; ")]] as const])
  ]
}

const fusionFacts = (fusion: Fusion): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => {
  const { logits, v, normaliser, group, score, mask, sink, probability } = fusion
  const operands = logits.map(({ q, k }, n) => `q${n === 0 ? "" : n} ${q},  k${n === 0 ? "" : n} ${k}`)
  return [
    ["into", [`flash_attention of ${operands.join(",  ")},  v ${v}`]],
    ...(group === "1" ? [] : [["heads", [`${group} query heads read each key head`]] as const]),
    ...(normaliser === "none" ? [["weights", ["the scores themselves, no softmax"]] as const] : []),
    ["scores", [score ?? "a long formula"]],
    ...(mask === undefined ? [["mask", ["none: every query sees every key"]] as const] : maskFacts(mask)),
    ...(sink === undefined ? [] : [["sink", [sink]] as const]),
    ...(probability === undefined ? [] : [["factor", [probability]] as const])
  ]
}

/** Steps of one decision that are written out. */
const mostSteps = 12

const stepTexts = (steps: ReadonlyArray<Step>): ReadonlyArray<string> => {
  const shown = steps.slice(0, mostSteps)
  const names = shown.map(({ rule, times }) => (times === 1 ? rule : `${rule} ×${times}`))
  const width = Math.max(0, ...names.map((n) => n.length))
  const lines = shown.map(({ before, after }, i) => {
    const name = (names[i] as string).padEnd(width)
    return before === undefined || after === undefined ? name.trimEnd() : `${name}  ${before}  →  ${after}`
  })
  return steps.length > mostSteps ? [...lines, `and ${steps.length - mostSteps} more`] : lines
}

/** One decision about attention: what, where in the source, and what it rests on. `times` where several read alike. */
export const decisionText = (d: Decision, times: number, options: Options = {}): string => {
  const { paint = plain, width = Infinity, file = (name) => name, line } = options
  const mark = d.outcome === "fused" ? paint("good", "✓ fused") : paint("bad", "✗ not fused")
  const label = d.label === undefined ? "" : ` ${JSON.stringify(d.label)}`
  const count = times === 1 ? "" : paint("note", `  ×${times}`)
  const facts: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ...(d.fusion === undefined ? [] : fusionFacts(d.fusion)),
    ...(d.nearest === undefined ? [] : [["nearest", [d.nearest]] as const]),
    ...(d.failed === undefined ? [] : [["because", [d.failed]] as const]),
    ...(d.suggestion === undefined ? [] : [["try", [d.suggestion]] as const])
  ]
  const steps = stepTexts(d.steps)
  const room = width - indent - nameWidth - 1
  const unbroken = steps.flatMap((text, i) =>
    fact(i === 0 ? "steps" : "", [text], paint, Infinity).map((l) =>
      text.length > room ? folded(l, width) : l
    )
  )
  return [
    `${mark}  ${d.subject}${label}${count}`,
    ...(d.at === undefined
      ? []
      : [
          paint("faint", `  at ${printLocation({ ...d.at, file: file(d.at.file) })}`),
          ...excerpt(d.at, line?.(d.at), width)
        ]),
    ...facts.flatMap(([name, texts]) => fact(name, texts, paint, width)),
    ...unbroken
  ].join("\n")
}

/** A step that does not fit breaks before its arrow. */
const folded = (line: string, width: number): string => {
  const at = line.lastIndexOf("  →  ")
  return at < 0 || width < 40
    ? line
    : `${line.slice(0, at)}\n${" ".repeat(indent + nameWidth + 3)}${line.slice(at + 2)}`
}

/** Decisions that read alike, such as those of the layers of one model, each with how many there are. */
export const alike = <A>(items: ReadonlyArray<A>): ReadonlyArray<readonly [A, number]> => {
  const found = new Map<string, readonly [A, number]>()
  for (const item of items) {
    const key = JSON.stringify(item)
    const [first, times] = found.get(key) ?? [item, 0]
    found.set(key, [first, times + 1])
  }
  return [...found.values()]
}

/** What was fused, what was not and why: a line that counts, then each decision. */
export const explainText = (explanation: Explanation, options: Options = {}): string => {
  const { fused, refused, decisions } = explanation
  const texts = alike(decisions).map(([d, times]) => decisionText(d, times, options))
  return [`attention: ${fused} fused, ${refused} refused`, ...texts].join("\n\n")
}
