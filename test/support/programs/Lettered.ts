import * as Dim from "../../../ir/Dim.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { lengths, type Program } from "./Program.ts"

/** Any tensor: programs are drawn, so types know nothing of their shapes. */
export type Any = Tensor.Tensor

/**
 * A tensor whose axes have letters: b, n, p batch, m key/value heads, g query heads of each, h both, t queries, s keys, d and e
 * features; z is b and h in one axis, o an axis of 1.
 */
export interface Lettered {
  readonly x: Any
  readonly letters: string
}

export const sizeOf = (p: Program, letter: string): Dim.Dim => {
  const { B, N, P, M, G, T, S, D, E } = lengths(p)
  const H = Dim.mul(M, G)
  const sizes: { readonly [letter: string]: Dim.Dim } = {
    b: B,
    n: N,
    p: P,
    m: M,
    g: G,
    h: H,
    z: Dim.mul(B, H),
    t: T,
    s: S,
    d: D,
    e: E,
    o: Dim.one
  }
  const found = sizes[letter]
  if (found === undefined) throw new Error(`no axis is called ${letter}`)
  return found
}

export const shape = (p: Program, letters: string): ReadonlyArray<Dim.Dim> =>
  [...letters].map((l) => sizeOf(p, l))

/** The same elements in the same order under other axes. */
export const view = (p: Program, { x }: Lettered, letters: string): Lettered => ({
  x: Tensor.reshape(x, shape(p, letters)),
  letters
})

/** The axes in another order. */
export const order = (of: Lettered, letters: string): Lettered =>
  of.letters === letters
    ? of
    : { x: Tensor.permute(of.x, [...letters].map((l) => of.letters.indexOf(l)) as never), letters }

/** Against scores [lead…, t, s]: an axis of 1 for each letter that the tensor lacks. Its letters are among bnphts, in that order. */
export const against = (p: Program, of: Lettered, lead: string): Any => {
  // Heads may be two axes of the scores, or one together with the batch.
  const heads = lead.replace(/[^mg]/g, "")
  let own = of
  if (lead.includes("z") && /[bh]/.test(own.letters)) {
    const rest = own.letters.replace(/[bh]/g, "")
    const ones = `${own.letters.includes("b") ? "b" : "o"}${own.letters.includes("h") ? "h" : "o"}${rest}`
    const wide = Tensor.broadcastTo(view(p, own, ones).x, shape(p, `bh${rest}`))
    own = view(p, { x: wide, letters: "" }, `z${rest}`)
  } else if (heads !== "" && own.letters.includes("h")) {
    own = view(p, own, own.letters.replace("h", heads))
  }
  const axes = [...`${lead}ts`].map((l) => (own.letters.includes(l) ? l : "o")).join("")
  return view(p, own, axes).x
}
