import * as PagePool from "./PagePool.ts"

/**
 * Which sequences run, as data: each has a slot from when it joins until it leaves, and slots that are free are taken by the prompts that wait, in
 * their order. A call brings the words that each has not read yet, but no more than so many at once.
 */
export interface Batch {
  readonly prompts: ReadonlyArray<ReadonlyArray<number>>
  readonly slots: ReadonlyArray<Sequence | undefined>
  /** The prompt that joins next. */
  readonly waiting: number
  readonly pool: PagePool.PagePool | undefined
}

export interface Sequence {
  readonly prompt: number
  /** All its words so far. */
  readonly words: ReadonlyArray<number>
  /** Positions whose keys are cached. */
  readonly length: number
  readonly pages: ReadonlyArray<number>
  /** Whether no call has brought it yet. */
  readonly fresh: boolean
}

export interface Rules {
  readonly maxTokens: number
  readonly stop: ReadonlySet<number>
  /** Words that a call brings of one sequence, at most. */
  readonly call: number
}

export const make = (
  prompts: ReadonlyArray<ReadonlyArray<number>>,
  slots: number,
  pool: PagePool.PagePool | undefined
): Batch => ({ prompts, slots: Array.from({ length: slots }, () => undefined), waiting: 0, pool })

/** The words that a sequence reads in a call. */
export const reads = ({ words, length }: Sequence, { call }: Rules): ReadonlyArray<number> =>
  words.slice(length, length + call)

/** The batch with those that can join, and what the call that follows writes counted as there. */
export const joined = (batch: Batch, rules: Rules): Batch => {
  let { waiting, pool } = batch
  const note = (s: Sequence): Sequence => {
    if (pool !== undefined) pool = PagePool.written(pool, s.pages, s.words, s.length + reads(s, rules).length)
    return s
  }
  const next = (): Sequence | undefined => {
    const words = batch.prompts[waiting]
    if (words === undefined) return undefined
    const begun = { prompt: waiting, words, fresh: true }
    if (pool === undefined) {
      waiting += 1
      return { ...begun, length: 0, pages: [] }
    }
    // The last word of all is never read.
    const found = PagePool.join(pool, words, words.length + rules.maxTokens - 1)
    if (found === undefined) return undefined
    pool = found.pool
    waiting += 1
    return note({ ...begun, length: found.shared, pages: found.pages })
  }
  const staying = batch.slots.map((s) => (s === undefined ? undefined : note(s)))
  const slots = staying.map((s) => s ?? next())
  return { ...batch, slots, waiting, pool }
}

/** The batch after a call that made a word for each slot, and the words by prompt: none where a sequence still reads, or has left. */
export const after = (
  batch: Batch,
  made: ReadonlyArray<number>,
  rules: Rules
): { readonly batch: Batch; readonly tokens: ReadonlyArray<number | undefined> } => {
  const tokens: Array<number | undefined> = batch.prompts.map(() => undefined)
  let { pool } = batch
  const slots = batch.slots.map((s, n) => {
    if (s === undefined) return undefined
    const length = s.length + reads(s, rules).length
    if (length < s.words.length) return { ...s, length, fresh: false }
    const word = made[n] as number
    tokens[s.prompt] = word
    const words = [...s.words, word]
    const most = (batch.prompts[s.prompt] as ReadonlyArray<number>).length + rules.maxTokens
    if (words.length < most && !rules.stop.has(word)) return { ...s, words, length, fresh: false }
    if (pool !== undefined) pool = PagePool.leave(pool, s.pages)
    return undefined
  })
  return { batch: { ...batch, slots, pool }, tokens }
}

/** Whether nobody runs and nobody waits. */
export const isDone = ({ slots, waiting, prompts }: Batch): boolean =>
  waiting === prompts.length && slots.every((s) => s === undefined)
