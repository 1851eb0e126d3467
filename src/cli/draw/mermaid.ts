import { type Drawing, type Kind, palette } from "./Drawing.ts"

/** Mermaid reads markup in labels; entities keep every character itself. */
const text = (raw: string): string =>
  raw.replace(/[^\p{L}\p{N} .,:+*=()_-]/gu, (c) => `#${c.codePointAt(0)};`)

/** The drawing in Mermaid's language, which many Markdown viewers draw. */
export const mermaid = ({ boxes, arrows }: Drawing): string => {
  const kinds = [...new Set(boxes.map((b) => b.kind))]
  const style = (kind: Kind) =>
    `  classDef ${kind}Box fill:${palette[kind].fill},stroke:${palette[kind].line}`
  return [
    "flowchart TD",
    ...boxes.map(
      ({ kind, title, lines }, i) => `  n${i}["${[title, ...lines].map(text).join("<br/>")}"]:::${kind}Box`
    ),
    ...arrows.map(({ from, to }) => `  n${from} --> n${to}`),
    ...kinds.map(style)
  ].join("\n")
}
