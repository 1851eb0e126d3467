import { type Axis, axes, names } from "./Axes.ts"
import type { Verdict } from "./judge.ts"
import type { Program } from "./Program.ts"

/** How many programs made a choice, and how many of them fused and computed what they say. */
export interface Row {
  readonly axis: Axis
  readonly value: string
  readonly programs: number
  readonly fused: number
}

export interface Coverage {
  readonly add: (p: Program, outcome: Verdict["outcome"]) => void
  readonly rows: () => ReadonlyArray<Row>
  readonly count: (outcome: Verdict["outcome"]) => number
}

export const coverage = (): Coverage => {
  const seen = new Map<string, { programs: number; fused: number }>()
  const outcomes = { fused: 0, missed: 0, wrong: 0 }
  return {
    add: ({ choices }, outcome) => {
      outcomes[outcome]++
      for (const axis of names) {
        const key = `${axis}: ${choices[axis]}`
        const cell = seen.get(key) ?? { programs: 0, fused: 0 }
        cell.programs++
        if (outcome === "fused") cell.fused++
        seen.set(key, cell)
      }
    },
    rows: () =>
      names.flatMap((axis) =>
        (axes[axis] as ReadonlyArray<string>).map((value) => ({
          axis,
          value,
          ...(seen.get(`${axis}: ${value}`) ?? { programs: 0, fused: 0 })
        }))
      ),
    count: (outcome) => outcomes[outcome]
  }
}
