import {
  type Definition,
  define,
  Mask,
  type Signature,
  spec,
  Tensor,
  type TensorsOf
} from "../../src/index.ts"

/**
 * A piece of the gallery: attention that compiles and runs, and the lengths and numbers at which `show.ts` draws it. `Definition` is
 * what the command line takes: `effuse explain examples/gallery/causal.ts`.
 */
export interface Exhibit extends Definition {
  readonly about: string
  /** Lengths by name. */
  readonly lengths: Readonly<Record<string, number>>
  /** Numbers of the arguments in row-major order; what is not given is 0. */
  readonly data: Readonly<Record<string, Iterable<number>>>
}

/** What a piece says of itself. Its other inputs come by name, next to q, k and v. */
export interface Piece<S extends Signature> extends Partial<Pick<Exhibit, "data">> {
  /** One sentence, and who wrote it first. */
  readonly about: string
  readonly inputs?: S
  readonly mask?: (inputs: TensorsOf<S>) => Mask.Keep
  /** What happens to logits [B, H, T, S] between the product with the keys and the mask. */
  readonly score?: (logits: Tensor.Tensor<"f32">, inputs: TensorsOf<S>) => Tensor.Tensor
  readonly heads?: number
  /** Lengths of queries and keys, where they are not one length T. */
  readonly queries?: string
  readonly keys?: string
  readonly lengths: Exhibit["lengths"]
}

/** softmax(mask(score(q·kᵀ / √8)))·v, with two heads of size 8 unless the piece says otherwise. */
export const exhibit = <const S extends Signature>(piece: Piece<S>): Exhibit => {
  const { about, heads = 2, queries = "T", keys = queries, lengths, data = {}, inputs, mask, score } = piece
  const operands = {
    q: spec("f32", ["B", heads, queries, 8]),
    k: spec("f32", ["B", heads, keys, 8]),
    v: spec("f32", ["B", heads, keys, 8])
  }
  const fn = ({ q, k, v, ...rest }: TensorsOf<typeof operands>): Tensor.Tensor => {
    const own = rest as unknown as TensorsOf<S>
    const logits: Tensor.Tensor = Tensor.mul(Tensor.matmul(q, Tensor.transpose(k)), 1 / Math.sqrt(8))
    const scores = score?.(logits as Tensor.Tensor<"f32">, own) ?? logits
    const seen = mask === undefined ? scores : Mask.apply(scores, mask(own))
    return Tensor.matmul(Tensor.softmax(seen, -1), v)
  }
  const definition = define(fn, { ...operands, ...inputs }, { requireFused: true })
  return { ...definition, about, lengths: { B: 1, ...lengths }, data } as unknown as Exhibit
}
