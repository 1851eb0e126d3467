import { AttrError } from "../errors.ts"

/** Throws `AttrError` for sizes and counts that are no whole numbers of `least` or more, by name; what is undefined passes. */
export const whole = (
  op: string,
  given: { readonly [name: string]: number | undefined },
  least = 1
): void => {
  for (const [name, n] of Object.entries(given)) {
    if (n === undefined || (Number.isSafeInteger(n) && n >= least)) continue
    throw new AttrError({ op, message: `${name} is ${n}`, hint: `use a whole number of ${least} or more` })
  }
}
