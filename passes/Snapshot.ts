import type { Graph } from "../ir/Graph.ts"
import type { Diagnostic } from "./Diagnostic.ts"
import type { Statistics } from "./Statistics.ts"

/** What one pass did. */
export interface Snapshot extends Statistics {
  readonly pass: string
  /** The graph it left. */
  readonly graph: Graph
  readonly changed: boolean
  readonly milliseconds: number
  readonly diagnostics: ReadonlyArray<Diagnostic>
}
