import { axes, type Choices, simplest } from "./Axes.ts"
import { make, type Program, type Sizes, turned } from "./Program.ts"

/** Programs that are one step simpler: a choice that is plain, or nearly so, or a size that is smaller. */
const simpler = function* (p: Program): Generator<Program> {
  for (const axis of turned(p)) {
    yield make(p.seed, { ...p.choices, [axis]: simplest[axis] } as Choices, p.sizes)
    const values = axes[axis] as ReadonlyArray<string>
    for (const value of values.slice(1, values.indexOf(p.choices[axis])))
      yield make(p.seed, { ...p.choices, [axis]: value } as Choices, p.sizes)
  }
  for (const [name, size] of Object.entries(p.sizes)) {
    for (const less of [1, 2, Math.floor(size / 2), size - 1])
      if (less >= 1 && less < size) yield make(p.seed, p.choices, { ...p.sizes, [name]: less } as Sizes)
  }
}

/** Choices first, then places within an axis, then sizes. */
const weight = (p: Program): number =>
  turned(p).reduce((sum, a) => sum + 1 + (axes[a] as ReadonlyArray<string>).indexOf(p.choices[a]) / 1e3, 0) *
    1e3 +
  Object.values(p.sizes).reduce((a, b) => a + b, 0) / 1e3

/** The smallest program, by steps that each keep it failing. */
export const shrink = (p: Program, fails: (p: Program) => boolean): Program => {
  let current = p
  for (;;) {
    let next: Program | undefined
    for (const candidate of simpler(current)) {
      if (weight(candidate) >= weight(current) || !fails(candidate)) continue
      next = candidate
      break
    }
    if (next === undefined) return current
    current = next
  }
}
