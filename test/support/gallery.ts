import type { Exhibit } from "../../examples/gallery/exhibit.ts"
import * as show from "../../examples/gallery/show.ts"
import * as Dim from "../../ir/Dim.ts"
import type * as HostArray from "../../ir/HostArray.ts"
import * as arrays from "./arrays.ts"

/** The pieces of the gallery by name. */
export const pieces = await show.load()

type Named = Readonly<Record<string, HostArray.HostArray>>

/** Arguments of a piece: its own numbers, and random queries, keys and values. */
export const randomised = (exhibit: Exhibit): Named => {
  const from = arrays.random(11)
  return Object.fromEntries(
    Object.entries(show.argumentsOf(exhibit)).map(([name, given]) => [
      name,
      ["q", "k", "v"].includes(name) || exhibit.data[name] === undefined
        ? arrays.array(from, given.dtype, given.shape)
        : given
    ])
  )
}

/** A piece at lengths of several tiles, where its integers are any positions: its picture makes no sense, its value does. */
export const enlarged = (
  exhibit: Exhibit
): { readonly lengths: Exhibit["lengths"]; readonly inputs: Named } => {
  const from = arrays.random(13)
  const lengths = Object.fromEntries(
    Object.entries(exhibit.lengths).map(([name, length]) => [name, name === "B" ? 2 : 5 * length + 1])
  )
  const most = Math.max(...Object.values(lengths)) - 1
  const inputs = Object.entries(exhibit.signature).map(([name, { dtype, type }]) => {
    const shape = type.shape.map((d) => Dim.evaluate(d, lengths))
    const random = dtype === "i32" ? arrays.integers(from, shape, 0, most) : arrays.array(from, dtype, shape)
    return [name, random] as const
  })
  return { lengths, inputs: Object.fromEntries(inputs) }
}
