import { type HostArray, zeros } from "../../ir/HostArray.ts"
import { AttrError, ParamsError } from "../errors.ts"
import * as Host from "./hostMovement.ts"

/**
 * Weights of an attention layer as each framework keeps them, one from another. Values go by name: those of `nn.torch`, `nn.mlx`, `nn.keras`, `nn.flax` and
 * of `nn.attention` itself ("effuse"). Shapes: F features in, N query heads, M key/value heads, D head size, E value head size, O features out.
 */
export type Layout = "effuse" | "torch" | "mlx" | "keras" | "flax"

/** Values by name. */
export type State = { readonly [name: string]: HostArray }

export interface Heads {
  /** N. */
  readonly heads: number
  /** M; N unless told otherwise. */
  readonly kvHeads?: number | undefined
  /** O as several axes, which Keras' layer may have. */
  readonly outFeatures?: ReadonlyArray<number> | undefined
}

type Projection = "query" | "key" | "value" | "out" | "gate"

const inputs = ["query", "key", "value", "gate"] as const

/** Names that a layout may hold, so that nothing is lost unseen. Those of Keras' files have slashes. */
const reader = (given: State, layout: string) => {
  const state = Object.fromEntries(Object.entries(given).map(([name, x]) => [name.replaceAll("/", "."), x]))
  const left = new Set(Object.keys(state))
  return {
    take: (name: string): HostArray | undefined => {
      left.delete(name)
      return Object.hasOwn(state, name) ? state[name] : undefined
    },
    finish: (): void => {
      if (left.size === 0) return
      const problems = [...left].map((name) => `${name} is not a parameter of ${layout}`)
      throw new ParamsError({ message: problems.join("\n"), problems })
    }
  }
}

const put = (into: { [name: string]: HostArray }, name: string, value: HostArray | undefined): void => {
  if (value !== undefined) into[name] = value
}

/** [F, N, D] and [N, D] as [N·D, F] and [N·D]. */
const flatIn = (kernel: HostArray): HostArray => {
  const [from, count, size] = kernel.shape as readonly [number, number, number]
  return Host.transpose(Host.reshape(kernel, [from, count * size]))
}

const wideIn = (weight: HostArray, count: number): HostArray => {
  const [to, from] = weight.shape as readonly [number, number]
  if (to % count !== 0)
    throw new AttrError({
      op: "convert",
      message: `${to} rows do not divide by ${count} heads`,
      hint: "say how many heads there are"
    })
  return Host.reshape(Host.transpose(weight), [from, count, to / count])
}

const flat = (x: HostArray): HostArray => Host.reshape(x, [x.data.length])

/** Kernels with heads on axes of their own: Keras and Flax, which differ in names. */
const kernels = (names: { readonly out: string; readonly norm?: readonly [query: string, key: string] }) => ({
  read: (state: State, layout: Layout): State => {
    const { take, finish } = reader(state, layout)
    const found: { [name: string]: HostArray } = {}
    for (const name of inputs) {
      const [kernel, bias] = [take(`${name}.kernel`), take(`${name}.bias`)]
      put(found, `${name}.weight`, kernel && flatIn(kernel))
      put(found, `${name}.bias`, bias && flat(bias))
    }
    const [kernel, bias] = [take(`${names.out}.kernel`), take(`${names.out}.bias`)]
    if (kernel !== undefined) {
      const summed = (kernel.shape[0] as number) * (kernel.shape[1] as number)
      put(found, "out.weight", Host.transpose(Host.reshape(kernel, [summed, kernel.data.length / summed])))
    }
    put(found, "out.bias", bias && flat(bias))
    names.norm?.forEach((norm, n) => {
      put(found, n === 0 ? "queryNorm.weight" : "keyNorm.weight", take(norm))
    })
    finish()
    return found
  },
  write: (state: State, { heads, kvHeads = heads, outFeatures }: Heads, layout: Layout): State => {
    const { take, finish } = reader(state, layout)
    const made: { [name: string]: HostArray } = {}
    for (const name of inputs) {
      const count = name === "query" || name === "gate" ? heads : kvHeads
      const [weight, bias] = [take(`${name}.weight`), take(`${name}.bias`)]
      put(made, `${name}.kernel`, weight && wideIn(weight, count))
      put(made, `${name}.bias`, bias && Host.reshape(bias, [count, bias.data.length / count]))
    }
    const weight = take("out.weight")
    if (weight !== undefined) {
      const [to, from] = weight.shape as readonly [number, number]
      const kernel = Host.transpose(weight)
      put(made, `${names.out}.kernel`, Host.reshape(kernel, [heads, from / heads, ...(outFeatures ?? [to])]))
    }
    const bias = take("out.bias")
    put(made, `${names.out}.bias`, bias && Host.reshape(bias, outFeatures ?? bias.shape))
    names.norm?.forEach((norm, n) => {
      put(made, norm, take(n === 0 ? "queryNorm.weight" : "keyNorm.weight"))
    })
    finish()
    return made
  }
})

const mlxName = (name: Projection): string => `${name}_proj`

interface Format {
  /** As "effuse" names them. */
  readonly read: (state: State, layout: Layout, heads: Heads) => State
  readonly write: (state: State, heads: Heads, layout: Layout) => State
}

const torch: Format = {
  read: (state, layout, { heads }) => {
    const { take, finish } = reader(state, layout)
    const found: { [name: string]: HostArray } = {}
    const [packed, bias] = [take("in_proj_weight"), take("in_proj_bias")]
    const own = [take("q_proj_weight"), take("k_proj_weight"), take("v_proj_weight")]
    const third = (x: HostArray | undefined, n: number): HostArray | undefined => {
      if (x === undefined) return undefined
      const size = (x.shape[0] as number) / 3
      if (Number.isInteger(size)) return Host.rows(x, n * size, (n + 1) * size)
      const problems = [`a packed projection has ${x.shape[0]} rows, which are not those of three`]
      throw new ParamsError({ message: problems.join(), problems })
    }
    for (const [n, name] of (["query", "key", "value"] as const).entries()) {
      put(found, `${name}.weight`, own[n] ?? third(packed, n))
      put(found, `${name}.bias`, third(bias, n))
    }
    put(found, "out.weight", take("out_proj.weight"))
    put(found, "out.bias", take("out_proj.bias"))
    for (const [from, to] of [
      ["bias_k", "extraKey"],
      ["bias_v", "extraValue"]
    ] as const) {
      const row = take(from)
      put(found, to, row && Host.reshape(row, [1, heads, 1, row.data.length / heads]))
    }
    finish()
    return found
  },
  write: (state, { heads, kvHeads = heads }, layout) => {
    if (kvHeads !== heads) {
      throw new AttrError({
        op: "convert",
        message: `PyTorch's layer has as many key/value heads as query heads, not ${kvHeads} for ${heads}`,
        hint: "repeat the rows of the key and value projections"
      })
    }
    const { take, finish } = reader(state, layout)
    const made: { [name: string]: HostArray } = {}
    const names = ["query", "key", "value"] as const
    const weights = names.map((n) => take(`${n}.weight`))
    const biases = names.map((n) => take(`${n}.bias`))
    const whole = (xs: ReadonlyArray<HostArray | undefined>): ReadonlyArray<HostArray> =>
      xs.filter((x) => x !== undefined)
    const [E] = weights[0]?.shape ?? []
    const other = whole([...weights.slice(1), state["out.weight"]]).find((w) => w.shape[0] !== E)
    if (other !== undefined || weights[0]?.shape[1] !== E) {
      throw new AttrError({
        op: "convert",
        message: `PyTorch's layer has as many features in its heads as in its queries and its result, not ${weights[0]?.shape.join(" x ")}${other === undefined ? "" : ` and ${other.shape.join(" x ")}`}`,
        hint: "keep it in another layout"
      })
    }
    const alike = new Set(whole(weights).map((w) => w.shape.join())).size === 1
    if (alike) put(made, "in_proj_weight", Host.concat(whole(weights)))
    else for (const [n, weight] of weights.entries()) put(made, `${"qkv"[n]}_proj_weight`, weight)
    const like = whole(biases)[0]
    // All three or none: a projection without a bias, such as Whisper's of keys, adds zeros.
    if (like !== undefined)
      put(made, "in_proj_bias", Host.concat(biases.map((b) => b ?? zeros(like.dtype, like.shape))))
    put(made, "out_proj.weight", take("out.weight"))
    put(made, "out_proj.bias", take("out.bias"))
    for (const [from, to] of [
      ["extraKey", "bias_k"],
      ["extraValue", "bias_v"]
    ] as const) {
      const row = take(from)
      put(made, to, row && Host.reshape(row, [1, 1, row.data.length]))
    }
    finish()
    return made
  }
}

const mlx: Format = {
  read: (state, layout) => {
    const { take, finish } = reader(state, layout)
    const found: { [name: string]: HostArray } = {}
    for (const name of ["query", "key", "value", "out"] as const)
      for (const part of ["weight", "bias"]) put(found, `${name}.${part}`, take(`${mlxName(name)}.${part}`))
    finish()
    return found
  },
  write: (state, _, layout) => {
    const { take, finish } = reader(state, layout)
    const made: { [name: string]: HostArray } = {}
    for (const name of ["query", "key", "value", "out"] as const)
      for (const part of ["weight", "bias"]) put(made, `${mlxName(name)}.${part}`, take(`${name}.${part}`))
    finish()
    return made
  }
}

const formats: { readonly [L in Layout]: Format } = {
  effuse: { read: (state) => state, write: (state) => state },
  torch,
  mlx,
  keras: kernels({ out: "attention_output" }),
  flax: kernels({ out: "out", norm: ["query_ln.scale", "key_ln.scale"] })
}

/**
 * The weights of one attention layer, from one layout to another. Throws `ParamsError` for names that a layout does not have, which would be
 * lost, and for weights that are missing, `AttrError` for heads that it cannot have.
 */
export const convert = (state: State, from: Layout, to: Layout, heads: Heads): State => {
  const own = formats[from].read(state, from, heads)
  const problems = (["query", "key", "value", "out"] as const).flatMap((name) =>
    own[`${name}.weight`] === undefined ? [`the weight of ${name} is missing`] : []
  )
  if (problems.length > 0) throw new ParamsError({ message: problems.join("\n"), problems })
  return formats[to].write(own, heads, to)
}
