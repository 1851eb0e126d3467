import { AttrError } from "../../errors.ts"
import type { Activation, activations } from "../mlp.ts"

/** What stands in a `config.json` of Hugging Face, field by field. */
export type Json = { readonly [name: string]: unknown }

/** Refuses a field of a configuration, for a model. */
export const refuse = (op: string, message: string, hint: string): AttrError =>
  new AttrError({ op, message: `config.json: ${message}`, hint })

/** Fields that are numbers. Throws `AttrError` for what is none, by name. */
export const reader = (op: string, json: Json) => {
  const number = (name: string): number => {
    const value = json[name]
    if (typeof value === "number" && Number.isFinite(value)) return value
    throw refuse(
      op,
      `${name} is ${JSON.stringify(value) ?? "missing"}`,
      "it is a number in the configuration of a model"
    )
  }
  const optional = (name: string): number | undefined =>
    json[name] === undefined || json[name] === null ? undefined : number(name)
  return {
    number,
    optional,
    /** The activation of a field, or of one that older files have in its place. */
    activation: (names: ReadonlyArray<string>, otherwise: Activation): Activation => {
      const found = names.map((n) => json[n]).find((x) => x !== undefined && x !== null)
      if (found === undefined) return otherwise
      const own = typeof found === "string" && Object.hasOwn(known, found) ? known[found] : undefined
      if (own !== undefined) return own
      throw refuse(op, `the activation ${JSON.stringify(found)}`, `one of ${Object.keys(known).join(", ")}`)
    },
    /** Refuses a switch that is on and has no meaning here. */
    never: (name: string, hint: string): void => {
      if (json[name] === true) throw refuse(op, `${name} is on`, hint)
    },
    /** Refuses a field that is there and not what this has. */
    only: (name: string, allowed: unknown, hint: string): void => {
      const value = json[name]
      if (value !== undefined && value !== null && value !== allowed)
        throw refuse(op, `${name} is ${JSON.stringify(value)}`, hint)
    }
  }
}

const known: { readonly [name: string]: Activation } = {
  relu: "relu",
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "geluTanh",
  gelu_new: "geluTanh"
} satisfies { readonly [name: string]: keyof typeof activations }
