import type { HostArray } from "../../ir/HostArray.ts"
import * as HostArrays from "../../ir/HostArray.ts"
import { type Spec, spec } from "../../src/spec.ts"
import * as arrays from "./arrays.ts"

/**
 * Attention programs drawn at random: each is a record of choices along the axes by which people's spellings differ, so that a
 * failure names them. Shapes: B batch, M key/value heads, G query heads of each, T queries, S keys, D head size, E value head size.
 */
export interface Program {
  readonly seed: number
  readonly dtype: "f32" | "f16"
  readonly sizes: Sizes
  /** Whether B, T and S are symbols. */
  readonly symbolic: boolean
  readonly layout: (typeof layouts)[number]
  readonly scale: (typeof scales)[number]
  readonly keys: (typeof keyTransposes)[number]
  readonly heads: (typeof headExpansions)[number]
  readonly mask: (typeof masks)[number]
  readonly softmax: (typeof softmaxes)[number]
  readonly softcap: boolean
  readonly bias: (typeof biases)[number]
  /** A logit for each query head as a column that has no value. */
  readonly sinks: boolean
  /** What else the program returns. */
  readonly extra: (typeof extras)[number]
}

export interface Sizes {
  readonly B: number
  readonly M: number
  readonly G: number
  readonly T: number
  readonly S: number
  readonly D: number
  readonly E: number
}

/** How q, k and v lie: packed is [B, T, H * D], flat runs [B * H, T, D], grouped has q [B, M, G, T, D], single no heads. */
export const layouts = ["bhsd", "bshd", "packed", "flat", "grouped", "single"] as const

export const scales = [
  "none",
  "scores * s",
  "scores / s",
  "q * s",
  "q / s",
  "kT * s",
  "k * s",
  "√s on q and k",
  "s / √d from q",
  "runtime scalar",
  "filled tensor",
  "√ of a length"
] as const

export const keyTransposes = ["transpose", "swapAxes", "permute", "einsum", "keys first", "(K Qᵀ)ᵀ"] as const

/** "interleaved" pairs query head h with key/value head h mod M: another order than the groups of the node. */
export const headExpansions = [
  "repeatHeads",
  "broadcast",
  "stack",
  "concat",
  "gather",
  "computed gather",
  "grouped matmul",
  "interleaved"
] as const

export const masks = [
  "none",
  "causal",
  "causal by where",
  "causal with a finite fill",
  "bottom-right",
  "window",
  "tril",
  "lengths",
  "padding with a finite fill",
  "bool tensor",
  "additive",
  "additive, mask first",
  "additive for each batch entry",
  "(1 - keep) * fill",
  "scores - big * (1 - keep)",
  "integers",
  "causal, then padding",
  "causal, then additive",
  "documents",
  "offset for each batch entry"
] as const

export const softmaxes = [
  "op",
  "op in f32",
  "shifted",
  "shifted in f32",
  "unshifted",
  "base 2",
  "logSumExp",
  "logSoftmax",
  "late division",
  "late division, unshifted",
  "NaN replaced",
  "safe"
] as const

export const biases = ["none", "tensor", "for each head", "alibi", "table", "before the scale"] as const

export const extras = ["nothing", "logits", "scores", "weights", "logSumExp", "keys", "row sums"] as const

/** One program for each seed. Masks that can empty a row, odd sizes and several heads are as likely as the plain case. */
export const program = (seed: number): Program => {
  const from = arrays.random(seed * 7919 + 13)
  const rarely = <A>(probability: number, plain: A, others: ReadonlyArray<A>): A =>
    from.next() < probability ? from.pick(others) : plain
  const layout = rarely(0.6, "bhsd", layouts)
  const single = layout === "single"
  const long = [1, 2, 3, 5, 7, 8, 13, 16, 17, 33]
  const T = from.pick(long)
  const D = from.pick([1, 2, 3, 5, 7, 8, 13, 16, 17, 33])
  const sizes: Sizes = {
    B: from.pick([1, 2, 3]),
    M: single ? 1 : from.pick([1, 2, 3]),
    G: single ? 1 : from.pick([1, 2, 3, 5]),
    T,
    S: from.next() < 0.4 ? T : from.pick(long),
    D,
    E: from.next() < 0.5 ? D : from.pick([1, 3, 8, 13])
  }
  const softmax = rarely(0.7, "op", softmaxes)
  return {
    seed,
    dtype: rarely(0.3, "f32", ["f16"]),
    sizes,
    symbolic: from.next() < 0.5,
    layout,
    scale: rarely(0.8, "scores * s", scales),
    keys: rarely(0.6, "transpose", keyTransposes),
    heads: single ? "repeatHeads" : rarely(0.7, "repeatHeads", expansionsOf(layout)),
    mask: from.pick(masks),
    softmax,
    softcap: from.next() < 0.2,
    bias: rarely(0.4, "none", biases),
    sinks: (softmax === "op" || softmax === "op in f32" || softmax === "shifted") && from.next() < 0.25,
    extra: rarely(0.3, "nothing", extras)
  }
}

/** Runs [B * H, T, D] have no axis for groups. */
const expansionsOf = (layout: Program["layout"]): ReadonlyArray<Program["heads"]> =>
  headExpansions.filter((heads) => layout !== "flat" || heads !== "grouped matmul")

/** The axes on one line. */
export const describe = (p: Program): string => {
  const { B, M, G, T, S, D, E } = p.sizes
  const parts = [
    `seed ${p.seed}`,
    `${p.dtype} B${B} M${M} G${G} T${T} S${S} D${D} E${E}${p.symbolic ? " symbolic" : ""}`,
    p.layout,
    p.scale,
    p.keys,
    p.heads,
    p.mask,
    p.softmax,
    ...(p.softcap ? ["softcap"] : []),
    ...(p.bias === "none" ? [] : [`bias ${p.bias}`]),
    ...(p.sinks ? ["sinks"] : []),
    ...(p.extra === "nothing" ? [] : [`also ${p.extra}`])
  ]
  return parts.join(" · ")
}

/** A score that stands for "masked" without being -inf, within the dtype. */
export const fill = (p: Program): number => (p.dtype === "f16" ? -3e4 : -1e9)

/** What each argument is, and how its numbers are drawn. */
interface Parameter {
  readonly dtype: Spec["dtype"]
  readonly shape: ReadonlyArray<number | string>
  readonly kind?:
    | "uniform"
    | "normal"
    | "holes"
    | "scale"
    | "lengths"
    | "documents"
    | "keep"
    | "offset"
    | "keep first"
    | "finite first"
}

const parameters = (p: Program): { readonly [name: string]: Parameter } => {
  const { M, G, D, E } = p.sizes
  const H = M * G
  const [B, T, S] = p.symbolic ? ["B", "T", "S"] : [p.sizes.B, p.sizes.T, p.sizes.S]
  const float = (shape: ReadonlyArray<number | string>, kind: Parameter["kind"] = "uniform"): Parameter => ({
    dtype: p.dtype,
    shape,
    kind
  })
  const shapes: { readonly [layout: string]: ReadonlyArray<Parameter["shape"]> } = {
    bhsd: [
      [B, H, T, D],
      [B, M, S, D],
      [B, M, S, E]
    ],
    flat: [
      [B, H, T, D],
      [B, M, S, D],
      [B, M, S, E]
    ],
    bshd: [
      [B, T, H, D],
      [B, S, M, D],
      [B, S, M, E]
    ],
    packed: [
      [B, T, H * D],
      [B, S, M * D],
      [B, S, M * E]
    ],
    grouped: [
      [B, M, G, T, D],
      [B, M, S, D],
      [B, M, S, E]
    ],
    single: [
      [B, T, D],
      [B, S, D],
      [B, S, E]
    ]
  }
  const [q = [], k = [], v = []] = shapes[p.layout] ?? []
  const found: { [name: string]: Parameter } = { q: float(q), k: float(k), v: float(v) }
  if (p.scale === "runtime scalar") found["scale"] = float([], "scale")
  const keep = (dtype: Spec["dtype"], kind: Parameter["kind"] = "keep"): Parameter => ({
    dtype,
    shape: [B, S],
    kind
  })
  const forMask: { readonly [mask: string]: { readonly [name: string]: Parameter } } = {
    lengths: { lengths: { dtype: "i32", shape: [B], kind: "lengths" } },
    "padding with a finite fill": { keep: keep("bool") },
    "bool tensor": { mask: { dtype: "bool", shape: [B, T, S], kind: "keep" } },
    additive: { mask: float([T, S], "holes") },
    "additive, mask first": { mask: float([T, S], "holes") },
    "additive for each batch entry": { mask: float([B, 1, S], "holes") },
    // A finite fill that is added leaves too few bits for the scores: in a row of nothing else, float32 has other weights.
    "(1 - keep) * fill": { keep: keep(p.dtype, "keep first") },
    "scores - big * (1 - keep)": { keep: keep(p.dtype, "keep first") },
    integers: { keep: keep("i32") },
    "causal, then padding": { keep: keep("bool") },
    "causal, then additive": { mask: float([T, S], "finite first") },
    documents: {
      from: { dtype: "i32", shape: [B, T], kind: "documents" },
      to: { dtype: "i32", shape: [B, S], kind: "documents" }
    },
    "offset for each batch entry": { offset: { dtype: "i32", shape: [B], kind: "offset" } }
  }
  Object.assign(found, forMask[p.mask] ?? {})
  if (p.bias === "tensor") found["bias"] = float([T, S])
  if (p.bias === "for each head" || p.bias === "before the scale") found["bias"] = float([H, T, S])
  if (p.bias === "table") found["table"] = float([H, 9])
  if (p.sinks) found["sinks"] = float([H], "normal")
  return found
}

/** The arguments' types, for `compile`. */
export const signature = (p: Program): { readonly [name: string]: Spec } =>
  Object.fromEntries(
    Object.entries(parameters(p)).map(([name, { dtype, shape }]) => [name, spec(dtype, shape)])
  )

/** Arguments of the program's sizes, or of other ones where B, T and S are symbols. */
export const inputs = (p: Program, sizes: Sizes = p.sizes): { readonly [name: string]: HostArray } => {
  const from = arrays.random(p.seed)
  return Object.fromEntries(
    Object.entries(parameters(p)).map(([name, parameter]): [string, HostArray] => {
      const shape = parameter.shape.map((d) => (typeof d === "number" ? d : sizes[d as "B" | "T" | "S"]))
      return [name, filled(from, parameter, shape, sizes)]
    })
  )
}

const filled = (
  from: arrays.Random,
  { dtype, kind = "uniform" }: Parameter,
  shape: ReadonlyArray<number>,
  { S, T }: Sizes
): HostArray => {
  switch (kind) {
    case "uniform":
    case "normal":
    case "holes":
      return arrays.array(from, dtype, shape, kind)
    case "finite first": {
      const last = shape.at(-1) as number
      const numbers = HostArrays.toNumbers(arrays.array(from, dtype, shape, "holes"))
      return HostArrays.fromNumbers(
        dtype,
        shape,
        numbers.map((x, i) => (i % last === 0 ? 0.5 : x))
      )
    }
    case "scale":
      return HostArrays.fromNumbers(dtype, shape, [0.5])
    case "lengths":
      return arrays.integers(from, shape, 0, S)
    case "documents":
      return arrays.integers(from, shape, 0, 2)
    case "offset":
      return arrays.integers(from, shape, -1, Math.max(1, S - T))
    case "keep":
    case "keep first": {
      // A batch entry in four keeps nothing.
      const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1)
      const keeps = Array.from({ length: rows }, () => from.next() < 0.75)
      const last = shape.at(-1) as number
      return HostArrays.fromNumbers(
        dtype,
        shape,
        Array.from({ length: rows * last }, (_, i) =>
          (kind === "keep first" && i % last === 0) ||
          (keeps[Math.floor(i / last)] === true && from.next() < 0.7)
            ? 1
            : 0
        )
      )
    }
  }
}
