import { type Drawing, palette } from "./Drawing.ts"

/** A string of Graphviz: quotes and backslashes escaped, no line break of its own. */
const text = (raw: string): string =>
  raw
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replace(/\p{Cc}/gu, " ")

/** The drawing in Graphviz's language: `effuse dump x --format dot | dot -Tpng > x.png`. */
export const dot = ({ boxes, arrows }: Drawing): string =>
  [
    "digraph effuse {",
    '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
    ...boxes.map(({ kind, title, lines }, i) => {
      const { fill, line } = palette[kind]
      return `  n${i} [label="${[title, ...lines].map(text).join("\\n")}", fillcolor="${fill}", color="${line}"]`
    }),
    ...arrows.map(({ from, to }) => `  n${from} -> n${to}`),
    "}"
  ].join("\n")
