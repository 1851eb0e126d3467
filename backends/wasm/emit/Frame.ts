import * as Dim from "../../../ir/Dim.ts"
import { type Expr, get, i32, type Local, load, op } from "../assembler/Instruction.ts"
import { type Job, type Lowered, type Ref, sameRef } from "../Job.ts"
import type { Items } from "../Program.ts"
import * as Emitter from "./Emitter.ts"

/** A kernel under construction: its emitter, its items, and the addresses it is given. */
export interface Frame {
  readonly e: Emitter.Emitter
  readonly job: Job
  /** The first item to compute, and the one after the last. */
  readonly begin: Expr<"i32">
  readonly end: Expr<"i32">
  /** The address of a buffer. */
  readonly pointer: (ref: Ref) => Expr<"i32">
  /** The address of so many vectors of memory that nobody else sees during the call. */
  readonly local: (vectors: Dim.Dim) => Expr<"i32">
  readonly finish: (name: string, items: Items, stream?: "stream") => Lowered
}

const word = 4

export const open = (job: Job): Frame => {
  const params = (["args", "begin", "end"] as const).map((name): Local<"i32"> => ({ type: "i32", name }))
  const [args, begin, end] = params.map(get) as [Expr<"i32">, Expr<"i32">, Expr<"i32">]
  const buffers: Array<Ref> = []
  let local = Dim.zero
  const argument = (n: number): Expr<"i32"> => load("i32.load", args, word * n)
  const e = Emitter.make(job.unit, params, (name) => argument(1 + job.symbols.indexOf(name)))
  return {
    e,
    job,
    begin,
    end,
    pointer: (ref) => {
      const known = buffers.findIndex((b) => sameRef(b, ref))
      const index = known < 0 ? buffers.push(ref) - 1 : known
      return e.bind(argument(1 + job.symbols.length + index))
    },
    local: (vectors) => {
      const address = e.add(e.bind(argument(0)), e.dim(local))
      local = Dim.add(local, Dim.mul(Dim.constant(16), vectors))
      return address
    },
    finish: (name, items, stream) => {
      const func = { name, exported: true, params, body: e.statements() }
      return { kernel: { name, items, local, func, stream: stream !== undefined }, buffers }
    }
  }
}

/** Loops over an axis in vectors, then over what is left one by one. */
export const vectors = (
  e: Emitter.Emitter,
  size: Dim.Dim,
  known: number | undefined,
  inside: (index: Expr<"i32">) => void
): void => {
  const length = e.dim(size)
  const whole = known === undefined ? e.bind(op("i32.and", length, i32(-4))) : i32(known - (known % 4))
  e.loop(i32(0), whole, 4, (index) => e.at(4, () => inside(index)))
  e.loop(whole, length, 1, (index) => e.at(1, () => inside(index)))
}
