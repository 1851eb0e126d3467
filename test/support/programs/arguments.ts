import * as Dim from "../../../ir/Dim.ts"
import type * as DType from "../../../ir/DType.ts"
import type { HostArray } from "../../../ir/HostArray.ts"
import * as HostArrays from "../../../ir/HostArray.ts"
import { type Spec, spec } from "../../../src/spec.ts"
import * as arrays from "../arrays.ts"
import type { Choices } from "./Axes.ts"
import { shape } from "./Lettered.ts"
import { fill, type Program, type Sizes } from "./Program.ts"

/** How the numbers of an argument are drawn. */
type Kind = "uniform" | "scale" | "additive" | "lengths" | "ids" | "starts" | "keep" | "offset" | "seed"

interface Parameter {
  readonly dtype: DType.DType
  readonly shape: ReadonlyArray<Dim.Dim>
  readonly kind: Kind
}

/** The axes of q, k and v of each layout, as `Lettered` has them; a bracket is one axis. */
export const letters: { readonly [L in Choices["layout"]]: readonly [q: string, k: string, v: string] } = {
  BHSD: ["bhtd", "bmsd", "bmse"],
  BSHD: ["bthd", "bsmd", "bsme"],
  "packed BS(H·D)": ["bt(hd)", "bs(md)", "bs(me)"],
  SBHD: ["tbhd", "sbmd", "sbme"],
  "torch MHA": ["tb(hd)", "sb(md)", "sb(me)"],
  flattened: ["bhtd", "bmsd", "bmse"],
  "(B·H)SD": ["btd", "bsd", "bse"],
  HSD: ["htd", "msd", "mse"],
  SD: ["td", "sd", "se"],
  "grouped 5-D": ["bmgtd", "bmsd", "bmse"],
  "5-D": ["bnhtd", "bnmsd", "bnmse"],
  "6-D": ["bnphtd", "bnpmsd", "bnpmse"]
}

/** The letters of the queries: groups that interleave count around their key/value heads. */
export const queryLetters = ({ layout, order }: Choices): string =>
  layout === "grouped 5-D" && order === "interleaved" ? "bgmtd" : letters[layout][0]

export const shapeOf = (p: Program, text: string): ReadonlyArray<Dim.Dim> =>
  [...text.matchAll(/\((\w+)\)|\w/g)].map(([one, merged]) => Dim.product(shape(p, merged ?? one)))

/** Masks that are data say for each pair, or for each key of a batch entry, who takes part. */
const maskLetters: { readonly [source: string]: string } = {
  "padding [B, S]": "bs",
  "tensor [T, S]": "ts",
  "tensor [B, T, S]": "bts"
}

/** Whether the mask is data that is added as it is. */
export const isAdditive = (c: Choices): boolean =>
  (c.mask === "s + m" || c.mask === "m + s") && c.kind === "float" && maskLetters[c.source] !== undefined

const parameters = (p: Program): { readonly [name: string]: Parameter } => {
  const { choices: c } = p
  const found: { [name: string]: Parameter } = {}
  const add = (name: string, dtype: DType.DType, axes: string, kind: Kind = "uniform"): void => {
    found[name] = { dtype, shape: shapeOf(p, axes), kind }
  }
  const [, k, v] = letters[c.layout]
  add("q", c.dtype, queryLetters(c))
  add("k", c.dtype, k)
  add("v", c.dtype, v)
  if (c.scalar === "runtime scalar") add("scale", c.dtype, "", "scale")
  const data = maskLetters[c.source]
  if (c.mask !== "none" && data !== undefined) {
    if (isAdditive(c)) add("mask", c.dtype, data, "additive")
    else add("mask", c.kind === "float" ? c.dtype : c.kind, data, "keep")
  }
  if (c.mask !== "none") {
    if (c.source === "lengths") add("lengths", "i32", "b", "lengths")
    if (c.source === "offset for each batch entry") add("offset", "i32", "b", "offset")
    if (c.source === "segments" || c.source === "segments by cumsum") {
      const kind = c.source === "segments" ? "ids" : "starts"
      add("from", "i32", "bt", kind)
      add("to", "i32", "bs", kind)
    }
  }
  if (c.second === "padding") add("padding", "bool", "bs", "keep")
  if (c.second === "additive") add("second", c.dtype, "ts", "additive")
  if (c.bias === "s + tensor" || c.bias === "tensor + s") add("bias", c.dtype, "ts")
  if (c.bias === "for each head") add("bias", c.dtype, "hts")
  if (c.bias === "two") {
    add("bias", c.dtype, "hts")
    add("keys' bias", c.dtype, "bs")
  }
  if (c.bias === "learned table" || c.bias === "T5 buckets")
    found["table"] = {
      dtype: c.dtype,
      shape: [...shapeOf(p, "h"), Dim.constant(c.bias === "learned table" ? 9 : 32)],
      kind: "uniform"
    }
  if (c.bias === "ALiBi") add("slopes", c.dtype, "h")
  if (c.sinks !== "none") add("sinks", c.dtype, "h")
  if (c.dropout === "Tensor.dropout") add("seed", "u32", "", "seed")
  else if (c.dropout !== "none")
    add("kept", "bool", c.dropoutOf === "each weight" ? fullLetters(c) : "ts", "keep")
  if (c.user === "other values") add("other", c.dtype, v)
  return found
}

/** The axes of weights, with one for all heads. */
export const fullLetters = ({ layout }: Choices): string => {
  const [q] = letters[layout]
  const batch = ["b", "n", "p"].filter((l) => q.includes(l)).join("")
  const heads = q.includes("h") || layout === "grouped 5-D" ? "h" : ""
  return `${batch}${heads}ts`
}

/** The arguments' types, for `compile`. */
export const signature = (p: Program): { readonly [name: string]: Spec } =>
  Object.fromEntries(
    Object.entries(parameters(p)).map(([name, { dtype, shape }]) => [name, spec(dtype, shape)])
  )

/** Arguments of the program's sizes, or of others where B, T and S are symbols. Each depends on the seed and its own name alone. */
export const inputs = (p: Program, sizes: Sizes = p.sizes): { readonly [name: string]: HostArray } =>
  Object.fromEntries(
    Object.entries(parameters(p)).map(([name, parameter]): [string, HostArray] => {
      const hash = [...name].reduce((h, c) => Math.imul(h, 31) + c.charCodeAt(0), p.seed)
      const { B, T, S } = sizes
      const shape = parameter.shape.map((d) => Dim.evaluate(d, { B, T, S }))
      return [name, filled(p, arrays.random(hash), parameter, shape, sizes)]
    })
  )

const filled = (
  p: Program,
  from: arrays.Random,
  { dtype, kind }: Parameter,
  shape: ReadonlyArray<number>,
  { S, T }: Sizes
): HostArray => {
  const numbers = (of: () => number): HostArray =>
    HostArrays.fromNumbers(dtype, shape, Float64Array.from({ length: HostArrays.sizeOf(shape) }, of))
  const last = shape.at(-1) as number
  /** Three in four rows keep most of their keys, the others none. */
  const keeps = (): (() => boolean) => {
    let [at, row] = [0, false]
    return () => {
      if (at++ % last === 0) row = from.next() < 0.75
      return row && from.next() < 0.7
    }
  }
  switch (kind) {
    case "uniform":
      return arrays.array(from, dtype, shape, "uniform")
    case "additive": {
      const keep = keeps()
      return numbers(() => (keep() ? 2 * from.next() - 1 : fill(p)))
    }
    case "keep": {
      const keep = keeps()
      return numbers(() => (keep() ? 1 : 0))
    }
    case "scale":
      return numbers(() => 0.5)
    case "lengths":
      return numbers(() => from.integer(0, S))
    case "ids":
      return numbers(() => from.integer(0, 2))
    case "starts":
      return numbers(() => from.integer(0, 1))
    case "offset":
      return numbers(() => from.integer(-1, Math.max(1, S - T)))
    case "seed":
      return numbers(() => from.integer(0, 1e6))
  }
}
