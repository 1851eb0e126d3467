import type { Exhibit } from "../../examples/gallery/exhibit.ts"
import * as show from "../../examples/gallery/show.ts"
import type * as HostArray from "../../ir/HostArray.ts"
import * as arrays from "./arrays.ts"

/** The pieces of the gallery by name. */
export const pieces = await show.load()

/** Arguments of a piece: its own numbers, and random queries, keys and values. */
export const randomised = (exhibit: Exhibit): Readonly<Record<string, HostArray.HostArray>> => {
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
