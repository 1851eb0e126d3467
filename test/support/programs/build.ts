import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Program } from "../programs.ts"
import { biasBeforeScale, biased, dims, type Inputs, masked, weigh, withSinks } from "./weights.ts"

type Any = Tensor.Tensor

/** q [B, H, T, D], k [B, M, S, D] and v [B, M, S, E], or what the layout has in their place. */
const opened = (p: Program, inputs: Inputs): readonly [q: Any, k: Any, v: Any] => {
  const [q, k, v] = [inputs["q"], inputs["k"], inputs["v"]] as [Any, Any, Any]
  const { M, G, D, E } = p.sizes
  const apart = (x: Any, heads: number, width: number): Any => {
    const [b, t] = dims(x) as [never, never]
    return Tensor.reshape(x, [b, t, heads, width])
  }
  const front = (x: Any): Any => Tensor.permute(x, [0, 2, 1, 3])
  if (p.layout === "bshd") return [front(q), front(k), front(v)]
  if (p.layout !== "packed") return [q, k, v]
  return [front(apart(q, M * G, D)), front(apart(k, M, D)), front(apart(v, M, E))]
}

const closed = (p: Program, out: Any): Any => {
  if (p.layout !== "bshd" && p.layout !== "packed") return out
  const back = Tensor.permute(out, [0, 2, 1, 3])
  return p.layout === "packed" ? Tensor.flatten(back, -2, -1) : back
}

/** Key/value heads [B, M, S, D] as often as query heads, [B, M * G, S, D]. */
const expanded = (p: Program, x: Any): Any => {
  const { M, G } = p.sizes
  const [b, m, s, d] = dims(x) as [never, never, never, never]
  switch (p.heads) {
    case "repeatHeads":
      return Tensor.repeatHeads(x, G)
    case "broadcast":
      return Tensor.reshape(Tensor.broadcastTo(Tensor.expandDims(x, 2), [b, m, G, s, d]), [b, M * G, s, d])
    case "stack":
      return Tensor.reshape(
        Tensor.stack(
          Array.from({ length: G }, () => x),
          2
        ),
        [b, M * G, s, d]
      )
    case "concat": {
      const head = (h: number): Any =>
        Tensor.slice(x, 1, { start: Math.floor(h / G), stop: Math.floor(h / G) + 1 })
      return Tensor.concat(
        Array.from({ length: M * G }, (_, h) => head(h)),
        1
      )
    }
    case "gather":
      return Tensor.take(
        x,
        Array.from({ length: M * G }, (_, h) => Math.floor(h / G)),
        1
      )
    case "computed gather":
      return Tensor.take(x, Tensor.floorDiv(Tensor.iota(M * G), G) as Tensor.Tensor<"i32">, 1)
    case "interleaved":
      return Tensor.tile(x, [1, G, 1, 1])
    case "grouped matmul":
      return x
  }
}

/** Whether q is [B, M, G, T, D] in the products, so that k and v keep their heads. */
const isGrouped = (p: Program): boolean =>
  p.layout === "grouped" || (p.heads === "grouped matmul" && p.layout !== "single")

/** Factors on queries, keys and logits that are 1/√D together (or 1, or 1/2). */
const factors = (p: Program, inputs: Inputs) => {
  const s = 1 / Math.sqrt(p.sizes.D)
  const same = (x: Any): Any => x
  const on = (where: "q" | "k" | "kT" | "scores", f: (x: Any) => Any) => ({
    q: same,
    k: same,
    kT: same,
    scores: same,
    [where]: f
  })
  switch (p.scale) {
    case "none":
      return on("q", same)
    case "scores * s":
      return on("scores", Tensor.mul(s))
    case "scores / s":
      return on("scores", Tensor.div(1 / s))
    case "q * s":
      return on("q", (x) => Tensor.mul(s, x))
    case "q / s":
      return on("q", Tensor.div(1 / s))
    case "kT * s":
      return on("kT", Tensor.mul(s))
    case "k * s":
      return on("k", Tensor.mul(s))
    case "√s on q and k": {
      const root = Math.sqrt(s)
      return { ...on("q", Tensor.mul(root)), k: (x: Any): Any => Tensor.mul(x, root) }
    }
    case "s / √d from q":
      return on("scores", (x) => Tensor.div(x, Tensor.cast(Tensor.sqrt(Tensor.constant(p.sizes.D)), x.dtype)))
    case "runtime scalar":
      return on("scores", (x) => Tensor.mul(x, inputs["scale"] as Any))
    case "filled tensor":
      return on("scores", (x) => Tensor.div(x, Tensor.full([1, 1, 1], 1 / s, x.dtype)))
    case "√ of a length":
      return on("scores", (x) =>
        Tensor.div(x, Tensor.sqrt(Tensor.cast(Tensor.size(inputs["k"] as Any, -1), x.dtype)))
      )
  }
}

/** q·kᵀ over the last axis of both, [..., T, S]. */
const product = (p: Program, q: Any, k: Any, onKeys: (kT: Any) => Any): Any => {
  const rank = q.rank
  const swapped = (x: Any): Any => Tensor.swapAxes(x, -2, -1)
  const letters = ["bqd,bkd->bqk", "bhqd,bhkd->bhqk", "bmgqd,bmgkd->bmgqk"][rank - 3] as string
  const [left, right, out] = letters.split(/,|->/) as [string, string, string]
  switch (p.keys) {
    case "transpose":
      return Tensor.matmul(q, onKeys(Tensor.transpose(k)))
    case "swapAxes":
      return Tensor.matmul(q, onKeys(swapped(k)))
    case "permute": {
      const order = k.shape.map((_, i) => i)
      return Tensor.matmul(q, onKeys(Tensor.permute(k, [...order.slice(0, -2), rank - 1, rank - 2])))
    }
    case "einsum":
      return Tensor.einsum(`${left},${right}->${out}`, q, onKeys(k))
    case "keys first":
      return Tensor.einsum(`${right},${left}->${out}`, onKeys(k), q)
    case "(K Qᵀ)ᵀ":
      return swapped(Tensor.matmul(onKeys(k), swapped(q)))
  }
}

/** The program as a function over its arguments; `out` is the attention. */
export const build =
  (p: Program) =>
  (inputs: Inputs): { readonly [name: string]: Any } => {
    const { M, G } = p.sizes
    const factor = factors(p, inputs)
    const [openedQ, openedK, openedV] = opened(p, inputs)
    const grouped = isGrouped(p)
    const lift = (x: Any): Any => Tensor.expandDims(x, 2)
    const [b, , t] = dims(openedQ) as [never, never, never]
    const s = dims(openedK).at(-2) as never
    let q = factor.q(openedQ)
    let k = factor.k(openedK)
    let v = openedV
    if (grouped) {
      q = p.layout === "grouped" ? q : Tensor.reshape(q, [b, M, G, t, p.sizes.D])
      ;[k, v] = [lift(k), lift(v)]
    } else if (p.layout !== "single") {
      ;[k, v] = [expanded(p, k), expanded(p, v)]
    }
    const flat = (x: Any): Any => (p.layout === "flat" ? Tensor.flatten(x, 0, 1) : x)
    const viewed = (x: Any): Any =>
      p.layout === "flat" || (grouped && p.layout !== "grouped") ? Tensor.reshape(x, [b, M * G, t, s]) : x
    const logits = viewed(product(p, flat(q), flat(k), factor.kT))
    const scaled = factor.scores(biasBeforeScale(p, inputs, logits))
    const capped = p.softcap ? (Score.softcap(2)(scaled as Tensor.Tensor<"f32">) as Any) : scaled
    const scores = masked(p, inputs, biased(p, inputs, capped))
    const { weights, divisor } = weigh(p, p.sinks ? withSinks(p, inputs, scores) : scores)
    const kept = p.sinks ? Tensor.slice(weights, -1, { start: 0, stop: s }) : weights
    const wide = grouped && p.layout !== "grouped"
    const onValues = wide ? Tensor.reshape(kept, [b, M, G, t, s]) : flat(kept)
    const product2 = Tensor.matmul(onValues, flat(v))
    const whole = wide || p.layout === "flat" ? Tensor.reshape(product2, [b, M * G, t, p.sizes.E]) : product2
    const out = closed(p, divisor === undefined ? whole : Tensor.div(whole, divisor))
    const extra: { readonly [name: string]: () => { readonly [name: string]: Any } } = {
      nothing: () => ({}),
      logits: () => ({ logits }),
      scores: () => ({ scores }),
      weights: () => ({ weights: kept }),
      logSumExp: () => ({ lse: Tensor.logSumExp(scores, -1) }),
      keys: () => ({ keys: Tensor.neg(openedK) }),
      "row sums": () => ({ sums: Tensor.sum(capped, -1) })
    }
    return { out, ...(extra[p.extra] as () => { readonly [name: string]: Any })() }
  }
