import * as Budget from "../../../ir/flashBudget.ts"
import { type Frame, range } from "./frame.ts"

/** What the threads of a workgroup tell each other. */

const reductions = {
  max: { combine: (x: string, y: string) => `max(${x}, ${y})`, builtin: "subgroupMax" },
  sum: { combine: (x: string, y: string) => `${x} + ${y}`, builtin: "subgroupAdd" }
} as const

/** One value for each four rows out of those of all threads that share them. Ends behind a barrier that follows the writes, but of a subgroup, which needs none. */
export const reduce = (
  { e, tile, rowGroup, column, partial }: Frame,
  own: ReadonlyArray<string>,
  reduction: keyof typeof reductions
): ReadonlyArray<string> => {
  const { combine, builtin } = reductions[reduction]
  if (tile.shared)
    return ["quadSwapX", "quadSwapY"].reduce(
      (xs, swap) => xs.map((x) => e.constant(combine(x, `${swap}(${x})`))),
      own
    )
  if (tile.subgroup) return own.map((x) => e.constant(`${builtin}(${x})`))
  const width = Math.min(tile.columns, Budget.reductionWidth)
  if (tile.columns === 1) {
    e.line("workgroupBarrier();")
    return own.map((x) => e.constant(x))
  }
  const stride = tile.rows / 4
  const offset = e.mul(rowGroup, String(tile.threadRows / 4))
  const mine = e.add(e.mul(column, String(stride)), offset)
  own.forEach((x, quad) => {
    e.line(`${partial}[${e.add(mine, String(quad))}] = ${x};`)
  })
  e.line("workgroupBarrier();")
  if (tile.columns > width) {
    const n = e.module.fresh("n")
    e.block("branch", `if (${column} < ${width})`, () => {
      const folded = own.map((x) => e.variable("vec4<f32>", x))
      e.block(
        "loop",
        `for (var ${n} = ${column} + ${width}; ${n} < ${tile.columns}; ${n} += ${width})`,
        () => {
          e.known(n)
          folded.forEach((x, quad) => {
            e.line(`${x} = ${combine(x, `${partial}[${n} * ${stride} + ${e.add(offset, String(quad))}]`)};`)
          })
        }
      )
      folded.forEach((x, quad) => {
        e.line(`${partial}[${e.add(mine, String(quad))}] = ${x};`)
      })
    })
    e.line("workgroupBarrier();")
  }
  return own.map((_, quad) => {
    const terms = range(width).map((n) => `${partial}[${e.add(offset, String(n * stride + quad))}]`)
    return e.constant(terms.reduce((x, y) => combine(x, y)))
  })
}

/** Whether any of the four neighbours says so; `flag` is a `u32`. */
export const together = ({ e, tile }: Frame, flag: string): string => {
  if (!tile.quads) return flag
  const pair = e.constant(`${flag} | quadSwapX(${flag})`)
  return e.constant(`${pair} | quadSwapY(${pair})`)
}

/** Adds the sums of the slices into those of the first slice. */
export const joinSlices = ({ e, tile, rowGroup, valueColumn, slice, stage, values }: Frame): void => {
  if (tile.slices === 1 || values.length === 0) return
  const width = tile.valueColumns * tile.chunks
  const n = e.module.fresh("n")
  const place = (a: number, chunk: number): string => {
    const row = e.add(e.mul(rowGroup, String(tile.threadRows)), String(a))
    return `${stage}[${e.add(e.add(e.mul(row, String(width)), valueColumn), String(chunk * tile.valueColumns))}]`
  }
  const all = (each: (value: string, place: string) => string): string =>
    values.map((row, a) => row.map((value, chunk) => each(value, place(a, chunk))).join(" ")).join(" ")
  const [give, take] = [all((value, at) => `${at} = ${value};`), all((value, at) => `${value} += ${at};`)]
  e.block("loop", `for (var ${n} = 1; ${n} < ${tile.slices}; ${n} += 1)`, () => {
    e.line("workgroupBarrier();")
    e.line(`if (${slice} == ${n}) { ${give} }`)
    e.line("workgroupBarrier();")
    e.line(`if (${slice} == 0) { ${take} }`)
  })
}
