import { existsSync, readFileSync } from "node:fs"
import { Result } from "effect"
import { expect, test } from "vitest"
import { opNames } from "../../../ir/ops.ts"
import * as Parse from "../../../ir/Parse.ts"
import * as Print from "../../../ir/Print.ts"
import { readme, table, withTable } from "../../../scripts/opTable.ts"

const text = readFileSync(readme, "utf8")

test("the table of ops is fresh: `node scripts/opTable.ts` writes it", () => {
  expect(withTable(text)).toBe(text)
})

test("the table names every op once", () => {
  for (const op of opNames) expect(table().split(`| \`${op}\` `)).toHaveLength(2)
})

test("graphs in the text are as the printer writes them", () => {
  const graphs = [...text.matchAll(/```eir\n([\s\S]*?)\n```/g)].map((found) => found[1] as string)
  expect(graphs.length).toBeGreaterThan(0)
  for (const graph of graphs) expect(Print.graph(Result.getOrThrow(Parse.graph(graph)))).toBe(graph)
})

test("the modules it names exist", () => {
  const rows = [...text.matchAll(/^\| (`[A-Z].*?) \|/gm)].map((found) => found[1] as string)
  const names = rows.flatMap((row) => [...row.matchAll(/`(\w+)`/g)].map((found) => found[1] as string))
  expect(names.length).toBeGreaterThan(10)
  for (const name of names)
    expect([name, existsSync(new URL(`../../../ir/${name}.ts`, import.meta.url))]).toEqual([name, true])
})
