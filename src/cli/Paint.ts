import type { Role } from "../../ir/Print.ts"

export type Style = Role | "good" | "bad" | "note" | "faint" | "strong"

/** Colours a piece of text, or leaves it alone. */
export type Paint = (style: Style, text: string) => string

const codes: { readonly [S in Style]: number } = {
  op: 36,
  type: 33,
  value: 35,
  attr: 34,
  keyword: 1,
  good: 32,
  bad: 31,
  note: 33,
  faint: 2,
  strong: 1
}

export const plain: Paint = (_, text) => text

export const ansi: Paint = (style, text) => `\u001b[${codes[style]}m${text}\u001b[0m`

/** Colour in a terminal, none in a pipe; NO_COLOR and FORCE_COLOR decide over both (no-color.org, force-color.org). */
export const paintFor = (terminal: boolean, env: { readonly [name: string]: string | undefined }): Paint => {
  if ((env["NO_COLOR"] ?? "") !== "") return plain
  const forced = env["FORCE_COLOR"]
  if (forced !== undefined && forced !== "" && forced !== "0") return ansi
  return terminal && env["TERM"] !== "dumb" ? ansi : plain
}
