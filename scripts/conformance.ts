/**
 * Runs the published cases on the reference and on WebGPU and prints a table.
 *
 *     npm run conformance                                    the folder ../shared/conformance
 *     EFFUSE_CONFORMANCE=some/folder npm run conformance     any folder of the same format
 */
import { Effect } from "effect"
import * as Reference from "../src/Reference.ts"
import * as WebGpu from "../src/WebGpu.ts"
import type { Case } from "../test/support/conformance/Case.ts"
import { cases, folder, missing } from "../test/support/conformance/load.ts"
import { fusedOnce, type Outcome, run } from "../test/support/conformance/run.ts"

interface Row {
  readonly case: Case
  readonly reference: Outcome
  readonly webgpu: Outcome
}

const absent = missing()
if (absent !== undefined) {
  console.log(absent)
  console.log("conformance: 0 cases, 0 passed, 0 fused, 0 refused, 0 failed")
  // A folder that somebody asked for is owed; the default one may be absent.
  process.exit(process.env["EFFUSE_CONFORMANCE"] === undefined ? 0 : 1)
}

const published = cases()
const all = (layer: typeof Reference.layer | typeof WebGpu.layer) =>
  Effect.runPromise(Effect.forEach(published, run).pipe(Effect.provide(layer)))

const reference = await all(Reference.layer)
const webgpu = await all(WebGpu.layer)
const rows = published.map(
  (c, i): Row => ({ case: c, reference: reference[i] as Outcome, webgpu: webgpu[i] as Outcome })
)

const failed = rows.filter((r) => r.reference.failure !== undefined || r.webgpu.failure !== undefined)
const attention = rows.filter((r) => r.case.attention)
const fused = attention.filter((r) => fusedOnce(r.webgpu) && fusedOnce(r.reference))
const refused = attention.filter((r) => !fused.includes(r))

const width = Math.max(...rows.map((r) => r.case.name.length))
const error = (o: Outcome): string =>
  (o.failure === undefined ? o.error.toExponential(1) : "FAILED").padStart(9)
console.log(`${folder()}: largest absolute error of the outputs\n`)
console.log(`${"case".padEnd(width)}  ${"kind".padEnd(17)}  reference     webgpu  attention`)
for (const row of rows) {
  const state = !row.case.attention ? "none" : fused.includes(row) ? "1 node" : "not fused"
  console.log(
    `${row.case.name.padEnd(width)}  ${row.case.kind.padEnd(17)}  ${error(row.reference)}  ${error(row.webgpu)}  ${state}`
  )
}
if (refused.length > 0) console.log("\nAttention that did not become one node:")
for (const row of refused)
  console.log(`  ${row.case.name}: ${row.webgpu.refusals.join("; ") || `${row.webgpu.attention} nodes`}`)
if (failed.length > 0) console.log("\nWrong:")
for (const row of failed) {
  for (const name of ["reference", "webgpu"] as const) {
    if (row[name].failure !== undefined) console.log(`  ${row.case.name} on ${name}: ${row[name].failure}`)
  }
}
console.log(
  `\nconformance: ${rows.length} cases, ${rows.length - failed.length} passed, ${fused.length} fused, ${refused.length} refused, ${failed.length} failed`
)
process.exitCode = failed.length > 0 ? 1 : 0
