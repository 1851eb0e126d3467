import { at, build, type Dense } from "../tensors.ts"

/** Attention with projections as loops over numbers, written from the papers' formulas and nothing of ours. */
export interface Parameters {
  readonly query: Linear
  readonly key: Linear
  readonly value: Linear
  readonly out: Linear
}

/** weight [O, I], bias [O]. */
export interface Linear {
  readonly weight: Dense
  readonly bias?: Dense | undefined
}

/** What stands between logits and weights. All of it is optional; positions are numbers. */
export interface Steps {
  readonly scale?: number
  /** Of a logit by position. */
  readonly score?: (logit: number, b: number, h: number, i: number, j: number) => number
  readonly visible?: (b: number, h: number, i: number, j: number) => boolean
  readonly fill?: number
  readonly sink?: (h: number) => number
  /** On each head of queries and keys, after the projection. */
  readonly turn?: (
    head: ReadonlyArray<number>,
    position: number,
    of: "query" | "key"
  ) => ReadonlyArray<number>
  /** Rows of keys and values behind the others. */
  readonly extra?: ReadonlyArray<(side: "key" | "value", head: number, d: number) => number>
  /** A factor on what attention gives, by position of the joined heads. */
  readonly gate?: (b: number, i: number, e: number) => number
}

const project = ({ weight, bias }: Linear, x: Dense): Dense => {
  const [out, features] = weight.shape as [number, number]
  const [B, T] = x.shape as [number, number]
  return build([B, T, out], (b, t, o) => {
    let sum = bias === undefined ? 0 : at(bias, o)
    for (let f = 0; f < features; f++) sum += at(x, b, t, f) * at(weight, o, f)
    return sum
  })
}

/** q [B, T, F], k [B, S, FK], v [B, S, FV] to the result [B, T, O] and the weights [B, N, T, S]. */
export const attend = (
  p: Parameters,
  [q, k, v]: readonly [Dense, Dense, Dense],
  [heads, kvHeads]: readonly [number, number],
  steps: Steps = {}
): { readonly out: Dense; readonly weights: Dense } => {
  const [Q, K, V] = [project(p.query, q), project(p.key, k), project(p.value, v)]
  const [B, T] = q.shape as [number, number]
  const own = k.shape[1] as number
  const extra = steps.extra ?? []
  const S = own + extra.length
  const D = (Q.shape[2] as number) / heads
  const E = (V.shape[2] as number) / kvHeads
  const group = heads / kvHeads
  const row = (x: Dense, b: number, t: number, h: number, size: number): ReadonlyArray<number> =>
    Array.from({ length: size }, (_, d) => at(x, b, t, h * size + d))
  const turn = steps.turn ?? ((head) => head)
  const keyOf = (b: number, h: number, j: number): ReadonlyArray<number> =>
    j < own
      ? turn(row(K, b, j, h, D), j, "key")
      : Array.from({ length: D }, (_, d) => extra[j - own]?.("key", h, d) ?? 0)
  const valueOf = (b: number, h: number, j: number, e: number): number =>
    j < own ? at(V, b, j, h * E + e) : (extra[j - own]?.("value", h, e) ?? 0)
  const scale = steps.scale ?? 1 / Math.sqrt(D)

  const weightRow = (b: number, h: number, i: number): ReadonlyArray<number> => {
    const query = turn(row(Q, b, i, h, D), i, "query")
    const scores = Array.from({ length: S }, (_, j) => {
      const logit =
        scale * keyOf(b, Math.floor(h / group), j).reduce((s, x, d) => s + x * (query[d] as number), 0)
      const scored = steps.score?.(logit, b, h, i, j) ?? logit
      return (steps.visible?.(b, h, i, j) ?? true) ? scored : (steps.fill ?? -Infinity)
    })
    const sink = steps.sink?.(h) ?? -Infinity
    const top = Math.max(...scores, sink)
    if (top === -Infinity) return scores.map(() => 0)
    const powers = scores.map((s) => Math.exp(s - top))
    const sum = powers.reduce((a, b) => a + b, Math.exp(sink - top))
    return powers.map((x) => x / sum)
  }
  const rows = new Map<string, ReadonlyArray<number>>()
  const weight = (b: number, h: number, i: number, j: number): number => {
    const name = [b, h, i].join()
    const known = rows.get(name) ?? weightRow(b, h, i)
    rows.set(name, known)
    return known[j] as number
  }
  const weights = build([B, heads, T, S], weight)
  const joined = build([B, T, heads * E], (b, i, e) => {
    const h = Math.floor(e / E)
    let sum = 0
    for (let j = 0; j < S; j++) sum += weight(b, h, i, j) * valueOf(b, Math.floor(h / group), j, e % E)
    return sum * (steps.gate?.(b, i, e) ?? 1)
  })
  return { out: project(p.out, joined), weights }
}
