import { AttrError } from "../../errors.ts"
import * as Tensor from "../../Tensor.ts"
import type { Seed } from "../../tensor/random.ts"

/** What a call says of dropout. */
export interface Training {
  readonly training?: boolean | undefined
  readonly seed?: Seed | undefined
}

/** Dropout in several places of one call. */
export interface Drops {
  readonly on: boolean
  /** A seed for the next place. */
  readonly next: () => Seed
  readonly dropped: (x: Tensor.Tensor) => Tensor.Tensor
}

/** Each place draws by a seed of its own. Throws `AttrError` where training needs a seed and has none. */
export const drops = (op: string, rate: number, { training, seed }: Training): Drops => {
  const on = training === true && rate > 0
  if (on && seed === undefined) {
    throw new AttrError({
      op,
      message: `dropout of ${rate} in training needs a seed`,
      hint: "pass { training: true, seed }: a number, or a u32 scalar that each call brings along"
    })
  }
  let draws = 0
  const next = (): Seed => {
    draws += 1
    const step = Math.imul(draws, 0x9e3779b1) >>> 0
    if (!Tensor.isTensor(seed)) return (((seed as number) ^ step) >>> 0) as Seed
    return Tensor.add(Tensor.cast(seed, "u32"), Tensor.constant(step, "u32")) as Seed
  }
  return { on, next, dropped: (x) => (on ? (Tensor.dropout(x, { rate, seed: next() }) as Tensor.Tensor) : x) }
}
