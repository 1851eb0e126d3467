/**
 * The words by which threads talk, in memory of their own. One job at a time: the caller describes it, then sets `claim`; every
 * thread takes chunks from `claim` and counts them in `done`.
 *
 * `claim` is a number of the job in its upper bits and the chunks left below. A thread takes the last chunk that is left by exchanging the
 * whole word, and reads the description only then: the job cannot end before that chunk is counted.
 */
export const words = {
  claim: 0,
  // What many write at once lies in lines of its own.
  done: 16,
  /** Whether threads sleep until `claim` changes: each adds one, who wakes them makes it 0. */
  asleep: 32,
  /** Messages sent to each thread: it goes to fetch them when there are more than it has seen. */
  mail: 48,
  /** Threads that have started. */
  ready: 49,
  /** Whether a call has the threads: then the next kernel is near. */
  called: 50,
  program: 64,
  kernel: 65,
  /** Address of the first thread's arguments, and the bytes from thread to thread. */
  args: 66,
  stride: 67,
  items: 68,
  chunks: 69,
  /** Items of each of the first pieces, one for each thread; 0 where all pieces are alike. */
  large: 70,
  threads: 71,
  /** Characters of the message of a kernel that trapped, which follow; 0 where none did. */
  failed: 80,
  text: 81
} as const

export const mostText = 240

export const wordCount = words.text + mostText

/** Bits of `claim` that count chunks. */
export const chunkBits = 10

export const mostChunks = 2 ** chunkBits - 1

/** The first item of a chunk; that of the next is the one after its last. */
export const from = (items: number, chunks: number, at: number): number => Math.floor((items * at) / chunks)

/**
 * The first item of a piece, counted in the order in which pieces are taken, where the first ones are large: one for each thread, which reads
 * memory as one stream; what is left is cut small, so that all are done at about the same time.
 */
export const fromLarge = (
  items: number,
  chunks: number,
  large: number,
  threads: number,
  at: number
): number =>
  at <= threads ? at * large : threads * large + from(items - threads * large, chunks - threads, at - threads)
