import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { expect } from "vitest"

/** Compares a text with a file; `EFFUSE_BLESS=1` writes the file instead, and the change is reviewed by eye. */
export const expectGolden = (file: URL, text: string): void => {
  const wanted = `${text.trimEnd()}\n`
  if (process.env["EFFUSE_BLESS"] === "1") {
    mkdirSync(dirname(file.pathname), { recursive: true })
    writeFileSync(file, wanted)
  }
  expect(existsSync(file), `${file.pathname} is missing: run with EFFUSE_BLESS=1`).toBe(true)
  expect(wanted).toBe(readFileSync(file, "utf8"))
}
