/** JSON as a text that a person may have to mend: `JSON.parse` gives values, and seldom says where one stands. */

/** Keys and indices from the outside in: `["nodes", 3, "op"]`. */
export type Path = ReadonlyArray<string | number>

interface Frame {
  readonly list: boolean
  /** How many steps of the path lead here; undefined where this is off the path. */
  readonly steps: number | undefined
  at: string | number
}

const token =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[ !#-[\]-\uffff]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.]))/y

type Expected = "value" | "value or ]" | "key" | "key or }" | "colon" | "comma" | "end"

/** What may not be read at `offset`, or where the value at the path, or the nearest one around it, begins. */
interface Walk {
  readonly mistake: number | undefined
  readonly place: number
}

const walk = (text: string, path: Path): Walk => {
  const open: Array<Frame> = []
  let [place, best] = [0, -1]
  let expected: Expected = "value"
  const blank = /[ \t\n\r]*/y
  const start = (from: number): number => {
    blank.lastIndex = from
    return from + (blank.exec(text)?.[0].length ?? 0)
  }
  for (let offset = 0; ; ) {
    const here = start(offset)
    if (here === text.length) {
      return { mistake: expected === "end" ? undefined : text.trimEnd().length, place }
    }
    token.lastIndex = offset
    const found = token.exec(text)
    const [, mark, string] = found ?? []
    if (found === null || expected === "end") return { mistake: here, place }
    offset = token.lastIndex
    const top = open.at(-1)
    const after = (): Expected => (open.length === 0 ? "end" : "comma")

    const closes = mark === "]" || mark === "}"
    if (closes) {
      const empty = mark === "]" ? "value or ]" : "key or }"
      if (top === undefined || top.list !== (mark === "]") || (expected !== "comma" && expected !== empty)) {
        return { mistake: here, place }
      }
      open.pop()
      expected = after()
    } else if (expected === "value" || expected === "value or ]") {
      if (mark === "," || mark === ":") return { mistake: here, place }
      const taken = top === undefined ? 0 : top.steps
      const onPath = top === undefined || (taken !== undefined && top.at === path[taken])
      const steps = onPath && taken !== undefined ? taken + (top === undefined ? 0 : 1) : undefined
      if (steps !== undefined && steps > best) [place, best] = [here, steps]
      if (mark === undefined) expected = after()
      else {
        open.push({ list: mark === "[", steps, at: 0 })
        expected = mark === "[" ? "value or ]" : "key or }"
      }
    } else if (expected === "comma" && mark === "," && top !== undefined) {
      if (typeof top.at === "number" && top.list) top.at++
      expected = top.list ? "value" : "key"
    } else if (expected === "colon" && mark === ":") {
      expected = "value"
    } else if ((expected === "key" || expected === "key or }") && string !== undefined && top !== undefined) {
      top.at = JSON.parse(string) as string
      expected = "colon"
    } else {
      return { mistake: here, place }
    }
  }
}

/** The offset of the first character that no JSON text has there (behind the last, where more is missing); undefined for JSON. */
export const mistakeAt = (text: string): number | undefined => walk(text, []).mistake

/** The offset at which the value at a path begins, or the nearest value around it where the text holds none. */
export const offsetOf = (text: string, path: Path): number => walk(text, path).place
