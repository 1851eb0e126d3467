import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import * as Filetest from "../support/filetest.ts"

const folder = import.meta.dirname
const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".eir"))
  .sort()

test("there are filetests", () => {
  expect(files.length).toBeGreaterThan(0)
})

test.each(files)("%s", (file) => {
  const path = join(folder, file)
  const filetest = Filetest.split(readFileSync(path, "utf8"))
  const answer = Filetest.answer(filetest)
  if (process.env["EFFUSE_BLESS"] === "1")
    writeFileSync(path, Filetest.join({ ...filetest, expected: answer }))
  else expect(answer).toBe(filetest.expected)
})
