import { type Location, ParseError } from "./errors.ts"

/** Where a complaint points: an offset, and the line it is on. */
export interface Mark {
  readonly offset: number
  readonly line: number
  readonly lineStart: number
}

export interface Complaint {
  readonly hint?: string | undefined
  readonly op?: string | undefined
}

const wordPattern = /[A-Za-z_][A-Za-z0-9_]*/y
const namePattern = /%[A-Za-z0-9_]+/y
const numberPattern = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y

const NEWLINE = 10
const QUOTE = 34
const HASH = 35
const SLASH = 47
const BACKSLASH = 92

const isSpace = (code: number): boolean => code === 32 || code === 9 || code === 13 || code === 0xfeff

/** Widest stretch of a line that an error quotes: a line may hold a million numbers. */
const QUOTED = 100

/**
 * The line an error points into and a caret below it. Tabs stay, so that the caret stands where the eye sees it; other
 * control characters never reach a terminal.
 */
const excerpt = (line: string, column: number): string => {
  const from = Math.max(0, column - 1 - QUOTED / 2)
  const shown = line.slice(from, from + QUOTED).replace(/[^\t\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]/g, "?")
  const [left, right] = [from > 0 ? "..." : "", from + QUOTED < line.length ? "..." : ""]
  const before = shown.slice(0, column - 1 - from).replace(/[^\t]/g, " ")
  return `${left}${shown}${right}\n${" ".repeat(left.length)}${before}^`
}

/** Reads text from left to right, knowing line and column. Every refusal is a `ParseError`, thrown. */
export class Cursor {
  readonly text: string
  readonly file: string
  offset = 0
  line = 1
  lineStart = 0

  constructor(text: string, file: string) {
    this.text = text
    this.file = file
  }

  /** Skips blanks, line breaks and comments (`//` or `#` to the end of the line). */
  skip(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.offset)
      if (code === NEWLINE) {
        this.offset++
        this.line++
        this.lineStart = this.offset
      } else if (isSpace(code)) {
        this.offset++
      } else if (code === HASH || (code === SLASH && this.text.charCodeAt(this.offset + 1) === SLASH)) {
        const end = this.text.indexOf("\n", this.offset)
        this.offset = end < 0 ? this.text.length : end
      } else {
        return
      }
    }
  }

  mark(): Mark {
    return { offset: this.offset, line: this.line, lineStart: this.lineStart }
  }

  location(mark: Mark): Location {
    return { file: this.file, line: mark.line, column: mark.offset - mark.lineStart + 1 }
  }

  fail(message: string, at: Mark = this.mark(), { hint, op }: Complaint = {}): ParseError {
    const end = this.text.indexOf("\n", at.lineStart)
    const line = this.text.slice(at.lineStart, end < 0 ? this.text.length : end).replace(/\r$/, "")
    const location = this.location(at)
    const optional = { ...(hint === undefined ? {} : { hint }), ...(op === undefined ? {} : { op }) }
    return new ParseError({ message, at: location, source: excerpt(line, location.column), ...optional })
  }

  /** `fail` at an offset, for readers that count no lines. */
  failAt(offset: number, message: string, complaint: Complaint = {}): ParseError {
    const before = this.text.slice(0, offset)
    const line = before.split("\n").length
    return this.fail(message, { offset, line, lineStart: before.lastIndexOf("\n") + 1 }, complaint)
  }

  /** What stands at the cursor, for messages. */
  found(): string {
    if (this.offset >= this.text.length) return "the end of the text"
    const [rest] = this.text.slice(this.offset, this.offset + 24).split(/[\s,]/)
    return JSON.stringify(rest === "" ? this.text[this.offset] : rest)
  }

  expected(what: string, hint?: string): ParseError {
    return this.fail(`expected ${what}, found ${this.found()}`, this.mark(), { hint })
  }

  /** Whether the next character, after blanks, is this one. */
  at(character: string): boolean {
    this.skip()
    return this.text[this.offset] === character
  }

  /** Takes a character if it is next. */
  take(character: string): boolean {
    if (!this.at(character)) return false
    this.offset++
    return true
  }

  require(character: string, what = JSON.stringify(character)): void {
    if (!this.take(character)) throw this.expected(what)
  }

  /** The text a sticky pattern matches here, or undefined. The pattern matches no line break. */
  match(pattern: RegExp): string | undefined {
    this.skip()
    pattern.lastIndex = this.offset
    const text = pattern.exec(this.text)?.[0]
    if (text !== undefined) this.offset += text.length
    return text
  }

  word(what: string): string {
    const text = this.match(wordPattern)
    if (text === undefined) throw this.expected(what)
    return text
  }

  /** A value's name without its `%`. */
  name(what: string): string {
    const text = this.match(namePattern)
    if (text === undefined) throw this.expected(what)
    return text.slice(1)
  }

  /** A JSON string on one line. */
  string(what: string): string {
    if (!this.at('"')) throw this.expected(what)
    const start = this.mark()
    for (let at = this.offset + 1; ; at++) {
      const code = this.text.charCodeAt(at)
      if (Number.isNaN(code) || code === NEWLINE) {
        const hint = "close it with a quote on the same line; a line break in a string is written \\n"
        throw this.fail("a string without its closing quote", start, { hint })
      }
      if (code === BACKSLASH) at++
      else if (code === QUOTE) {
        this.offset = at + 1
        break
      }
    }
    try {
      return JSON.parse(this.text.slice(start.offset, this.offset)) as string
    } catch {
      throw this.fail("not a JSON string", start, { hint: "escape control characters and backslashes" })
    }
  }

  /** Any number, `inf`, `-inf` and `nan` included. */
  number(what: string): number {
    this.skip()
    const start = this.mark()
    const digits = this.match(numberPattern)
    if (digits === undefined) {
      const special = this.match(/-?inf\b|nan\b/y)
      if (special === undefined) throw this.expected(what)
      return special === "nan" ? Number.NaN : special === "inf" ? Infinity : -Infinity
    }
    const value = Number(digits)
    const vanished = value === 0 && /[1-9]/.test(digits.split(/[eE]/)[0] as string)
    if (!Number.isFinite(value) || vanished) {
      throw this.fail(`${digits} is outside the range of numbers`, start, { hint: "write inf, -inf or 0" })
    }
    return value
  }

  /** An integer that float64 holds exactly. */
  integer(what: string): number {
    this.skip()
    const start = this.mark()
    const value = this.number(what)
    const digits = this.text.slice(start.offset, this.offset)
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw this.fail(`${digits} is beyond the exact integers, 2^53`, start, { hint: "use a smaller one" })
    }
    if (!Number.isInteger(value)) throw this.fail(`expected ${what}, found ${digits}`, start)
    if (Object.is(value, -0)) throw this.fail("an integer has no negative zero", start, { hint: "write 0" })
    return value
  }

  /** Items between brackets, separated by commas. */
  list<A>(item: () => A): ReadonlyArray<A> {
    this.require("[")
    const items: Array<A> = []
    if (this.take("]")) return items
    do items.push(item())
    while (this.take(","))
    this.require("]", '"," or "]"')
    return items
  }
}
