/** Writes the table of ops into ir/README.md: `node scripts/opTable.ts`. A test checks that the table is fresh. */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Attr from "../ir/Attr.ts"
import * as Node from "../ir/Node.ts"
import { opNames } from "../ir/ops.ts"
import * as Markdown from "./markdown.ts"

export const readme = fileURLToPath(new URL("../ir/README.md", import.meta.url))

const attribute = (name: string, { kind, optional }: Attr.Schema[string]): string =>
  `\`${name}${optional ? "?" : ""}: ${Attr.inAnnotation(kind) ? "annotation" : kind}\``

const facts = (node: Node.AnyOp): string =>
  Object.entries(node.facts)
    .map(([fact, value]) => (value === true ? fact : `${fact}: ${value}`))
    .join(", ")

const row = (op: Node.AnyOp): ReadonlyArray<string> => {
  const attributes = Object.entries(op.attrs).map(([name, schema]) => attribute(name, schema))
  return [`\`${op.name}\``, op.operands.join(", "), attributes.join(" "), op.summary, facts(op)]
}

/** The ops of one family, each on a line. */
const family = (name: string, ops: ReadonlyArray<Node.AnyOp>): string =>
  `### ${name}\n\n${Markdown.table([["op", "operands", "attributes", "meaning", "facts"], ...ops.map(row)])}`

/** The table as Markdown, families in the order of `ops`. */
export const table = (): string => {
  const specs = opNames.map(Node.specOf)
  const families = [...new Set(specs.map((op) => op.family))]
  return families
    .map((name) =>
      family(
        name,
        specs.filter((op) => op.family === name)
      )
    )
    .join("\n\n")
}

/** A text with the table between its marks. */
export const withTable = (text: string): string =>
  Markdown.withSection(text, "ops", "scripts/opTable.ts", table())

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(readme, withTable(readFileSync(readme, "utf8")))
}
