import type { Location } from "../ir/errors.ts"
import type * as Diagnostic from "./Diagnostic.ts"
import type { Fusion } from "./Fusion.ts"
import { type Law, lawOf } from "./laws.ts"
import type { Snapshot } from "./Snapshot.ts"
import type { Tally } from "./Statistics.ts"

/**
 * What the compiler decided about attention, as data: plain objects and texts, the same that `effuse explain --json` prints. Fields are
 * only ever added; `version` counts the times that one changed its meaning.
 */
export interface Explanation {
  readonly version: 1
  /** How many attentions were fused, and how many were not. */
  readonly fused: number
  readonly refused: number
  /** One for each attention, in the order of the program. */
  readonly decisions: ReadonlyArray<Decision>
  /** What passes remark: kernels cut, masks analysed, tiles chosen, memory planned. */
  readonly notes: ReadonlyArray<Note>
  /** What each pass did. */
  readonly passes: ReadonlyArray<PassReport>
}

/** Whether and how one attention was fused. */
export interface Decision {
  readonly outcome: "fused" | "refused"
  /** The pass that decided. */
  readonly pass: string
  /** What it is about: `softmax of f32[B, 8, T, S]`. */
  readonly subject: string
  /** The name a person gave it with `Tensor.label`. */
  readonly label?: string
  /** The line that wrote it. */
  readonly at?: Location
  /** What took its place, in a sentence. */
  readonly into?: string
  /** The same in parts: operands, score, mask and how much of it is visible. */
  readonly fusion?: Fusion
  /** Of a refusal: the pattern that matched furthest, the first condition that failed, and what to try. */
  readonly nearest?: string
  readonly failed?: string
  readonly suggestion?: string
  /** The rules that led here, in the order in which they were first applied. */
  readonly steps: ReadonlyArray<Step>
}

export interface Step extends Partial<Law> {
  readonly pass: string
  readonly rule: string
  readonly times: number
}

export interface Note {
  readonly pass: string
  readonly subject: string
  readonly label?: string
  readonly at?: Location
  readonly text: string
}

export interface PassReport {
  readonly pass: string
  /** Whether it changed the graph, and how many nodes that has since. */
  readonly changed: boolean
  readonly nodes: number
  readonly milliseconds: number
  /** How often each rule applied. */
  readonly rules: { readonly [rule: string]: number }
  /** What became of each rule; there where statistics were asked for. */
  readonly statistics?: { readonly [rule: string]: Tally }
}

/** What is needed to explain a compilation. */
export interface Explained {
  readonly diagnostics: ReadonlyArray<Diagnostic.Diagnostic>
  readonly snapshots?: ReadonlyArray<Snapshot>
}

/** The fields that have a value. */
const given = <A extends object>(fields: A): { readonly [K in keyof A]?: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const isKnown = (at: Location | undefined): at is Location => at !== undefined && at.file !== "unknown"

/** Who and where. A location may be one that is read off a stack trace: here it becomes data. */
const whereabouts = ({ label, at }: Diagnostic.Diagnostic) =>
  given({ label, at: isKnown(at) ? { file: at.file, line: at.line, column: at.column } : undefined })

const counted = (
  steps: ReadonlyArray<{ readonly pass: string; readonly rule: string }>
): Decision["steps"] => {
  const times = new Map<string, { pass: string; rule: string; times: number }>()
  for (const { pass, rule } of steps) {
    const known = times.get(rule)
    if (known === undefined) times.set(rule, { pass, rule, times: 1 })
    else known.times++
  }
  return [...times.values()].map((step) => ({ ...step, ...lawOf(step.rule) }))
}

const decision = (d: Diagnostic.Diagnostic, outcome: Decision["outcome"]): Decision => ({
  outcome,
  pass: d.pass,
  subject: d.subject,
  ...whereabouts(d),
  ...given({
    into: d.into,
    fusion: d.fusion,
    nearest: d.nearest,
    failed: d.failed,
    suggestion: d.suggestion
  }),
  steps: counted([...(d.steps ?? []), ...(d.rules ?? []).map((rule) => ({ pass: d.pass, rule }))])
})

const note = (d: Diagnostic.Diagnostic): Note => ({
  pass: d.pass,
  subject: d.subject,
  ...whereabouts(d),
  text: [d.nearest, d.failed, d.suggestion].filter((text) => text !== undefined).join("; ")
})

const passReport = ({ pass, changed, graph, milliseconds, rules, tallies }: Snapshot): PassReport => ({
  pass,
  changed,
  nodes: graph.nodes.length,
  milliseconds,
  rules: Object.fromEntries([...rules].filter(([, times]) => times > 0)),
  ...(tallies.size === 0 ? {} : { statistics: Object.fromEntries(tallies) })
})

/** What was fused, what was not and why, as data. */
export const explain = ({ diagnostics, snapshots = [] }: Explained): Explanation => {
  const decisions = diagnostics.flatMap((d) => (d.outcome === "note" ? [] : [decision(d, d.outcome)]))
  const fused = decisions.filter((d) => d.outcome === "fused").length
  return {
    version: 1,
    fused,
    refused: decisions.length - fused,
    decisions,
    notes: diagnostics.filter((d) => d.outcome === "note").map(note),
    passes: snapshots.map(passReport)
  }
}
