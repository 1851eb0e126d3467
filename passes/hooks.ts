import { Result } from "effect"
import * as Form from "../ir/Form.ts"
import type * as Graph from "../ir/Graph.ts"
import * as Print from "../ir/Print.ts"
import * as Verify from "../ir/Verify.ts"
import type { Pass } from "./Pass.ts"
import type { Snapshot } from "./Snapshot.ts"

/** What a hook sees after each pass. */
export interface Event {
  readonly pass: Pass
  readonly before: Graph.Graph
  readonly snapshot: Snapshot
}

/** Looks at what a pass did. Violations it returns stop the pipeline. */
export type Hook = (event: Event) => ReadonlyArray<string>

const watch =
  (look: (event: Event) => void): Hook =>
  (event) => {
    look(event)
    return []
  }

/** The graph keeps the rules of the IR and its signature, and has the form that the pass says it leaves. */
export const verify: Hook = ({ pass, before, snapshot }) => {
  const { graph } = snapshot
  const checked = Verify.graph(graph)
  if (Result.isFailure(checked)) return checked.failure.violations
  const [was, is] = [signature(before), signature(graph)]
  if (was !== is) return [`the signature changed from ${was} to ${is}`]
  const form = pass.to === "same" ? undefined : Form.check(graph, pass.to)
  return form !== undefined && Result.isFailure(form) ? form.failure.violations : []
}

const signature = (graph: Graph.Graph): string => {
  const inputs = graph.inputs.map((i) => i.attrs.name)
  return `(${inputs.join(", ")}) → (${graph.outputs.map((o) => o.name).join(", ")})`
}

/** Hands the graph to `show` after each pass that changed it. */
export const printIfChanged = (show: (pass: string, graph: Graph.Graph) => void): Hook =>
  watch(({ snapshot }) => {
    if (snapshot.changed) show(snapshot.pass, snapshot.graph)
  })

/** Hands over the milliseconds of each pass. */
export const time = (tell: (pass: string, milliseconds: number) => void): Hook =>
  watch(({ snapshot }) => tell(snapshot.pass, snapshot.milliseconds))

/** Hands over how often each rule applied, after each pass that applied any. */
export const statistics = (tell: (pass: string, rules: ReadonlyMap<string, number>) => void): Hook =>
  watch(({ snapshot }) => {
    if (snapshot.rules.size > 0) tell(snapshot.pass, snapshot.rules)
  })

/** The graph as text and the command that runs the pass on it again. */
export const reproducer = (
  pass: string,
  graph: Graph.Graph
): { readonly input: string; readonly command: string } => ({
  input: Print.graph(graph),
  command: `effuse opt --passes ${pass} input.eir`
})
