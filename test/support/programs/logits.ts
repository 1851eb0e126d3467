import * as Dim from "../../../ir/Dim.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Choices } from "./Axes.ts"
import { type Any, type Lettered, order, sizeOf, view } from "./Lettered.ts"
import type { Inputs } from "./operands.ts"
import { type Program, scaleOf } from "./Program.ts"

/** Products of queries with keys and of weights with values, and what scales them. */

type Change = (x: Any) => Any

const same: Change = (x) => x

/** The scale as it is passed, or one over it. */
const scalar = (p: Program, inputs: Inputs, inverse: boolean): ((dtype: Any["dtype"]) => Any | number) => {
  const s = inverse ? 1 / scaleOf(p) : scaleOf(p)
  const overRoot = (root: Any): Any => (inverse ? root : Tensor.div(1, root))
  switch (p.choices.scalar) {
    case "number":
      return () => s
    case "0-d tensor":
      return (dtype) => Tensor.constant(s, dtype)
    case "filled tensor":
      return (dtype) => Tensor.full([1, 1], s, dtype)
    case "runtime scalar":
      return (dtype) => {
        const given = Tensor.cast(inputs["scale"] as Any, dtype)
        return inverse ? Tensor.div(1, given) : given
      }
    case "√ of the head size":
      return (dtype) => Tensor.cast(overRoot(Tensor.sqrt(Tensor.constant(p.sizes.D))), dtype)
    case "√ of a length":
      return (dtype) =>
        Tensor.cast(overRoot(Tensor.sqrt(Tensor.cast(Tensor.size(inputs["k"] as Any, -1), "f32"))), dtype)
  }
}

interface Factors {
  readonly q: Change
  readonly k: Change
  readonly kT: Change
  readonly scores: Change
  /** On a bias that is added before the scores are scaled, where that is to change nothing. */
  readonly bias: Change
}

export const factors = (p: Program, inputs: Inputs): Factors => {
  const none: Factors = { q: same, k: same, kT: same, scores: same, bias: same }
  const dividing = new Set<Choices["scale"]>(["qk / s", "q / s", "k / s"])
  const { scale } = p.choices
  const s = scalar(p, inputs, dividing.has(scale))
  const times: Change = (x) => Tensor.mul(x, s(x.dtype))
  const over: Change = (x) => Tensor.div(x, s(x.dtype))
  switch (scale) {
    case "none":
      return none
    case "qk * s":
      return { ...none, scores: times }
    case "qk / s":
      return { ...none, scores: over }
    case "q * s":
      return { ...none, q: (x) => Tensor.mul(s(x.dtype), x) }
    case "q / s":
      return { ...none, q: over }
    case "kT * s":
      return { ...none, kT: times }
    case "k * s":
      return { ...none, k: times }
    case "k / s":
      return { ...none, k: over }
    case "√s on q and k": {
      const root = (x: Any): Any | number => {
        const own = s(x.dtype)
        return typeof own === "number" ? Math.sqrt(own) : Tensor.sqrt(own)
      }
      return { ...none, q: (x) => Tensor.mul(x, root(x)), k: (x) => Tensor.mul(root(x), x) }
    }
    case "(qk + bias / s) * s":
      return { ...none, scores: times, bias: over }
  }
}

/** The axes before the last two as one. */
const three = (p: Program, of: Lettered): Any => {
  const [rows, columns] = [...of.letters.slice(-2)].map((l) => sizeOf(p, l)) as [Dim.Dim, Dim.Dim]
  const batch = [...of.letters.slice(0, -2)].map((l) => sizeOf(p, l))
  return Tensor.reshape(of.x, [Dim.product(batch), rows, columns])
}

const swap = (x: Any): Any => Tensor.swapAxes(x, -2, -1)
const swapped = ({ x, letters }: Lettered): Lettered => ({
  x: swap(x),
  letters: `${letters.slice(0, -2)}${[...letters.slice(-2)].reverse().join("")}`
})

/** What a product over broadcast axes of 1 has: those of the left. */
const named = (x: Any, left: Lettered, right: Lettered): Lettered => ({
  x,
  letters: `${left.letters.slice(0, -1)}${right.letters.slice(-1)}`
})

const einsum = (left: Lettered, right: Lettered, result: string): Lettered => {
  // An axis of 1 beside the heads is called as what it meets.
  const own = right.letters.replace("o", "g")
  return { x: Tensor.einsum(`${left.letters},${own}->${result}`, left.x, right.x), letters: result }
}

/** Batch axes of 1 have no place in 3-D: they are stretched there. */
const stretched = (p: Program, of: Lettered, like: Lettered): Lettered => {
  if (!of.letters.includes("o")) return of
  const letters = `${like.letters.slice(0, -2)}${of.letters.slice(-2)}`
  return {
    x: Tensor.broadcastTo(
      of.x,
      [...letters].map((l) => sizeOf(p, l))
    ),
    letters
  }
}

/** q·kᵀ: the letters of the queries with keys for features. */
export const product = (p: Program, q: Lettered, k: Lettered, onKeys: Change): Lettered => {
  const changed = { x: onKeys(k.x), letters: k.letters }
  const batch = q.letters.replace(/[td]/g, "")
  const transposed = (kT: Any): Lettered => named(Tensor.matmul(q.x, onKeys(kT)), q, { x: kT, letters: "ds" })
  const rank = k.letters.length
  switch (p.choices.keys) {
    case "swap the last axes":
      return transposed(swap(k.x))
    case "transpose":
      return transposed(Tensor.transpose(k.x))
    case "permute by number":
      return transposed(
        Tensor.permute(k.x, [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2] as never)
      )
    case "permute BSHD to BHDS":
      return transposed(order(k, `${k.letters.replace(/[sd]/g, "")}ds`).x)
    case "einsum bhqd,bhkd":
      return einsum(q, changed, `${batch}ts`)
    case "einsum bqhd,bkhd":
      return einsum(q, changed, `${batch}ts`)
    case "einsum bhkd,bhqd": {
      const own = changed.letters.replace("o", "g")
      return {
        x: Tensor.einsum(`${own},${q.letters}->${batch}ts`, changed.x, q.x),
        letters: `${batch}ts`
      }
    }
    case "bmm of 3-D": {
      const kT = onKeys(swap(three(p, stretched(p, k, q))))
      return view(p, { x: Tensor.matmul(three(p, q), kT), letters: "" }, `${batch}ts`)
    }
    case "transposed queries":
      return einsum(swapped(q), changed, `${batch}ts`)
    case "(K Qᵀ)ᵀ":
      return { x: swap(Tensor.matmul(changed.x, swap(q.x))), letters: `${batch}ts` }
  }
}

/** Weights [lead…, t, s] times values; `inFront` wants heads in front of positions. */
export const onValues = (p: Program, weights: Lettered, v: Lettered, inFront: boolean): Lettered => {
  switch (p.choices.values) {
    case "P V":
      return named(Tensor.matmul(weights.x, v.x), weights, v)
    case "einsum": {
      // Where queries came with heads behind positions, so may results.
      const behind = !inFront && /^(BSHD|packed|SBHD)/.test(p.choices.layout)
      const own = weights.letters.replace("s", "e")
      return einsum(weights, v, behind ? own.replace(/^b(.*)te$/, "bt$1e") : own)
    }
    case "(Vᵀ Pᵀ)ᵀ":
      return named(swap(Tensor.matmul(swap(v.x), swap(weights.x))), weights, v)
    case "bmm of 3-D": {
      const out = Tensor.matmul(three(p, weights), three(p, stretched(p, v, weights)))
      return view(p, { x: out, letters: "" }, `${weights.letters.slice(0, -1)}e`)
    }
  }
}

/** Queries, keys, values or weights as [B * H, …], where the layout flattens them. */
export const flat = (p: Program, of: Lettered): Lettered =>
  p.choices.layout === "flattened" ? view(p, of, of.letters.replace("bh", "z")) : of

export const unflat = (p: Program, of: Lettered): Lettered =>
  p.choices.layout === "flattened" ? view(p, of, of.letters.replace("z", "bh")) : of
