/** Edits (insert, delete, replace) between two words. */
const distance = (a: string, b: string): number => {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replaced, (previous[j] as number) + 1, (row[j - 1] as number) + 1))
    }
    previous = row
  }
  return previous[b.length] as number
}

/** The name a person most likely meant, if any is near: at most a third of its letters differ. */
export const nearestName = (name: string, known: ReadonlyArray<string>): string | undefined => {
  // A long name is nobody's typing mistake, and distances cost its length.
  if (name.length > 80) return undefined
  const ranked = known.map((k) => ({ k, edits: distance(name, k) })).sort((a, b) => a.edits - b.edits)
  const best = ranked[0]
  return best !== undefined && best.edits <= Math.max(1, Math.ceil(best.k.length / 3)) ? best.k : undefined
}
