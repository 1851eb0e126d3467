import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../../", import.meta.url))

/** A fenced block of a document. */
export interface Block {
  /** What follows the fence: `ts run`. */
  readonly info: string
  readonly text: string
  /** The line of the fence, from 1. */
  readonly line: number
}

export const documents = [
  "README.md",
  "ARCHITECTURE.md",
  "ir/README.md",
  "docs/adding-an-op.md",
  "docs/adding-a-rule.md",
  "docs/adding-a-kernel.md",
  "docs/adding-a-backend.md",
  "examples/gallery/README.md"
] as const

export const textOf = (file: string): string => readFileSync(root + file, "utf8")

export const blocksOf = (file: string): ReadonlyArray<Block> => {
  const text = textOf(file)
  return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map((found) => ({
    info: found[1] as string,
    text: found[2] as string,
    line: text.slice(0, found.index).split("\n").length
  }))
}

/**
 * Writes a program of a document to a file and gives its path. It imports the sources of this repository, on the reference
 * unless `entries` says otherwise. Programs of the one kind and of the other lie apart: a test empties its folder while others run.
 */
export const writeProgram = (name: string, text: string, entries = "test/support/docs"): string => {
  const folder = `${root}.cache/${entries === "src" ? "pages" : "docs"}`
  mkdirSync(folder, { recursive: true })
  const entry = (sub: string | undefined): string => {
    const own =
      sub === "ir"
        ? "ir/index"
        : sub === "nn"
          ? "src/nn/index"
          : `${entries}/${sub ?? (entries === "src" ? "index" : "effuse")}`
    return `"../../${own}.ts"`
  }
  const path = `${folder}/${name}.ts`
  writeFileSync(
    path,
    text.replace(/"effuse(?:\/([\w-]+))?"/g, (_, sub) => entry(sub))
  )
  return path
}

/** Where programs are written, and how they are checked. */
export const writeConfig = (): string => {
  const folder = `${root}.cache/docs`
  mkdirSync(folder, { recursive: true })
  const compilerOptions = { lib: ["ES2023", "DOM", "DOM.Iterable"] }
  writeFileSync(
    `${folder}/tsconfig.json`,
    JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: ["*.ts"], exclude: [] })
  )
  return folder
}
