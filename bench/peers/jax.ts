import type { HostArray } from "../../ir/HostArray.ts"
import { alibiSlopes } from "../../src/Score.ts"
import { type Attention, type Block, blockSizes } from "../cases/cases.ts"
import { floats, inputsOf, swapped } from "../cases/inputs.ts"
import { generation } from "../generation/jax.ts"
import type { Array, Jax, Numpy } from "./jaxApi.ts"
import { Cannot, type Open } from "./Peer.ts"

/** Its own attention function, over [1, T, heads, D]; where that lacks something, the products and the softmax. */
const attend =
  ({ nn, numpy: np }: Jax, c: Attention, bias: Array | undefined, repeated: boolean) =>
  (q: Array, key: Array, value: Array): Array => {
    const group = c.heads[0] / c.heads[1]
    const [k, v] = [key, value].map((x) => (repeated ? np.repeat(x, group, 2) : x)) as [Array, Array]
    if (bias === undefined) {
      const window = c.window === undefined ? {} : { localWindowSize: [c.window - 1, 0] }
      return nn.dotProductAttention(q, k, v, { isCausal: c.causal, ...window })
    }
    const heads = (x: Array): Array => x.transpose([0, 2, 1, 3])
    let logits = np.matmul(heads(q).mul(c.D ** -0.5), k.transpose([0, 2, 3, 1]))
    if (c.softcap !== undefined) logits = np.tanh(logits.div(c.softcap)).mul(c.softcap)
    return heads(np.matmul(nn.softmax(logits.add(bias.ref), -1), heads(v)))
  }

const biasOf = (np: Numpy, c: Attention): Array => {
  const slopes = c.alibi === true ? alibiSlopes(c.heads[0]) : c.heads.map(() => 0)
  const data = new Float32Array(c.heads[0] * c.T * c.S)
  for (let n = 0; n < data.length; n++) {
    const [j, i, h] = [n % c.S, Math.floor(n / c.S) % c.T, Math.floor(n / c.S / c.T)]
    data[n] = c.causal && j > i ? -1e30 : (slopes[h] ?? 0) * (j - i)
  }
  return np.array(data, { shape: [1, c.heads[0], c.T, c.S] })
}

const block = ({ nn, numpy: np }: Jax, { T }: Block) => {
  const { heads, keyHeads, size } = blockSizes
  const norm = (x: Array, gain: Array): Array => {
    const square = np.mean(x.ref.mul(x.ref), -1, { keepdims: true })
    return x.div(np.sqrt(square.add(1e-6))).mul(gain)
  }
  const turn = (x: Array, cos: Array, sin: Array): Array => {
    const [a, b] = [x.ref.slice([], [], [], [0, size / 2]), x.slice([], [], [], [size / 2, size])]
    const first = a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref))
    return np.concatenate([first, b.mul(cos).add(a.mul(sin))], 3)
  }
  return (x: Array, cos: Array, sin: Array, w: { readonly [name: string]: Array }): Array => {
    const of = (name: string): Array => w[name] as Array
    const y = norm(x.ref, of("attend"))
    const project = (name: string, count: number): Array =>
      np.matmul(y.ref, of(name)).reshape([1, T, count, size])
    const q = turn(project("q", heads), cos.ref, sin.ref)
    const k = turn(project("k", keyHeads), cos, sin)
    const v = project("v", keyHeads)
    y.dispose()
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([1, T, heads * size])
    const middle = x.add(np.matmul(attended, of("o")))
    const z = norm(middle.ref, of("feed"))
    const gated = nn.silu(np.matmul(z.ref, of("gate"))).mul(np.matmul(z, of("up")))
    return middle.add(np.matmul(gated, of("down")))
  }
}

const table = (np: Numpy, T: number, of: (angle: number) => number): Array => {
  const half = blockSizes.size / 2
  const data = Float32Array.from({ length: T * half }, (_, n) =>
    of(Math.floor(n / half) * 10000 ** (-(n % half) / half))
  )
  return np.array(data, { shape: [1, T, 1, half] })
}

/** How heads share keys: its function takes fewer key heads, and is faster where they are repeated for it. */
const repeatedKeys = "keys repeated"

/** jax-js: traced once, then called with arrays on its device. */
export const open: Open = async (host) => {
  if (host.webgpu) await host.gpu()
  const jax: Jax = await host.load("@jax-js/jax")
  const { numpy: np } = jax
  const device = host.webgpu ? "webgpu" : "wasm"
  if (!(await jax.init(device)).includes(device)) throw new Cannot(`finds no ${device} here`)
  jax.defaultDevice(device)
  return {
    description: "jax-js",
    generate: async () => [await generation(jax)],
    variants: (c) => (c.kind === "attention" && c.heads[0] !== c.heads[1] ? ["", repeatedKeys] : [""]),
    prepare: async (c, variant) => {
      const inputs = inputsOf(c)
      const put = (
        name: string,
        shape: ReadonlyArray<number>,
        data = floats(inputs[name] as HostArray)
      ): Array => np.array(data, { shape })
      const made: [f: (...args: ReadonlyArray<never>) => Array, args: ReadonlyArray<unknown>] = (() => {
        if (c.kind === "product")
          return [
            jax.jit((a: Array, b: Array) => np.matmul(a, b)),
            [put("a", [c.M, c.K]), put("b", [c.K, c.N])]
          ]
        if (c.kind === "block") {
          const { x, ...weights } = inputs
          const w = Object.fromEntries(
            Object.entries(weights).map(([name, own]) => [name, put(name, own.shape)])
          )
          const tables = [table(np, c.T, Math.cos), table(np, c.T, Math.sin)]
          return [jax.jit(block(jax, c)), [put("x", (x as HostArray).shape), ...tables, w]]
        }
        const bias = c.alibi === true || c.softcap !== undefined ? biasOf(np, c) : undefined
        const turned = (name: string): Array => {
          const [, heads, length, D] = (inputs[name] as HostArray).shape as readonly [
            number,
            number,
            number,
            number
          ]
          return put(
            name,
            [1, length, heads, D],
            swapped(floats(inputs[name] as HostArray), [heads, length, D])
          )
        }
        return [
          jax.jit(attend(jax, c, bias, variant === repeatedKeys)),
          [turned("q"), turned("k"), turned("v")]
        ]
      })()
      const [f, args] = made
      const again = (x: unknown): unknown =>
        "ref" in (x as object)
          ? (x as Array).ref
          : Object.fromEntries(Object.entries(x as object).map(([name, own]) => [name, (own as Array).ref]))
      let last: Array | undefined
      return {
        run: async () => {
          last?.dispose()
          last = f(...(args.map(again) as unknown as ReadonlyArray<never>))
          await last.blockUntilReady()
        },
        read: async () => {
          const out = (await (last as Array).ref.data()) as Float32Array
          return c.kind === "attention" ? swapped(out, [c.T, c.heads[0], c.D]) : out
        },
        release: () => {
          last?.dispose()
          const arrays = args.flatMap((x) =>
            "ref" in (x as object) ? [x] : Object.values(x as object)
          ) as ReadonlyArray<Array>
          for (const x of arrays) x.dispose()
        }
      }
    }
  }
}
