/**
 * The axes by which people's spellings of attention differ, and what each offers, the simplest first. A program is a choice on
 * each; any two choices mean attention, so all of them must fuse.
 */
export const axes = {
  /** Of the arguments. */
  dtype: ["f32", "f16", "bf16"],
  /** What B, T and S are; self-attention has one symbol for T and S. */
  lengths: ["numbers", "symbols", "one symbol for T and S"],
  /** What is done to the types of q, k and v first. */
  operands: ["as they come", "cast up", "through f16"],
  layout: [
    "BHSD",
    "BSHD",
    "packed BS(H·D)",
    "SBHD",
    "torch MHA",
    "flattened",
    "(B·H)SD",
    "HSD",
    "SD",
    "grouped 5-D",
    "5-D",
    "6-D"
  ],
  scale: [
    "none",
    "qk * s",
    "qk / s",
    "q * s",
    "q / s",
    "kT * s",
    "k * s",
    "k / s",
    "√s on q and k",
    "(qk + bias / s) * s"
  ],
  scalar: ["number", "0-d tensor", "filled tensor", "runtime scalar", "√ of the head size", "√ of a length"],
  keys: [
    "swap the last axes",
    "transpose",
    "permute by number",
    "permute BSHD to BHDS",
    "einsum bhqd,bhkd",
    "einsum bqhd,bkhd",
    "einsum bhkd,bhqd",
    "bmm of 3-D",
    "transposed queries",
    "(K Qᵀ)ᵀ"
  ],
  values: ["P V", "einsum", "(Vᵀ Pᵀ)ᵀ", "bmm of 3-D"],
  heads: [
    "as many",
    "repeat",
    "repeatHeads",
    "expand and reshape",
    "tile",
    "stack",
    "concat",
    "gather",
    "computed gather",
    "broadcast one head",
    "grouped matmul",
    "einsum",
    "einsum with an axis of 1"
  ],
  /** Which query heads share a key/value head: those in a row, or every M-th. */
  order: ["contiguous", "interleaved"],
  mask: [
    "none",
    "where(keep, s, fill)",
    "where(drop, fill, s)",
    "s + m",
    "m + s",
    "s + (1 - keep) * fill",
    "s - big * (1 - keep)",
    "s + log(keep)"
  ],
  /** What the mask is made from. */
  source: [
    "causal",
    "bottom-right",
    "window",
    "Mask.causal",
    "Mask.and",
    "Mask.dilated",
    "Mask.chunked",
    "tril",
    "triu",
    "cumsum of ones",
    "segments",
    "segments by cumsum",
    "lengths",
    "offset for each batch entry",
    "padding [B, S]",
    "tensor [T, S]",
    "tensor [B, T, S]"
  ],
  /** What says whether a key takes part. */
  kind: ["bool", "i32", "float"],
  fill: ["-inf", "finfo.min", "-1e9", "-1e10", "-1e4", "-3e4"],
  maskAt: ["last", "before the scale", "before the bias"],
  /** Another mask after the first. */
  second: ["none", "causal", "padding", "additive"],
  bias: [
    "none",
    "s + tensor",
    "tensor + s",
    "for each head",
    "learned table",
    "ALiBi",
    "Score.alibi",
    "T5 buckets",
    "two"
  ],
  biasAt: ["before the softcap", "before the scale", "after the softcap"],
  softcap: ["none", "tanh"],
  /** A logit for each query head as a column that has no value. */
  sinks: ["none", "last column", "first column"],
  softmax: [
    "op",
    "exp(x - max) / sum",
    "exp(x) / sum",
    "exp(x - max) * (1 / sum)",
    "base 2",
    "exp(x - lse)",
    "exp(logSoftmax)",
    "safe",
    "where(isNaN, 0)",
    "where(isNaN, 0) of the op",
    "divided after P V",
    "exp(x), divided after P V"
  ],
  /** Types around the softmax. */
  precision: ["as it comes", "cast up and down", "dtype argument", "down, then up and down"],
  dropout: [
    "none",
    "p * mask / (1 - r)",
    "select(mask, p / (1 - r), 0)",
    "p * select(mask, c, 0)",
    "(p * mask) * c",
    "Tensor.dropout"
  ],
  dropoutOf: ["each weight", "all batch entries and heads"],
  dropoutAt: ["after the down-cast", "before the down-cast"],
  /** What else the program returns. */
  extra: [
    "nothing",
    "weights",
    "dropped weights",
    "logits",
    "scores",
    "masked scores",
    "log-sum-exp",
    "row maximum",
    "column sums",
    "permuted k and v"
  ],
  /** Who else reads a value inside the attention. */
  user: ["nobody", "sums of logits", "other values", "keys", "count of keys"]
} as const

export type Axis = keyof typeof axes
export type Choices = { readonly [A in Axis]: (typeof axes)[A][number] }

export const names = Object.keys(axes) as ReadonlyArray<Axis>

export const simplest = Object.fromEntries(names.map((a) => [a, axes[a][0]])) as unknown as Choices

/** A combination that means nothing, and the nearest that does. */
interface Repair {
  readonly broken: (c: Choices) => boolean
  readonly mended: (c: Choices) => Partial<Choices>
}

const among =
  <A extends Axis>(axis: A, ...values: ReadonlyArray<Choices[A]>) =>
  (c: Choices): boolean =>
    (values as ReadonlyArray<string>).includes(c[axis])

const inGroups = among("heads", "grouped matmul", "einsum", "einsum with an axis of 1")
const byEinsum = among("heads", "einsum", "einsum with an axis of 1")
const fromBSHD = among("keys", "permute BSHD to BHDS", "einsum bqhd,bkhd")
const einsumOfKeys = among("keys", "einsum bhqd,bhkd", "einsum bqhd,bkhd", "einsum bhkd,bhqd")
const added = among("mask", "s + m", "m + s", "s + (1 - keep) * fill", "s - big * (1 - keep)")
const throughLse = among("softmax", "exp(x - lse)", "exp(logSoftmax)")
const oneHead = among("layout", "(B·H)SD", "SD", "torch MHA")

const plain =
  <A extends Axis>(...list: ReadonlyArray<A>) =>
  (): Partial<Choices> =>
    Object.fromEntries(list.map((a) => [a, simplest[a]])) as Partial<Choices>
const differs =
  (...list: ReadonlyArray<Axis>) =>
  (c: Choices): boolean =>
    list.some((a) => c[a] !== simplest[a])
const both =
  (...tests: ReadonlyArray<(c: Choices) => boolean>) =>
  (c: Choices): boolean =>
    tests.every((t) => t(c))
const not =
  (test: (c: Choices) => boolean) =>
  (c: Choices): boolean =>
    !test(c)

/** The types of scores, when the mask meets them. */
export const scoreType = (c: Choices): "f32" | "f16" | "bf16" => (c.operands === "cast up" ? "f32" : c.dtype)

/** A finite fill that is added leaves few bits of the scores; so does a bias after it, and a logarithm of the sum of such scores. */
export const isCoarse = (c: Choices): boolean =>
  c.mask !== "none" &&
  c.fill !== "-inf" &&
  (added(c) || throughLse(c) || c.second === "additive" || (c.maskAt !== "last" && c.bias !== "none"))

const repairs: ReadonlyArray<Repair> = [
  // Heads are merged with batches there, or there are none.
  { broken: both(oneHead, differs("heads")), mended: plain("heads") },
  {
    broken: both(among("heads", "as many", "repeatHeads", "broadcast one head"), differs("order")),
    mended: plain("order")
  },
  {
    broken: both(fromBSHD, not(among("layout", "BSHD", "packed BS(H·D)"))),
    mended: () => ({ layout: "BSHD" })
  },
  {
    broken: both(among("layout", "grouped 5-D"), not(inGroups)),
    mended: () => ({ heads: "grouped matmul" })
  },
  { broken: both(among("layout", "flattened"), inGroups), mended: () => ({ heads: "repeat" }) },
  { broken: both(byEinsum, not(einsumOfKeys)), mended: () => ({ keys: "einsum bhqd,bhkd" }) },
  { broken: both(byEinsum, not(among("values", "einsum"))), mended: () => ({ values: "einsum" }) },
  { broken: both(among("dtype", "f32"), differs("precision")), mended: () => ({ dtype: "f16" }) },
  {
    broken: both(among("operands", "cast up"), among("dtype", "f32")),
    mended: () => ({ dtype: "f16" })
  },
  {
    broken: both(among("operands", "through f16"), differs("dtype")),
    mended: () => ({ operands: "cast up" })
  },
  { broken: both(differs("operands"), differs("precision")), mended: plain("operands") },
  {
    broken: both(among("scale", "(qk + bias / s) * s"), among("bias", "none")),
    mended: () => ({ bias: "s + tensor" })
  },
  {
    broken: both(among("scale", "(qk + bias / s) * s"), not(among("biasAt", "before the scale"))),
    mended: () => ({ biasAt: "before the scale" })
  },
  { broken: both(among("scale", "none"), differs("scalar")), mended: plain("scalar") },
  { broken: both(among("bias", "none"), differs("biasAt")), mended: plain("biasAt") },
  {
    broken: both(among("biasAt", "after the softcap"), among("softcap", "none")),
    mended: () => ({ softcap: "tanh" })
  },
  {
    broken: both(among("mask", "none"), differs("second", "source", "kind", "fill", "maskAt")),
    mended: plain("second", "source", "kind", "fill", "maskAt")
  },
  { broken: both(among("mask", "s + log(keep)"), differs("fill")), mended: plain("fill") },
  // A product of 0 and infinity is NaN, and a guard against NaN makes a constant of that.
  {
    broken: both(
      among("softmax", "where(isNaN, 0)", "where(isNaN, 0) of the op"),
      among("mask", "s + (1 - keep) * fill", "s - big * (1 - keep)"),
      among("fill", "-inf")
    ),
    mended: () => ({ fill: "-1e4" })
  },
  // Beyond the largest f16.
  {
    broken: both((c) => scoreType(c) === "f16", among("fill", "-1e9", "-1e10")),
    mended: () => ({ fill: "-3e4" })
  },
  // The least number twice is -inf.
  {
    broken: both(among("fill", "finfo.min"), among("second", "additive")),
    mended: () => ({ fill: "-3e4" })
  },
  // There even float64 has no bits for the sum of a row without keys.
  { broken: both(throughLse, among("fill", "finfo.min", "-1e10")), mended: () => ({ fill: "-3e4" }) },
  {
    broken: both(among("dropout", "none"), differs("dropoutOf", "dropoutAt")),
    mended: plain("dropoutOf", "dropoutAt")
  },
  {
    broken: both(among("dropout", "Tensor.dropout"), differs("dropoutOf")),
    mended: plain("dropoutOf")
  },
  {
    broken: both(differs("dropoutAt"), among("precision", "as it comes")),
    mended: () => ({ precision: "cast up and down" })
  },
  {
    broken: both(
      among("extra", "permuted k and v"),
      not(among("layout", "BSHD", "packed BS(H·D)", "SBHD", "torch MHA"))
    ),
    mended: () => ({ layout: "BSHD" })
  },
  {
    broken: both(among("extra", "dropped weights"), among("dropout", "none")),
    mended: () => ({ extra: "weights" })
  }
]

/** The choices, or the nearest that can be written. */
export const repaired = (choices: Choices): Choices => {
  let c = choices
  // Each repair settles what those before it left; more rounds than repairs mean that two undo each other.
  for (let round = 0; round <= repairs.length; round++) {
    const broken = repairs.find((r) => r.broken(c))
    if (broken === undefined) return c
    c = { ...c, ...broken.mended(c) }
  }
  throw new Error(`no repair ends for ${JSON.stringify(choices)}`)
}
