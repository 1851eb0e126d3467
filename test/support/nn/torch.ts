import { at, build, type Dense } from "../tensors.ts"
import type { Linear, Parameters } from "./attend.ts"

/** PyTorch's layouts over numbers. */

export const rows = (x: Dense, from: number, to: number): Dense =>
  x.shape.length === 1
    ? build([to - from], (o) => at(x, from + o))
    : build([to - from, x.shape[1] as number], (o, i) => at(x, from + o, i))

/** [L, N, E] as [N, L, E], and back. */
export const swapped = (x: Dense): Dense => {
  const [a, b, c] = x.shape as [number, number, number]
  return build([b, a, c], (i, j, f) => at(x, j, i, f))
}

/** PyTorch's parameters, whose names begin with `prefix`, as four linear maps. */
export const linears = (p: { readonly [name: string]: Dense }, prefix = ""): Parameters => {
  const weight = p[`${prefix}out_proj.weight`] as Dense
  const E = weight.shape[0] as number
  const bias = p[`${prefix}in_proj_bias`]
  const own = (n: number, name: string): Linear => ({
    weight: p[prefix + name] ?? rows(p[`${prefix}in_proj_weight`] as Dense, n * E, (n + 1) * E),
    bias: bias && rows(bias, n * E, (n + 1) * E)
  })
  return {
    query: own(0, "q_proj_weight"),
    key: own(1, "k_proj_weight"),
    value: own(2, "v_proj_weight"),
    out: { weight, bias: p[`${prefix}out_proj.bias`] }
  }
}
