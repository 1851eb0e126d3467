/** What is timed: a list of computations, as plain data that crosses processes. */

/** Attention of one sequence: queries [Hq, T, D], keys and values [Hkv, S, D]. */
export interface Attention {
  readonly kind: "attention"
  readonly name: string
  /** The part of the last line that it counts in. */
  readonly counts?: "prefill" | "decode"
  readonly T: number
  readonly S: number
  readonly heads: readonly [queries: number, keys: number]
  readonly D: number
  readonly causal: boolean
  /** Keys that a query sees at most: its own and those just before it. */
  readonly window?: number
  readonly softcap?: number
  /** Whether distance lowers the score, with the slopes of ALiBi. */
  readonly alibi?: boolean
  /** How queries, keys, values and the result are stored. */
  readonly dtype: "f32" | "f16"
  /** Whether Effuse runs alone: to see how its cost grows. */
  readonly alone?: true
}

/** [M, K] by [K, N]. */
export interface Product {
  readonly kind: "product"
  readonly name: string
  readonly M: number
  readonly N: number
  readonly K: number
}

/** A block of a decoder as Llama has it over T positions: attention with RoPE, SwiGLU, two norms, two residuals. */
export interface Block {
  readonly kind: "block"
  readonly name: string
  readonly T: number
}

export type Case = Attention | Product | Block

type Options = Partial<Omit<Attention, "kind" | "name" | "T" | "S">>

const attention = (name: string, T: number, S: number, options: Options = {}): Attention => ({
  kind: "attention",
  name,
  T,
  S,
  heads: [8, 8],
  D: 64,
  causal: true,
  dtype: "f32",
  ...options
})

const prefill = (name: string, T: number, options: Options = {}): Attention => attention(name, T, T, options)

const decode = (S: number): Attention =>
  attention(`decode-${S}`, 1, S, { heads: [8, 2], causal: false, counts: "decode" })

/** Nothing is shared: each byte is read for one query, so that reading is what takes the time. */
const decodeOfEach: Attention = attention("decode-16384-mha", 1, 16384, { causal: false, alone: true })

const block: Block = { kind: "block", name: "block-512", T: 512 }

/** For WebAssembly and native code on the processor. */
export const cpuCases: ReadonlyArray<Case> = [
  prefill("512-causal", 512, { counts: "prefill" }),
  prefill("512-full", 512, { causal: false, counts: "prefill" }),
  prefill("512-gqa", 512, { heads: [8, 2], counts: "prefill" }),
  decode(4096),
  decode(16384),
  prefill("2048-causal", 2048, { counts: "prefill" }),
  prefill("2048-full", 2048, { causal: false, counts: "prefill" }),
  block,
  { kind: "product", name: "matmul-1024", M: 1024, N: 1024, K: 1024 },
  prefill("512-d128", 512, { D: 128 }),
  prefill("512-f16", 512, { dtype: "f16" }),
  prefill("8192-window", 8192, { window: 256 }),
  decodeOfEach
]

/** For WebGPU; those that goals are about come first. */
export const gpuCases: ReadonlyArray<Case> = [
  prefill("512-causal", 512, { counts: "prefill" }),
  prefill("512-full", 512, { causal: false, counts: "prefill" }),
  prefill("512-gqa", 512, { heads: [8, 2], counts: "prefill" }),
  decode(4096),
  decode(16384),
  prefill("2048-causal", 2048, { counts: "prefill" }),
  prefill("2048-full", 2048, { causal: false, alone: true }),
  prefill("4096-window", 4096, { window: 256 }),
  prefill("16384-window", 16384, { window: 256, alone: true }),
  block,
  prefill("512-d128", 512, { D: 128 }),
  prefill("512-f16", 512, { dtype: "f16" }),
  prefill("512-alibi-softcap", 512, { alibi: true, softcap: 50 })
]

/** What comes closest to a window for those who have none: every key before the query. Undefined where there is no window. */
export const causalOnly = (c: Case): Case | undefined => {
  if (c.kind !== "attention" || c.window === undefined) return undefined
  const { window: _, ...rest } = c
  return rest
}

/** Whether a row is compared: of long results every head is looked at, each fourth row, another one of each head, and the last. */
export const isLookedAt = (c: Attention, head: number, row: number): boolean =>
  c.T < 2048 || row % 4 === head % 4 || row === c.T - 1

/** The block: 8 query heads of 64 share 2 key/value heads. */
export const blockSizes = { width: 512, heads: 8, keyHeads: 2, size: 64, hidden: 1376 } as const

/** Keys that row i sees: from `lo`, below `hi`. */
export const keysOf = (
  c: Pick<Attention, "T" | "S" | "causal" | "window">,
  i: number
): readonly [lo: number, hi: number] => {
  const own = i + c.S - c.T
  return [c.window === undefined ? 0 : Math.max(0, own - c.window + 1), c.causal ? own + 1 : c.S]
}

/** Pairs of a query and a key that it sees, of one head. */
export const pairsOf = (c: Attention): number => {
  let pairs = 0
  for (let i = 0; i < c.T; i++) {
    const [lo, hi] = keysOf(c, i)
    pairs += hi - lo
  }
  return pairs
}

/** Multiplications and additions that the definition needs: two contractions of each visible pair, two each for a product. */
export const flopsOf = (c: Case): number => {
  if (c.kind === "product") return 2 * c.M * c.N * c.K
  if (c.kind === "attention") return 4 * c.heads[0] * c.D * pairsOf(c)
  const { width, heads, keyHeads, size, hidden } = blockSizes
  const projections = width * size * (2 * heads + 2 * keyHeads) + 3 * width * hidden
  return 2 * c.T * projections + 4 * heads * size * ((c.T * (c.T + 1)) / 2)
}

/** The same for those who compute what a mask hides, too. */
export const squareFlopsOf = (c: Case): number =>
  c.kind === "attention" ? 4 * c.heads[0] * c.D * c.T * c.S : flopsOf(c)

/** Bytes that must cross memory once: what goes in and what comes out. */
export const bytesOf = (c: Case): number => {
  if (c.kind === "product") return 4 * (c.M * c.K + c.K * c.N + c.M * c.N)
  if (c.kind === "attention") {
    const [queries, keys] = c.heads
    return (c.dtype === "f16" ? 2 : 4) * c.D * (2 * queries * c.T + 2 * keys * c.S)
  }
  const { width, heads, keyHeads, size, hidden } = blockSizes
  return 4 * (2 * c.T * width + width * (2 + size * (2 * heads + 2 * keyHeads) + 3 * hidden))
}
