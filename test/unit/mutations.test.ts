import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { occurrences } from "../../scripts/mutations/Mutation.ts"
import { themes } from "../../scripts/mutations/themes.ts"

/** `npm run mutate` drops these conditions; here their texts are held to what stands in the files, so that the table cannot rot. */
describe.each(themes.map((theme) => [theme.name, theme] as const))("%s", (_, { mutations }) => {
  test.each(mutations.map((m) => [`${m.file}: ${m.name}`, m] as const))("%s", (_, mutation) => {
    const text = readFileSync(fileURLToPath(new URL(`../../${mutation.file}`, import.meta.url)), "utf8")
    expect(occurrences(text, mutation)).toBe(1)
    expect(mutation.to).not.toBe(mutation.from)
  })
})

test("names are unique", () => {
  const names = themes.flatMap((t) => t.mutations.map((m) => `${m.file}: ${m.name}`))
  expect(new Set(names).size).toBe(names.length)
})
