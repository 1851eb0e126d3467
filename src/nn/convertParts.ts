import type { HostArray } from "../../ir/HostArray.ts"
import { ParamsError } from "../errors.ts"
import { convert, type Heads, type Layout, type State } from "./convert.ts"
import * as Host from "./hostMovement.ts"

/** What a part of a model is: its parameters have other names and shapes in each framework. */
export type Part =
  | ({ readonly kind: "attention" } & Heads)
  | { readonly kind: "linear" }
  | { readonly kind: "norm" }
  | { readonly kind: "embedding" }

/** Names of a weight and a bias, and whether the weight is [I, O] and not [O, I]. */
interface Names {
  readonly weight: string
  readonly bias: string
  readonly turned?: boolean
}

const own: Names = { weight: "weight", bias: "bias" }

const names: { readonly [K in Exclude<Part["kind"], "attention">]: { readonly [L in Layout]: Names } } = {
  linear: {
    ...{ effuse: own, torch: own, mlx: own },
    keras: { weight: "kernel", bias: "bias", turned: true },
    flax: { weight: "kernel", bias: "bias", turned: true }
  },
  norm: {
    ...{ effuse: own, torch: own, mlx: own },
    keras: { weight: "gamma", bias: "beta" },
    flax: { weight: "scale", bias: "bias" }
  },
  embedding: {
    ...{ effuse: own, torch: own, mlx: own },
    keras: { weight: "embeddings", bias: "bias" },
    flax: { weight: "embedding", bias: "bias" }
  }
}

const converted = (state: State, part: Part, from: Layout, to: Layout): State => {
  if (part.kind === "attention") return convert(state, from, to, part)
  const [old, now] = [names[part.kind][from], names[part.kind][to]]
  const turn = (x: HostArray): HostArray => (old.turned === now.turned ? x : Host.transpose(x))
  return Object.fromEntries(
    Object.entries(state).map(([name, x]) => {
      if (name === old.weight) return [now.weight, turn(x)]
      if (name === old.bias) return [now.bias, x]
      const problems = [`${name} is not a parameter of ${from}'s ${part.kind}`]
      throw new ParamsError({ message: problems.join(), problems })
    })
  )
}

/** Where a tensor stands: the longest part whose name stands before its own. */
const placeOf = (name: string, parts: ReadonlyArray<string>): string | undefined =>
  parts
    .filter((p) => name.startsWith(`${p}.`))
    .reduce<string | undefined>(
      (best, p) => (best === undefined || p.length > best.length ? p : best),
      undefined
    )

/**
 * The weights of a model, from one framework's layout to another's: `parts` says what stands under which name, `{ "encoder.0.attn": { kind:
 * "attention", heads: 8 }, "encoder.0.norm": { kind: "norm" } }`. The names of parts stay. Throws `ParamsError` for tensors under none of them,
 * all at once, and what `convert` throws.
 */
export const convertParts = (
  state: State,
  parts: { readonly [name: string]: Part },
  from: Layout,
  to: Layout
): State => {
  const plain = Object.entries(state).map(([name, x]) => [name.replaceAll("/", "."), x] as const)
  const places = plain.map(([name]) => placeOf(name, Object.keys(parts)))
  const problems = plain.flatMap(([name], n) => (places[n] === undefined ? [`${name} is in no part`] : []))
  if (problems.length > 0) throw new ParamsError({ message: problems.join("\n"), problems })
  return Object.fromEntries(
    Object.entries(parts).flatMap(([place, part]) => {
      const inside = plain.filter((_, n) => places[n] === place)
      const values = Object.fromEntries(inside.map(([name, x]) => [name.slice(place.length + 1), x]))
      return Object.entries(converted(values, part, from, to)).map(
        ([name, x]) => [`${place}.${name}`, x] as const
      )
    })
  )
}
