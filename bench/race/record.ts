/** A document with a section for each kind of run: what the last one said. */

const head = `# Results

What \`npm run bench -- --save\` said last, on the machine that it names; ratios mean more than times.
`

const fence = "```"

/** The document with that section as it is now; others stay. */
export const record = (document: string, title: string, said: string): string => {
  const sections = new Map<string, string>()
  for (const part of document.split(/^(?=## )/m).filter((text) => text.startsWith("## ")))
    sections.set(part.slice(3, part.indexOf("\n")), part.trimEnd())
  sections.set(title, `## ${title}\n\n${fence}text\n${said.trim()}\n${fence}`)
  const sorted = [...sections].sort(([a], [b]) => a.localeCompare(b)).map(([, text]) => text)
  return `${[head.trimEnd(), ...sorted].join("\n\n")}\n`
}
