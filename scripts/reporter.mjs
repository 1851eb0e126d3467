/** Hands the outcome of every test to `scripts/test.mjs`, which counts; another reporter does the talking. */
import { writeFileSync } from "node:fs"

/**
 * @typedef {{ kind: string, name: string, state: "passed" | "failed" | "skipped", note: string }} Outcome
 */

/** @implements {Partial<import("vitest/node").Reporter>} */
export default class OutcomeReporter {
  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<{ message?: string }>} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    const file = process.env["EFFUSE_TEST_OUTCOMES"]
    if (file === undefined) return
    /** @type {Array<Outcome>} */
    const outcomes = []
    for (const module of modules) {
      const kind = module.project.name
      for (const test of module.children.allTests()) {
        const result = test.result()
        const note = result.state === "skipped" ? (result.note ?? "") : (result.errors?.[0]?.message ?? "")
        const state = result.state === "pending" ? "failed" : result.state
        outcomes.push({ kind, name: `${module.relativeModuleId} > ${test.fullName}`, state, note })
      }
      // A file that cannot be loaded has no tests that could fail.
      for (const error of module.errors()) {
        outcomes.push({ kind, name: module.relativeModuleId, state: "failed", note: error.message })
      }
    }
    for (const error of unhandled) {
      outcomes.push({
        kind: "unhandled",
        name: "error outside a test",
        state: "failed",
        note: error.message ?? ""
      })
    }
    writeFileSync(file, JSON.stringify(outcomes))
  }
}
