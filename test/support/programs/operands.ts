import * as Tensor from "../../../src/Tensor.ts"
import { letters, queryLetters, shapeOf } from "./arguments.ts"
import { type Any, type Lettered, order, shape, view } from "./Lettered.ts"
import type { Program } from "./Program.ts"

/** q, k and v as arguments come, to the axes that their contraction needs, and results back. */

export type Inputs = { readonly [name: string]: Any }

const unmerged = (text: string): string => text.replace(/[()]/g, "")

/** An argument with an axis for each letter, its types as the program wants them. */
const read = (p: Program, x: Any, text: string): Lettered => {
  const { operands, layout } = p.choices
  const typed =
    operands === "as they come"
      ? x
      : Tensor.cast(operands === "through f16" ? Tensor.cast(x, "f16") : x, "f32")
  const all = unmerged(text)
  if (layout !== "torch MHA")
    return text === all ? { x: typed, letters: text } : view(p, { x: typed, letters: "" }, all)
  // [L, N, H * d] is viewed as [L, N * H, d]: heads are as many.
  return view(p, { x: typed, letters: "" }, all.replace(/b[hm]/, "z"))
}

/** Letters with batch and heads in front of positions and features; axes of heads stay as they are. */
const front = (of: string): string => {
  const pick = (from: Iterable<string>, among: string) => [...from].filter((l) => among.includes(l)).join("")
  return pick("bnpz", of) + pick(of, "mogh") + pick("tsde", of)
}

/** Batch and head axes of scores. */
export const lead = ({ choices }: Program): string =>
  choices.layout === "torch MHA" ? "z" : front(unmerged(queryLetters(choices))).replace(/[td]/g, "")

/** Heads of a group as axes of their own: contiguous ones count within their key/value head, interleaved ones around them. */
const pair = ({ choices: c }: Program): string => (c.order === "interleaved" ? "gm" : "mg")

/** Whether groups are axes of the products. */
export const isGrouped = ({ choices: { heads } }: Program): boolean =>
  heads === "grouped matmul" || heads === "einsum" || heads === "einsum with an axis of 1"

/** Queries with the axes of groups, where the products have them. */
export const grouped = (p: Program, of: Lettered): Lettered =>
  isGrouped(p) && of.letters.includes("h") ? view(p, of, of.letters.replace("h", pair(p))) : of

/** Key/value heads as often as queries have heads, or ready to meet their groups. */
const expanded = (p: Program, of: Lettered): Lettered => {
  const { M, G } = p.sizes
  const interleaved = p.choices.order === "interleaved"
  const axis = of.letters.indexOf("m")
  const whole = of.letters.replace("m", "h")
  const done = (x: Any): Lettered => ({ x, letters: whole })
  const merged = (x: Any): Lettered => view(p, { x, letters: "" }, whole)
  /** An axis of 1 on the side of the heads where copies go. */
  const beside = interleaved ? axis : axis + 1
  const apart = (): Any => Tensor.expandDims(of.x, beside)
  const indices = Array.from({ length: M * G }, (_, h) => (interleaved ? h % M : Math.floor(h / G)))
  const copies = Array.from({ length: G }, () => of.x)
  const { heads } = p.choices
  switch (heads) {
    case "as many":
      return axis < 0 ? of : done(of.x)
    case "repeat":
      if (!interleaved) return done(Tensor.repeat(of.x, G, axis))
      // Repeated in a row, then sorted.
      return merged(
        Tensor.swapAxes(
          Tensor.reshape(Tensor.repeat(of.x, G, axis), shape(p, of.letters.replace("m", "mg"))) as Any,
          axis,
          axis + 1
        )
      )
    case "repeatHeads": {
      // The third axis from the end is repeated, so positions and features stand behind it.
      const ordered = toFront(of)
      return { x: Tensor.repeatHeads(ordered.x as never, G), letters: ordered.letters.replace("m", "h") }
    }
    case "expand and reshape":
      return merged(Tensor.broadcastTo(apart(), shape(p, of.letters.replace("m", pair(p)))))
    case "tile": {
      const times = [...of.letters].map((l) => (l === "m" && interleaved ? G : 1))
      if (interleaved) return done(Tensor.tile(of.x, times))
      return merged(
        Tensor.tile(
          apart(),
          [...of.letters.replace("m", "mg")].map((l) => (l === "g" ? G : 1))
        )
      )
    }
    case "stack":
      return merged(Tensor.stack(copies, beside))
    case "concat": {
      if (interleaved) return done(Tensor.concat(copies, axis))
      const head = (at: number): Any => Tensor.slice(of.x, axis, { start: at, stop: at + 1 })
      return done(Tensor.concat(indices.map(head), axis))
    }
    case "gather":
      return done(Tensor.take(of.x, indices, axis))
    case "computed gather": {
      const count = Tensor.iota(M * G)
      const at = interleaved ? Tensor.mod(count, M) : Tensor.floorDiv(count, G)
      return done(Tensor.take(of.x, at as Tensor.Tensor<"i32">, axis))
    }
    case "broadcast one head":
      return done(Tensor.broadcastTo(of.x, shape(p, whole)))
    case "einsum":
      return of
    case "grouped matmul":
    case "einsum with an axis of 1":
      return { x: apart(), letters: of.letters.replace("m", interleaved ? "om" : "mo") }
  }
}

/** The arguments read, in their own order of axes. */
export interface Opened {
  readonly q: Lettered
  readonly k: Lettered
  readonly v: Lettered
}

export const opened = (p: Program, inputs: Inputs, values = "v"): Opened => {
  const [, k, v] = letters[p.choices.layout]
  return {
    q: read(p, inputs["q"] as Any, queryLetters(p.choices)),
    k: read(p, inputs["k"] as Any, k),
    v: read(p, inputs[values] as Any, v)
  }
}

export const toFront = (of: Lettered): Lettered => order(of, front(of.letters))

/** Ready for the product of queries with keys. Some spellings of it take keys in the order in which they came. */
export const ready = (p: Program, { q, k, v }: Opened): Opened => {
  const { keys, values } = p.choices
  const asTheyCome = keys === "permute BSHD to BHDS" || keys === "einsum bqhd,bkhd"
  return {
    q: grouped(p, keys === "einsum bqhd,bkhd" ? q : toFront(q)),
    k: expanded(p, asTheyCome ? k : toFront(k)),
    v: expanded(p, values === "einsum" ? v : toFront(v))
  }
}

/** The result as the arguments lie. */
export const closed = (p: Program, out: Lettered): Any => {
  const text = queryLetters(p.choices).replace("d", "e")
  if (p.choices.layout === "torch MHA") return Tensor.flatten(view(p, order(out, "tze"), "tbhe").x, -2, -1)
  const apart = order(out, unmerged(text))
  return text === apart.letters ? apart.x : Tensor.reshape(apart.x, shapeOf(p, text))
}

/** Scores with one axis for all heads, where groups are axes of the products alone. */
export const headed = (p: Program, of: Lettered): Lettered =>
  isGrouped(p) && !lead(p).includes("g") ? view(p, of, of.letters.replace(/mg|gm/, "h")) : of
