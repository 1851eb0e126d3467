import { threefry2x32 } from "../../backends/reference/threefry.ts"
import { AttrError } from "../errors.ts"

/** What parameters are drawn from: 64 bits. Equal keys draw equal numbers, on every machine. */
export type Key = readonly [high: number, low: number]

/** A key of a whole number. */
export const make = (seed: number): Key => {
  if (Number.isSafeInteger(seed) && seed >= 0) return [Math.floor(seed / 2 ** 32), seed % 2 ** 32]
  throw new AttrError({ message: `${seed} is not a seed`, hint: "use a whole number of 0 or more" })
}

/**
 * The key of a part: what is drawn for one name does not depend on which other names there are. FNV-1a of the name's UTF-16
 * units is the counter of a Threefry block.
 */
export const fold = (key: Key, name: string): Key => {
  let hash = 0x811c9dc5
  for (let n = 0; n < name.length; n++) hash = Math.imul(hash ^ name.charCodeAt(n), 0x01000193)
  return threefry2x32(key, [hash >>> 0, name.length])
}

/** Numbers in [0, 1) in steps of 2^-32, one after the other. */
export const uniforms = (key: Key): (() => number) => {
  let count = 0
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const last = spare
      spare = undefined
      return last * 2 ** -32
    }
    const [first, second] = threefry2x32(key, [Math.floor(count / 2 ** 32), count++ % 2 ** 32])
    spare = second
    return first * 2 ** -32
  }
}

/** Numbers of the normal distribution, mean 0 and deviation 1: Box & Muller 1958. */
export const normals = (key: Key): (() => number) => {
  const next = uniforms(key)
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const last = spare
      spare = undefined
      return last
    }
    // 1 - u is never 0.
    const radius = Math.sqrt(-2 * Math.log(1 - next()))
    const angle = 2 * Math.PI * next()
    spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }
}
