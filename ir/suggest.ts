/**
 * Edits (insert, delete, replace, swap two neighbours) that turn one word into another: Damerau 1964, as optimal string
 * alignment.
 */
const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const edits = Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1)
      next.push(swapped ? Math.min(edits, (before[j - 2] as number) + 1) : edits)
    }
    before = row
    row = next
  }
  return row[b.length] as number
}

/** The word a typo most likely meant: at most a third of it is wrong. Undefined where nothing comes close. */
export const suggest = (typo: string, words: Iterable<string>): string | undefined => {
  if (typo.length > 64) return undefined
  let best: { readonly word: string; readonly edits: number } | undefined
  for (const word of words) {
    const edits = distance(typo.toLowerCase(), word.toLowerCase())
    if (edits <= Math.max(1, Math.floor(word.length / 3)) && edits < (best?.edits ?? Infinity))
      best = { word, edits }
  }
  return best?.word
}

/** `did you mean softmax?`, or nothing. */
export const didYouMean = (typo: string, words: Iterable<string>): string | undefined => {
  const word = suggest(typo, words)
  return word === undefined ? undefined : `did you mean ${word}?`
}
