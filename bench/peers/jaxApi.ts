/** What of jax-js is used here. A use consumes an array; `ref` is one more use of it. */
export interface Array {
  readonly ref: Array
  readonly shape: ReadonlyArray<number>
  readonly add: (x: Array | number) => Array
  readonly sub: (x: Array | number) => Array
  readonly mul: (x: Array | number) => Array
  readonly div: (x: Array | number) => Array
  readonly reshape: (shape: ReadonlyArray<number>) => Array
  readonly transpose: (axes: ReadonlyArray<number>) => Array
  readonly slice: (...at: ReadonlyArray<unknown>) => Array
  readonly blockUntilReady: () => Promise<unknown>
  readonly data: () => Promise<Float32Array>
  readonly dispose: () => void
}

export interface Numpy {
  readonly array: (
    data: unknown,
    options?: { readonly shape?: ReadonlyArray<number>; readonly dtype?: unknown }
  ) => Array
  readonly matmul: (a: Array, b: Array) => Array
  readonly int32: unknown
  readonly zeros: (shape: ReadonlyArray<number>) => Array
  readonly arange: (count: number) => Array
  readonly equal: (a: Array, b: Array | number) => Array
  readonly where: (condition: Array, a: Array, b: Array) => Array
  readonly take: (x: Array, at: Array, axis: number) => Array
  readonly argmax: (x: Array, axis: number) => Array
  readonly tanh: (x: Array) => Array
  readonly sqrt: (x: Array) => Array
  readonly mean: (x: Array, axis: number, options: { readonly keepdims: boolean }) => Array
  readonly concatenate: (xs: ReadonlyArray<Array>, axis: number) => Array
  readonly repeat: (x: Array, count: number, axis: number) => Array
}

export interface Jax {
  readonly init: (...devices: ReadonlyArray<string>) => Promise<ReadonlyArray<string>>
  readonly defaultDevice: (device: string) => string
  readonly jit: <F>(f: F) => F
  readonly numpy: Numpy
  readonly nn: {
    readonly dotProductAttention: (
      q: Array,
      k: Array,
      v: Array,
      options: { readonly [name: string]: unknown }
    ) => Array
    readonly softmax: (x: Array, axis: number) => Array
    readonly silu: (x: Array) => Array
  }
}
