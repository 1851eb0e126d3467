import * as arrays from "./arrays.ts"

/**
 * A random mask as lines of text over %b, %h, %i, %j and the captures %c0: i32[B] and %c1: i32[N]; its last line defines
 * %m. Sums, differences, multiples, quotients, remainders, extremes, distances, choices; comparisons; logic.
 */
export const randomMask = (seed: number): string => {
  const from = arrays.random(seed)
  const lines: Array<string> = [
    "%n: i32[] = load %c0, %b",
    "%s: i32[] = dim {value = S}",
    "%N: i32[] = dim {value = N}"
  ]
  let count = 0
  const define = (type: "i32" | "bool", text: string, name = `v${count++}`): string => {
    lines.push(`%${name}: ${type}[] = ${text}`)
    return `%${name}`
  }
  const number = (low: number, high: number): string =>
    define("i32", `constant {values = [${from.integer(low, high)}]}`)

  const integer = (depth: number): string => {
    const leaf = depth === 0 || from.next() < 0.25
    if (leaf) return from.next() < 0.2 ? number(-2, 5) : from.pick(["%i", "%j", "%i", "%j", "%n", "%s", "%h"])
    const part = (): string => integer(depth - 1)
    switch (from.integer(0, 9)) {
      case 0:
      case 1:
        return define("i32", `add ${part()}, ${part()}`)
      case 2:
      case 3:
        return define("i32", `sub ${part()}, ${part()}`)
      case 4:
        return define("i32", `mul ${part()}, ${number(-2, 3)}`)
      case 5:
        return define("i32", `floor_div ${part()}, ${from.next() < 0.3 ? "%N" : number(1, 4)}`)
      case 6:
        return define("i32", `mod ${part()}, ${from.next() < 0.3 ? "%N" : number(1, 4)}`)
      case 7:
        return define("i32", `${from.pick(["min", "max"])} ${part()}, ${part()}`)
      case 8:
        return define("i32", from.next() < 0.7 ? `abs ${part()}` : `load %c1, ${part()}`)
      default:
        return define("i32", `select ${comparison(depth - 1)}, ${part()}, ${part()}`)
    }
  }
  const comparison = (depth: number): string => {
    const op = from.pick(["lt", "le", "gt", "ge", "lt", "le", "gt", "ge", "eq", "ne"])
    return define("bool", `${op} ${integer(depth)}, ${integer(depth)}`)
  }
  const condition = (depth: number): string => {
    if (depth === 0 || from.next() < 0.3) return comparison(2)
    const part = (): string => condition(depth - 1)
    switch (from.integer(0, 6)) {
      case 0:
      case 1:
        return define("bool", `and ${part()}, ${part()}`)
      case 2:
      case 3:
        return define("bool", `or ${part()}, ${part()}`)
      case 4:
        return define("bool", `not ${part()}`)
      case 5:
        return define("bool", `${from.pick(["xor", "eq", "ne"])} ${part()}, ${part()}`)
      default:
        return define("bool", `select ${part()}, ${part()}, ${part()}`)
    }
  }
  const root = condition(3)
  const truth = define("bool", "constant {values = [1]}")
  define("bool", `and ${root}, ${truth}`, "m")
  return lines.join("\n")
}
