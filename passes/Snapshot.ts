import type { Graph } from "../ir/Graph.ts"
import type { Diagnostic } from "./Diagnostic.ts"

/** What one pass did. */
export interface Snapshot {
  readonly pass: string
  /** The graph it left. */
  readonly graph: Graph
  readonly changed: boolean
  readonly milliseconds: number
  /** How often each rule applied. */
  readonly rules: ReadonlyMap<string, number>
  readonly diagnostics: ReadonlyArray<Diagnostic>
}
