import * as Diagnostic from "./Diagnostic.ts"

/** What the compiler decided about attention: for tools as data, for people as text. */
export interface Explanation {
  readonly fused: ReadonlyArray<Diagnostic.Diagnostic>
  readonly refused: ReadonlyArray<Diagnostic.Diagnostic>
  readonly notes: ReadonlyArray<Diagnostic.Diagnostic>
}

interface Explained {
  readonly diagnostics: ReadonlyArray<Diagnostic.Diagnostic>
}

export const data = ({ diagnostics }: Explained): Explanation => ({
  fused: diagnostics.filter((d) => d.outcome === "fused"),
  refused: diagnostics.filter((d) => d.outcome === "refused"),
  notes: diagnostics.filter((d) => d.outcome === "note")
})

/** What was fused, what was not and why: a line that counts, then each decision in the order of the passes. */
export const explain = (compiled: Explained): string => {
  const { fused, refused } = data(compiled)
  const counted = `attention: ${fused.length} fused, ${refused.length} refused`
  return [counted, ...compiled.diagnostics.map(Diagnostic.print)].join("\n")
}
