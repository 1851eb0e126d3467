/** What is said of a list of times. */

export interface Summary {
  readonly median: number
  /** The quarter of the times that is shortest ends here, the quarter that is longest begins here. */
  readonly low: number
  readonly high: number
  readonly least: number
  readonly count: number
}

const at = (sorted: ReadonlyArray<number>, part: number): number => {
  const place = part * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(place)] as number, sorted[Math.ceil(place)] as number]
  return below + (above - below) * (place - Math.floor(place))
}

/** Of one time or more. */
export const summary = (times: ReadonlyArray<number>): Summary => {
  if (times.length === 0) throw new RangeError("there are no times")
  const sorted = [...times].sort((a, b) => a - b)
  const [low, median, high] = [0.25, 0.5, 0.75].map((part) => at(sorted, part)) as [number, number, number]
  return { median, low, high, least: sorted[0] as number, count: sorted.length }
}

/** The mean of ratios; undefined of none. */
export const geometricMean = (ratios: ReadonlyArray<number>): number | undefined =>
  ratios.length === 0 ? undefined : Math.exp(ratios.reduce((sum, x) => sum + Math.log(x), 0) / ratios.length)
