import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Child, child } from "../../../bench/race/child.ts"

const folder = mkdtempSync(join(tmpdir(), "effuse-bench-"))
const script = join(folder, "peer.mjs")
let own: Child

beforeAll(() => {
  writeFileSync(
    script,
    `process.on("message", ({ do: what, variant }) => {
  if (variant === "hangs") return
  if (variant === "crashes") { console.error("out of memory"); process.exit(3) }
  process.send(variant === "refuses" ? { ok: false, cannot: true, message: "has no\\nsuch thing" } : { ok: true, value: what })
})
process.on("disconnect", () => process.exit())`
  )
  own = child(pathToFileURL(script).href, [])
})

afterAll(() => {
  own.close()
  rmSync(folder, { recursive: true })
})

const ask = (variant: string, limit = 10_000) => own.ask({ do: "read", variant }, limit)

test("answers come back, refusals with their first line", async () => {
  expect(await ask("")).toEqual({ tag: "done", value: "read" })
  expect(await ask("refuses")).toEqual({ tag: "cannot", reason: "has no" })
})

test("one that hangs or crashes breaks nothing, and another one answers next", async () => {
  expect(await ask("hangs", 1000)).toEqual({ tag: "slow", reason: "more than 1 s" })
  expect(await ask("")).toEqual({ tag: "done", value: "read" })
  expect(await ask("crashes")).toEqual({ tag: "failed", reason: "ended with 3 out of memory" })
  expect(await ask("")).toEqual({ tag: "done", value: "read" })
})
