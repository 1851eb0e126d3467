/**
 * One side condition of the recogniser, dropped: text that stands exactly once in a file, and what takes its place. Some
 * test must fail for it.
 */
export interface Mutation {
  /** The condition, as what no longer holds. */
  readonly name: string
  readonly file: string
  readonly from: string
  readonly to: string
}

/** Mutations that the same tests are to notice. */
export interface Theme {
  readonly name: string
  /** Test files and folders, those that notice most first. */
  readonly tests: ReadonlyArray<string>
  readonly mutations: ReadonlyArray<Mutation>
}

/** Mutations of one file, as [what no longer holds, text, what takes its place]. */
export const inFile = (
  file: string,
  ...list: ReadonlyArray<readonly [name: string, from: string, to: string]>
): ReadonlyArray<Mutation> => list.map(([name, from, to]) => ({ name, file, from, to }))

/** Whether the text of a mutation stands exactly once, in the text of its file. */
export const occurrences = (text: string, { from }: Mutation): number => text.split(from).length - 1
