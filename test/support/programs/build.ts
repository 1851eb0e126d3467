import * as Score from "../../../src/Score.ts"
import * as Tensor from "../../../src/Tensor.ts"
import { biased } from "./biases.ts"
import type { Any, Lettered } from "./Lettered.ts"
import { factors, flat, onValues, product, unflat } from "./logits.ts"
import { counted, masked, maskedAgain } from "./masks.ts"
import { closed, grouped, headed, type Inputs, lead, opened, ready, toFront } from "./operands.ts"
import type { Program } from "./Program.ts"
import { dropped, weigh, withoutSinks, withSinks } from "./weights.ts"

type Outputs = { readonly [name: string]: Any }

/** The program as a function over its arguments; `out` is the attention, what else it returns has names of its own. */
export const build =
  (p: Program) =>
  (inputs: Inputs): Outputs => {
    const { choices: c } = p
    const factor = factors(p, inputs)
    const first = opened(p, inputs)
    const scaled = {
      ...first,
      q: { ...first.q, x: factor.q(first.q.x) },
      k: { ...first.k, x: factor.k(first.k.x) }
    }
    const { q, k, v } = ready(p, scaled)
    const logits = unflat(p, headed(p, product(p, flat(p, q), flat(p, k), factor.kT))).x

    const addBias = (x: Any, where: typeof c.biasAt): Any =>
      c.biasAt === where ? biased(p, inputs, x, factor.bias) : x
    const mask = (x: Any, where: typeof c.maskAt): Any =>
      c.maskAt === where ? maskedAgain(p, inputs, masked(p, inputs, x)) : x
    const summed = factor.scores(addBias(mask(logits, "before the scale"), "before the scale"))
    const before = addBias(summed, "before the softcap")
    const capped = c.softcap === "none" ? before : (Score.softcap(2)(before as Tensor.Tensor<"f32">) as Any)
    const scores = addBias(mask(capped, "before the bias"), "after the softcap")
    const x = withSinks(p, inputs, mask(scores, "last"))

    const weighed = weigh(p, x)
    const early = c.dropoutAt === "before the down-cast"
    const wide = withoutSinks(p, weighed.weights)
    const kept = early ? wide : weighed.down(wide)
    const drop = dropped(p, inputs, kept)
    const weights = early ? weighed.down(drop) : drop
    const attend = (values: Lettered): Any => {
      const own = grouped(p, flat(p, { x: weights, letters: `${lead(p)}ts` }))
      const sum = unflat(p, headed(p, onValues(p, own, flat(p, values), weighed.divisor !== undefined)))
      const whole = weighed.divisor === undefined ? sum.x : Tensor.div(sum.x, weighed.divisor)
      return closed(p, { ...sum, x: whole })
    }
    const out = attend(v)

    const extra: { readonly [E in typeof c.extra]: () => Outputs } = {
      nothing: () => ({}),
      weights: () => ({ weights: kept }),
      "dropped weights": () => ({ weights }),
      logits: () => ({ logits }),
      scores: () => ({ scores: capped }),
      "masked scores": () => ({ scores: x }),
      "log-sum-exp": () => ({ lse: Tensor.logSumExp(weighed.seen, -1) }),
      "row maximum": () => ({ max: Tensor.max(weighed.seen, -1) }),
      "column sums": () => ({ columns: Tensor.sum(kept, -2) }),
      "permuted k and v": () => ({ k: toFront(first.k).x, v: toFront(first.v).x })
    }
    const user: { readonly [U in typeof c.user]: () => Outputs } = {
      nobody: () => ({}),
      "sums of logits": () => ({ sums: Tensor.sum(capped, -1) }),
      "other values": () => ({ other: attend(ready(p, opened(p, inputs, "other")).v) }),
      keys: () => ({ keys: Tensor.neg(first.k.x) }),
      "count of keys": () => {
        const count = counted(p, inputs)
        return count === undefined ? {} : { count }
      }
    }
    return { out, ...extra[c.extra](), ...user[c.user]() }
  }
