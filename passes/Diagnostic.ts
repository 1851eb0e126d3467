import { type Location, printLocation } from "../ir/errors.ts"
import type { Node } from "../ir/Node.ts"
import * as TensorType from "../ir/TensorType.ts"
import type { Fusion } from "./Fusion.ts"
import type { Step } from "./Trail.ts"

/**
 * One decision of a pass, for people: what was fused, what was refused and why. Data only: `explain` prints it, tools
 * read it.
 */
export interface Diagnostic {
  /** The pass that decided. */
  readonly pass: string
  readonly outcome: "fused" | "refused" | "note"
  /** What was decided about, in words: `softmax of f32[B, 8, T, S]`. */
  readonly subject: string
  /** The line that wrote it, where known. */
  readonly at?: Location | undefined
  /** The name a person gave it, where they did. */
  readonly label?: string | undefined
  /** What took its place, where something did. */
  readonly into?: string | undefined
  /** What it nearly was: the pattern that matched furthest. Of a note, what there is. */
  readonly nearest?: string | undefined
  /** The condition that failed, as a fact: `the scores have a second user, %12 = reduce_sum`. */
  readonly failed?: string | undefined
  /** What to try. */
  readonly suggestion?: string | undefined
  /** Names of the rules by which it was fused. */
  readonly rules?: ReadonlyArray<string> | undefined
  /** Attention that took its place, in words and formulas. Worked out when somebody reads it. */
  readonly fusion?: Fusion | undefined
  /** The rules of earlier passes that led here, in order. */
  readonly steps?: ReadonlyArray<Step> | undefined
}

/** Where a diagnostic about a node points: its source line and label. */
export const about = (node: Node): Pick<Diagnostic, "subject" | "at" | "label"> => ({
  subject: `${node.op} of ${TensorType.print(node.type)}`,
  ...(node.at === undefined ? {} : { at: node.at }),
  ...(node.label === undefined ? {} : { label: node.label })
})

/** A few lines of text: the decision first, then what it rests on. */
export const print = (d: Diagnostic): string => {
  const name = d.label === undefined ? "" : ` "${d.label}"`
  const where = d.at === undefined ? "" : ` at ${printLocation(d.at)}`
  const lines = [`${d.pass}: ${d.outcome}: ${d.subject}${name}${where}`]
  if (d.into !== undefined) lines.push(`  into: ${d.into}`)
  // A note says what there is; only a refusal has something it nearly was.
  if (d.nearest !== undefined)
    lines.push(d.outcome === "note" ? `  ${d.nearest}` : `  nearest match: ${d.nearest}`)
  if (d.failed !== undefined) lines.push(`  failed: ${d.failed}`)
  if (d.suggestion !== undefined) lines.push(`  try: ${d.suggestion}`)
  if (d.rules !== undefined && d.rules.length > 0) lines.push(`  rules: ${d.rules.join(", ")}`)
  return lines.join("\n")
}
