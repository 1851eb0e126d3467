import { at, build, type Dense } from "../tensors.ts"
import type { Linear, Parameters } from "./attend.ts"

/** Kernels with heads on axes of their own, [F, N, D] and [N, E, O…], as the maps that `attend` takes. */
export const parametersOf = (p: { readonly [name: string]: Dense }, out: string): Parameters => {
  const into = (name: string): Linear => {
    const kernel = p[`${name}.kernel`] as Dense
    const bias = p[`${name}.bias`]
    const [F, N, D] = kernel.shape as [number, number, number]
    return {
      weight: build([N * D, F], (o, f) => at(kernel, f, Math.floor(o / D), o % D)),
      bias: bias && { shape: [N * D], data: bias.data }
    }
  }
  const kernel = p[`${out}.kernel`] as Dense
  const bias = p[`${out}.bias`]
  const [N, E, ...rest] = kernel.shape as [number, number, ...Array<number>]
  const O = rest.reduce((a, b) => a * b, 1)
  return {
    query: into("query"),
    key: into("key"),
    value: into("value"),
    out: {
      weight: build([O, N * E], (o, i) => kernel.data[i * O + o] as number),
      bias: bias && { shape: [O], data: bias.data }
    }
  }
}
