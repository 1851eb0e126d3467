import type { HostArray } from "../../ir/HostArray.ts"
import { alibiSlopes } from "../../src/Score.ts"
import { type Attention, type Block, blockSizes, keysOf } from "../cases/cases.ts"
import { floats, inputsOf } from "../cases/inputs.ts"
import type { Open } from "./Peer.ts"

/** What of TensorFlow.js is used here. */
interface Tensor {
  readonly shape: ReadonlyArray<number>
  readonly data: () => Promise<Float32Array>
  readonly dispose: () => void
}

interface Tf {
  readonly version_core: string
  readonly backend: () => {
    readonly device?: GPUDevice
    readonly commandEncoder?: unknown
    readonly endComputePassEncoder?: () => void
    readonly submitQueue?: () => void
  }
  readonly tensor: (data: Float32Array, shape: ReadonlyArray<number>) => Tensor
  readonly tidy: <A extends Tensor>(f: () => A) => A
  readonly matMul: (a: Tensor, b: Tensor) => Tensor
  readonly softmax: (x: Tensor, axis?: number) => Tensor
  readonly add: (a: Tensor, b: Tensor) => Tensor
  readonly sub: (a: Tensor, b: Tensor) => Tensor
  readonly mul: (a: Tensor, b: Tensor | number) => Tensor
  readonly div: (a: Tensor, b: Tensor) => Tensor
  readonly sqrt: (x: Tensor) => Tensor
  readonly tanh: (x: Tensor) => Tensor
  readonly sigmoid: (x: Tensor) => Tensor
  readonly mean: (x: Tensor, axis: number, keepDims: boolean) => Tensor
  readonly scalar: (x: number) => Tensor
  readonly reshape: (x: Tensor, shape: ReadonlyArray<number>) => Tensor
  readonly transpose: (x: Tensor, perm: ReadonlyArray<number>) => Tensor
  readonly concat: (xs: ReadonlyArray<Tensor>, axis: number) => Tensor
  readonly stack: (xs: ReadonlyArray<Tensor>) => Tensor
  readonly slice: (x: Tensor, begin: ReadonlyArray<number>, size: ReadonlyArray<number>) => Tensor
}

/** Products and a softmax, a key head at a time and keys transposed first, each of which is ten times faster on WebAssembly; heads that share keys are rows of one matrix. */
const attend = (
  tf: Tf,
  c: Attention,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  bias: Tensor | undefined
): Tensor => {
  const [queries, keys] = c.heads
  const rows = (queries / keys) * c.T
  const head = (x: Tensor, n: number, length: number): Tensor =>
    tf.reshape(tf.slice(x, [n, 0, 0], [1, length, c.D]), [length, c.D])
  const scaled = tf.reshape(tf.mul(q, c.D ** -0.5), [keys, rows, c.D])
  const [flatK, flatV] = [k, v].map((x) => tf.reshape(x, [keys, c.S, c.D])) as [Tensor, Tensor]
  const own = (n: number): Tensor => {
    const [query, key] = [head(scaled, n, rows), head(flatK, n, c.S)]
    const turned = (x: Tensor): Tensor => tf.transpose(x, [1, 0])
    // The smaller operand is transposed.
    let scores = rows < c.D ? turned(tf.matMul(key, turned(query))) : tf.matMul(query, turned(key))
    if (c.softcap !== undefined) scores = tf.mul(tf.tanh(tf.mul(scores, 1 / c.softcap)), c.softcap)
    if (bias !== undefined) {
      const one = bias.shape[0] === 1 ? 0 : n
      const added = tf.reshape(tf.slice(bias, [one, 0, 0], [1, rows, c.S]), [rows, c.S])
      scores = tf.add(scores, added)
    }
    return tf.matMul(tf.softmax(scores, -1), head(flatV, n, c.S))
  }
  return tf.reshape(tf.stack(Array.from({ length: keys }, (_, n) => own(n))), [queries, c.T, c.D])
}

const biasOf = (tf: Tf, c: Attention): Tensor | undefined => {
  if (!c.causal && c.alibi !== true) return undefined
  const slopes = c.alibi === true ? alibiSlopes(c.heads[0]) : undefined
  const group = c.heads[0] / c.heads[1]
  const [heads, rows] = [slopes === undefined ? 1 : c.heads[1], group * c.T]
  const data = new Float32Array(heads * rows * c.S).fill(-1e30)
  for (let row = 0; row < heads * rows; row++) {
    const i = row % c.T
    const [lo, hi] = keysOf(c, i)
    for (let j = lo; j < hi; j++) data[row * c.S + j] = (slopes?.[Math.floor(row / c.T)] ?? 0) * (j - i)
  }
  return tf.tensor(data, [heads, rows, c.S])
}

const blockOf = (tf: Tf, { T }: Block, w: { readonly [name: string]: Tensor }): (() => Tensor) => {
  const { width, heads, keyHeads, size } = blockSizes
  const half = size / 2
  const table = (of: (angle: number) => number): Tensor =>
    tf.tensor(
      Float32Array.from({ length: T * half }, (_, n) =>
        of(Math.floor(n / half) * 10000 ** (-(n % half) / half))
      ),
      [1, T, half]
    )
  const [cos, sin] = [table(Math.cos), table(Math.sin)]
  const shape: Attention = {
    ...{ kind: "attention", name: "block", T, S: T, D: size, causal: true, dtype: "f32" },
    heads: [heads, keyHeads]
  }
  const bias = biasOf(tf, shape)
  const of = (name: string): Tensor => w[name] as Tensor
  const norm = (x: Tensor, gain: string): Tensor =>
    tf.mul(tf.div(x, tf.sqrt(tf.add(tf.mean(tf.mul(x, x), -1, true), tf.scalar(1e-6)))), of(gain))
  const split = (x: Tensor, count: number): Tensor => tf.transpose(tf.reshape(x, [T, count, size]), [1, 0, 2])
  const turn = (x: Tensor, count: number): Tensor => {
    const [a, b] = [0, half].map((at) => tf.slice(x, [0, 0, at], [count, T, half])) as [Tensor, Tensor]
    return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], 2)
  }
  return () => {
    const x = tf.reshape(of("x"), [T, width])
    const y = norm(x, "attend")
    const q = turn(split(tf.matMul(y, of("q")), heads), heads)
    const k = turn(split(tf.matMul(y, of("k")), keyHeads), keyHeads)
    const attended = attend(tf, shape, [q, k, split(tf.matMul(y, of("v")), keyHeads)], bias)
    const together = tf.reshape(tf.transpose(attended, [1, 0, 2]), [T, heads * size])
    const middle = tf.add(x, tf.matMul(together, of("o")))
    const z = norm(middle, "feed")
    const gate = tf.matMul(z, of("gate"))
    const gated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(z, of("up")))
    return tf.add(middle, tf.matMul(gated, of("down")))
  }
}

/** TensorFlow.js with its WebAssembly or its WebGPU backend. */
export const open: Open = async (host) => {
  const name = host.webgpu ? "webgpu" : "wasm"
  if (host.webgpu) await host.gpu()
  const module = await host.load(`@tensorflow/tfjs-backend-${name}`)
  const { tf, start } = module as { readonly tf: Tf; readonly start: () => Promise<boolean> }
  if (!(await start())) throw new Error(`TensorFlow.js has no ${name} here`)
  const device = host.webgpu ? tf.backend().device : undefined
  return {
    description: `TensorFlow.js ${tf.version_core}`,
    prepare: async (c) => {
      const arrays = Object.fromEntries(
        Object.entries(inputsOf(c)).map(([input, x]) => {
          const shape = x.shape[0] === 1 && x.shape.length > 2 ? x.shape.slice(1) : x.shape
          return [input, tf.tensor(floats(x as HostArray), shape)]
        })
      )
      const of = (input: string): Tensor => arrays[input] as Tensor
      const compute = ((): (() => Tensor) => {
        if (c.kind === "product") return () => tf.matMul(of("a"), of("b"))
        if (c.kind === "block") return blockOf(tf, c, arrays)
        const bias = biasOf(tf, c)
        return () => attend(tf, c, [of("q"), of("k"), of("v")], bias)
      })()
      let last: Tensor | undefined
      return {
        run: async () => {
          last?.dispose()
          last = tf.tidy(compute)
          // On the GPU commands are queued until somebody asks; on WebAssembly the call has computed.
          if (device === undefined) return
          const queue = tf.backend()
          if (queue.commandEncoder !== null) {
            queue.endComputePassEncoder?.()
            queue.submitQueue?.()
          }
          await device.queue.onSubmittedWorkDone()
        },
        read: async () => (last as Tensor).data(),
        release: () => {
          last?.dispose()
          for (const x of Object.values(arrays)) x.dispose()
        }
      }
    }
  }
}
