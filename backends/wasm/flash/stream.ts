import * as Dim from "../../../ir/Dim.ts"
import { type Expr, i32, load, op, store } from "../assembler/Instruction.ts"
import type { Frame } from "../emit/Frame.ts"

type I = Expr<"i32">

const line = 64

/** Lines of a round of the loop. */
const unrolled = 16

/** Reads rows into the first cache, one after the other, before they are read side by side: memory is fast as one stream. */
export interface Stream {
  readonly read: (at: I, bytes: number) => void
  /** Keeps what was read, or an engine may leave the reading out. */
  readonly keep: () => void
}

export const make = ({ e, local }: Frame): Stream => {
  const place = local(Dim.constant(1))
  const all = e.variable(i32(0))
  return {
    read: (at, bytes) => {
      const lines = Math.ceil(bytes / line)
      const some = Math.min(lines, unrolled)
      const whole = lines - (lines % some)
      const word = (from: I, n: number): void =>
        all.set(op("i32.or", all.value, load("i32.load", from, line * n)))
      e.loop(i32(0), i32(line * whole), line * some, (offset) => {
        for (let n = 0; n < some; n++) word(e.add(at, offset), n)
      })
      for (let n = whole; n < lines; n++) word(at, n)
    },
    keep: () => e.line(store("i32.store", place, all.value))
  }
}
