// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a colour
const colour = /\u001b\[\d+m/g

const width = (cell: string): number => cell.replace(colour, "").length

/** Columns of equal width, two blanks apart; numbers (`right`) end where their column ends. */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  right: ReadonlyArray<number> = []
): string => {
  const widths: Array<number> = []
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, width(cell))
    })
  const pad = (cell: string, i: number): string => {
    const blanks = " ".repeat((widths[i] ?? 0) - width(cell))
    return right.includes(i) ? `${blanks}${cell}` : `${cell}${blanks}`
  }
  return rows.map((row) => row.map(pad).join("  ").trimEnd()).join("\n")
}
