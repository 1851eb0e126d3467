import * as Key from "./Key.ts"

/** How a parameter starts: numbers for its elements, in order. */
export type Initialiser = (key: Key.Key) => () => number

const always =
  (value: number): Initialiser =>
  () =>
  () =>
    value

export const zeros: Initialiser = always(0)
export const ones: Initialiser = always(1)
export const constant = always

/** Uniform in [-limit, limit). */
export const uniform =
  (limit: number): Initialiser =>
  (key) => {
    const next = Key.uniforms(key)
    return () => (2 * next() - 1) * limit
  }

export const normal =
  (deviation: number): Initialiser =>
  (key) => {
    const next = Key.normals(key)
    return () => next() * deviation
  }

/** The deviation that a normal distribution cut at ±2 has left. */
const cutDeviation = 0.8796256610342398

/** Normal, cut at twice its deviation and widened so that the deviation is as told: Keras, Flax. */
export const truncatedNormal =
  (deviation: number): Initialiser =>
  (key) => {
    const next = Key.normals(key)
    const scale = deviation / cutDeviation
    return () => {
      let x = next()
      while (Math.abs(x) > 2) x = next()
      return x * scale
    }
  }

/** How many numbers an output is the sum of, and how many outputs a number goes into. */
export interface Fan {
  readonly in: number
  readonly out: number
}

/** Glorot & Bengio 2010: Keras' default kernels, and PyTorch's attention (as Xavier). */
export const glorotUniform = (fan: Fan): Initialiser => uniform(Math.sqrt(6 / (fan.in + fan.out)))
export const glorotNormal = (fan: Fan): Initialiser => normal(Math.sqrt(2 / (fan.in + fan.out)))

/** Flax's default kernels. */
export const lecunNormal = (fan: Fan): Initialiser => truncatedNormal(Math.sqrt(1 / fan.in))

/** He et al. 2015. */
export const heNormal = (fan: Fan): Initialiser => truncatedNormal(Math.sqrt(2 / fan.in))

/** PyTorch's and MLX's linear layers: weights and biases uniform within ±1/√in. */
export const fanInUniform = (fan: Fan): Initialiser => uniform(1 / Math.sqrt(fan.in))
