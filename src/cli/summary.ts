import * as Attr from "../../ir/Attr.ts"
import * as HostArray from "../../ir/HostArray.ts"
import type { Paint } from "./Paint.ts"

const short = (x: number): string =>
  Number.isFinite(x) && !Number.isInteger(x) ? String(Number(x.toPrecision(6))) : Attr.printNumber(x)

/** How many elements a summary shows. */
const shown = 6

/** One output in two lines: type, least, largest, mean, whatever is not finite, and the first elements. */
export const summary = (name: string, array: HostArray.HostArray, paint: Paint): string => {
  const title = `${paint("strong", name)}  ${paint("type", `${array.dtype}[${array.shape.join(", ")}]`)}`
  const size = array.data.length
  if (size === 0) return `${title}  no elements`
  let [least, largest, sum, finite, nans] = [Infinity, -Infinity, 0, 0, 0]
  const numbers = HostArray.toNumbers(array)
  for (const x of numbers) {
    if (Number.isNaN(x)) nans++
    if (!Number.isFinite(x)) continue
    finite++
    sum += x
    least = Math.min(least, x)
    largest = Math.max(largest, x)
  }
  const facts = [
    ...(finite === 0 ? [] : [`min ${short(least)}`, `max ${short(largest)}`, `mean ${short(sum / finite)}`]),
    ...(nans === 0 ? [] : [`${nans} nan`]),
    ...(size - finite - nans === 0 ? [] : [`${size - finite - nans} infinite`])
  ]
  const boolean = array.dtype === "bool"
  const first = Array.from(numbers.slice(0, shown), (x) => (boolean ? String(x !== 0) : short(x)))
  const more = size > shown ? ", …" : ""
  return `${title}  ${facts.join("  ")}\n  ${paint("faint", `${first.join(", ")}${more}`)}`
}
