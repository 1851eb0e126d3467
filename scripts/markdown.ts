/** Rows as a Markdown table with aligned columns. The first row is the head. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const escaped = rows.map((row) => row.map((text) => text.replaceAll("|", "\\|")))
  const [head = [], ...body] = escaped
  const widths = head.map((_, column) =>
    Math.max(3, ...escaped.map((row) => [...(row[column] as string)].length))
  )
  const line = (row: ReadonlyArray<string>) =>
    `| ${row.map((text, column) => text + " ".repeat((widths[column] as number) - [...text].length)).join(" | ")} |`
  return [head, widths.map((width) => "-".repeat(width)), ...body].map(line).join("\n")
}

/** A text with `content` between the marks `<!-- name: written by script -->` and `<!-- /name -->`. Throws where they are missing. */
export const withSection = (text: string, name: string, script: string, content: string): string => {
  const [start, end] = [`<!-- ${name}: written by ${script} -->`, `<!-- /${name} -->`]
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the text lacks the marks ${start} and ${end}`)
  return `${text.slice(0, from + start.length)}\n\n${content}\n\n${text.slice(to)}`
}
