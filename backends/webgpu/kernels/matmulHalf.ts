import type { Emitter } from "../wgsl/Emitter.ts"
import * as Half from "../wgsl/half.ts"
import type { Sums } from "./contraction.ts"

/** Products in f16 of tiles in workgroup memory that are tame; why these, and what they cost, is told in `flash/halves.ts`. */
export interface Halves {
  readonly of: Half.Half
  /** A variable for the largest number that a thread copies; an `f32` as it is kept, seen by it; and what all threads have seen of an operand. */
  readonly start: () => string
  readonly see: (top: string, float: string) => string
  readonly give: (operand: number, top: string) => void
  /** Whether the first operand's tile may be multiplied in f16 with all others. */
  readonly tame: () => string
  /** Adds the products of a tile, `step` deep. */
  readonly add: (
    step: number,
    products: ReadonlyArray<Sums>,
    rows: (k: string) => ReadonlyArray<string>,
    columns: (product: number, k: string) => ReadonlyArray<string>
  ) => void
  /** Makes room for the next tiles. */
  readonly next: () => void
}

const lanes = ["x", "y", "z", "w"] as const

export const halves = (emitter: Emitter, products: number): Halves => {
  const { module } = emitter
  const half = Half.of(module)
  const operands = products + 1
  // Two sets in turn: while one is read the other becomes empty.
  const tops = module.workgroupArray("atomic<u32>", 2 * operands, 8 * operands)
  const set = emitter.variable("u32", "0u")
  const at = (operand: number): string => `${tops}[${set} * ${operands}u + ${operand}u]`
  return {
    of: half,
    start: () => emitter.variable("u32", "0u"),
    see: (top, float) => {
      const x = emitter.constant(float)
      emitter.line(`${top} = max(${top}, bitcast<u32>(${x}) & 0x7fffffffu);`)
      return half.one(x)
    },
    give: (operand, top) => emitter.line(`atomicMax(&${at(operand)}, ${top});`),
    tame: () => {
      const first = emitter.constant(`atomicLoad(&${at(0)})`)
      const tests = Array.from(
        { length: products },
        (_, n) => `${module.helper("tame")}(${first}, atomicLoad(&${at(n + 1)}))`
      )
      return emitter.constant(tests.join(" & "))
    },
    add: (step, all, rows, columns) => {
      const run = Math.min(step, Half.run)
      emitter.loop("0", String(step), String(run), (first) => {
        const parts = all.map((sums) =>
          sums.map((row) =>
            row.flatMap((_, j) => (j % 4 === 0 ? [emitter.variable(half.type, `${half.type}()`)] : []))
          )
        )
        emitter.loop(first, emitter.bind(`${first} + ${run}`), "1", (k) => {
          const a = rows(k).map((x) => emitter.constant(half.splat(x)))
          parts.forEach((part, n) => {
            const b = columns(n, k)
            // Where a thread has no four columns the last fills up.
            const four = (j: number) => lanes.map((_, lane) => b[Math.min(j + lane, b.length - 1)])
            const fours = b.flatMap((_, j) =>
              j % 4 === 0 ? [emitter.constant(`${half.type}(${four(j).join(", ")})`)] : []
            )
            part.forEach((row, i) => {
              row.forEach((sum, q) => {
                emitter.line(`${sum} = ${half.multiplyAdd(a[i] as string, fours[q] as string, sum)};`)
              })
            })
          })
        })
        parts.forEach((part, n) => {
          part.forEach((row, i) => {
            row.forEach((sum, q) => {
              const four = emitter.constant(half.widen(sum))
              lanes.forEach((lane, j) => {
                const total = all[n]?.[i]?.[4 * q + j]
                if (total !== undefined) emitter.line(`${total} += ${four}.${lane};`)
              })
            })
          })
        })
      })
    },
    next: () => {
      const others = Array.from(
        { length: operands },
        (_, n) => `atomicStore(&${tops}[(1u - ${set}) * ${operands}u + ${n}u], 0u);`
      )
      emitter.line(`if (lix == 0u) { ${others.join(" ")} }`)
      emitter.line(`${set} = 1u - ${set};`)
    }
  }
}
