import { floats } from "../cases/inputs.ts"
import type { Array, Jax } from "../peers/jaxApi.ts"
import { angles, count, epsilon, type Generation, generate, prompt, sizes, weights } from "./model.ts"

const { features, layers, heads, keyHeads, size } = sizes
const capacity = prompt.length + count

type Weights = { readonly [name: string]: Array }

interface Args {
  readonly x: Array
  readonly cos: Array
  readonly sin: Array
  /** Where the cache takes the new row, and how much of it is filled then; of one word. */
  readonly here?: Array
  readonly filled?: Array
  readonly caches: ReadonlyArray<Array>
  readonly w: Weights
}

/** Words [T] to the next word and caches [1, capacity, keyHeads, size]; a traced function for each T. */
const stepOf = ({ nn, numpy: np }: Jax, T: number) => {
  const norm = (x: Array, gain: Array): Array => {
    const square = np.mean(x.ref.mul(x.ref), -1, { keepdims: true })
    return x.div(np.sqrt(square.add(epsilon))).mul(gain)
  }
  const turn = (x: Array, cos: Array, sin: Array): Array => {
    const [a, b] = [x.ref.slice([], [], [], [0, size / 2]), x.slice([], [], [], [size / 2, size])]
    const first = a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref))
    return np.concatenate([first, b.mul(cos).add(a.mul(sin))], 3)
  }
  return ({ x: words, cos, sin, here, filled, caches, w }: Args): ReadonlyArray<Array> => {
    const of = (name: string): Array => (w[name] as Array).ref
    const next: Array[] = []
    const held = (rows: Array, cache: Array): Array => {
      if (here !== undefined) return np.where(here.ref, rows, cache)
      cache.dispose()
      return np.concatenate([rows, np.zeros([1, capacity - T, keyHeads, size])], 1)
    }
    let x = np.take(of("model.embed_tokens.weight"), words, 0).reshape([1, T, features])
    for (let n = 0; n < layers; n++) {
      const own = `model.layers.${n}`
      const y = norm(x.ref, of(`${own}.input_layernorm.weight`))
      const project = (name: string, count: number): Array =>
        np.matmul(y.ref, of(`${own}.self_attn.${name}_proj.weight`)).reshape([1, T, count, size])
      const q = turn(project("q", heads), cos.ref, sin.ref)
      const k = turn(project("k", keyHeads), cos.ref, sin.ref)
      const v = project("v", keyHeads)
      y.dispose()
      const [keys, values] = [held(k.ref, caches[2 * n] as Array), held(v.ref, caches[2 * n + 1] as Array)]
      const attended =
        filled === undefined
          ? nn.dotProductAttention(q, k, v, { isCausal: true })
          : nn.dotProductAttention(q, keys.ref, values.ref, { keyValueSeqLengths: filled.ref })
      if (filled !== undefined) for (const own of [k, v]) own.dispose()
      next.push(keys, values)
      x = x.add(np.matmul(attended.reshape([1, T, heads * size]), of(`${own}.self_attn.o_proj.weight`)))
      const z = norm(x.ref, of(`${own}.post_attention_layernorm.weight`))
      const open = nn.silu(np.matmul(z.ref, of(`${own}.mlp.gate_proj.weight`)))
      x = x.add(
        np.matmul(open.mul(np.matmul(z, of(`${own}.mlp.up_proj.weight`))), of(`${own}.mlp.down_proj.weight`))
      )
    }
    for (const own of [
      cos,
      sin,
      ...(here === undefined ? [] : [here]),
      ...(filled === undefined ? [] : [filled])
    ])
      own.dispose()
    const last = norm(x.slice([], [T - 1, T], []), of("model.norm.weight"))
    const word = np.argmax(np.matmul(last, of("table")), -1)
    for (const own of Object.values(w)) own.dispose()
    return [word, ...next]
  }
}

/** A traced function for the prompt and one for a word; caches of fixed capacity stay on the device, a word comes back. */
export const generation = async (jax: Jax): Promise<Generation> => {
  const { numpy: np } = jax
  const float = (data: Float32Array, shape: ReadonlyArray<number>): Array => np.array(data, { shape })
  const int = (data: ReadonlyArray<number>): Array =>
    np.array(Int32Array.from(data), { shape: [data.length], dtype: np.int32 })
  const own: { [name: string]: Array } = {}
  for (const [name, x] of Object.entries(weights())) {
    const made = float(floats(x), x.shape)
    if (name.endsWith("embed_tokens.weight")) own["table"] = made.ref.transpose([1, 0])
    own[name] = name.endsWith("_proj.weight") ? made.transpose([1, 0]) : made
  }
  const [prefill, decode] = [jax.jit(stepOf(jax, prompt.length)), jax.jit(stepOf(jax, 1))]
  return generate("", async () => {
    let caches: ReadonlyArray<Array> = Array.from({ length: 2 * layers }, () =>
      np.zeros([1, capacity, keyHeads, size])
    )
    return async (tokens, position) => {
      const T = tokens.length
      const table = (of: (angle: number) => number): Array =>
        float(angles(position, T, of), [1, T, 1, size / 2])
      const single =
        T > 1
          ? {}
          : {
              here: np.equal(np.arange(capacity), position).reshape([1, capacity, 1, 1]),
              filled: int([position + 1])
            }
      const w = Object.fromEntries(Object.entries(own).map(([name, x]) => [name, x.ref]))
      const args: Args = { x: int(tokens), cos: table(Math.cos), sin: table(Math.sin), ...single, caches, w }
      const [word, ...next] = (T > 1 ? prefill : decode)(args)
      caches = next
      const [token = -1] = await (word as Array).data()
      // Words, angles, the length and the word that comes back.
      return { token, bytes: 4 * (T + T * size + 1 + 1) }
    }
  })
}
