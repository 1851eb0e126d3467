import { suggest } from "../../../ir/suggest.ts"
import { AttrError, ShapeError } from "../../errors.ts"
import type * as Tensor from "../../Tensor.ts"

/** Options that a framework has and that mean nothing here, with what to do instead. */
export type Refused = { readonly [name: string]: string }

/** Refuses options that are not known, whatever language they come from: with what to do instead, or the name that was meant. */
export const check = (
  op: string,
  given: object,
  known: ReadonlyArray<string>,
  refused: Refused = {}
): void => {
  for (const [name, value] of Object.entries(given)) {
    if (known.includes(name) || value === undefined || value === null) continue
    const plain = name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
    const instead = Object.hasOwn(refused, plain) ? refused[plain] : undefined
    const near = known.includes(plain) ? plain : suggest(name, known)
    throw new AttrError({
      op,
      message: instead === undefined ? `there is no ${name}` : `${name} is not supported`,
      hint: instead ?? (near === undefined ? `there are ${known.join(", ")}` : `did you mean ${near}?`)
    })
  }
}

/** Refuses a call without what it needs. */
export const need = (op: string, given: { readonly [name: string]: unknown }): void => {
  const [missing] = Object.entries(given).find(([, x]) => x === undefined) ?? []
  if (missing !== undefined)
    throw new AttrError({ op, message: `${missing} is missing`, hint: `pass { ${missing} }` })
}

type Size = number | string

/** Refuses a tensor of other sizes than named; lengths that are symbols are left to the call. */
export const fits = (op: string, name: string, x: Tensor.Tensor, wanted: ReadonlyArray<Size>): void => {
  const same =
    x.rank === wanted.length &&
    wanted.every((size, n) => {
      const own = x.shape[n]
      return typeof own !== "number" || typeof size !== "number" || own === size
    })
  if (!same) throw new ShapeError({ op, message: `${name} is [${wanted.join(", ")}], given ${x}` })
}
