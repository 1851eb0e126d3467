import type { HostArray } from "../../../ir/HostArray.ts"
import * as Tensor from "../../../src/Tensor.ts"
import type { Case } from "./Case.ts"

/** Transcribed literals: flat row-major arrays with their parameters, rebuilt as expressions. */

type T = Tensor.Tensor
type Bools = Tensor.Tensor<"bool">

/** A literal as the file holds it; which fields there are depends on its kind. */
export interface Literal {
  readonly kind: string
  readonly name: string
  readonly tol: number
  readonly y: ReadonlyArray<number>
  readonly [field: string]: unknown
}

export const numbers = (c: Literal, field: string): ReadonlyArray<number> | undefined =>
  Array.isArray(c[field]) ? (c[field] as ReadonlyArray<unknown>).flat(8).map(Number) : undefined

export const number = (c: Literal, field: string): number | undefined =>
  typeof c[field] === "number" ? (c[field] as number) : undefined

export const f32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>): HostArray => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values)
})

export const bools = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>): HostArray => ({
  dtype: "bool",
  shape,
  data: Uint8Array.from(values)
})

interface Parts {
  readonly inputs: { readonly [name: string]: HostArray }
  readonly expected: { readonly [name: string]: HostArray }
  readonly build: Case["build"]
}

const heads = (x: T, count: number): T => {
  const [batch, length] = x.shape as readonly [number, number]
  return Tensor.permute(Tensor.reshape(x, [batch, length, count, -1]), [0, 2, 1, 3] as const)
}

const merge = (x: T): T => {
  const [batch, , length] = x.shape as readonly [number, number, number]
  return Tensor.reshape(Tensor.permute(x, [0, 2, 1, 3] as const), [batch, length, -1])
}

const scores = (q: T, k: T, scale: number): T => Tensor.mul(Tensor.matmul(q, Tensor.transpose(k)), scale)

/** Kinds gqa and mha: q (B, S, heads·dim), k and v (B, S, kvHeads·dim), a past that comes first. */
const packed = (c: Literal): Parts => {
  const batch = number(c, "batch") ?? 1
  const [dim, nq, nkv] = [
    number(c, "dim") as number,
    number(c, "heads") as number,
    number(c, "kvHeads") as number
  ]
  const q = numbers(c, "q") as ReadonlyArray<number>
  const k = numbers(c, "k") as ReadonlyArray<number>
  const past = numbers(c, "pastK")
  const queries = q.length / (batch * nq * dim)
  const fresh = k.length / (batch * nkv * dim)
  const pastLength = past === undefined ? 0 : past.length / (batch * nkv * dim)
  const total = fresh + pastLength
  const optional = (name: string, shape: ReadonlyArray<number>, make = f32) => {
    const values = numbers(c, name)
    return values === undefined ? {} : { [name]: make(shape, values) }
  }
  const inputs = {
    q: f32([batch, queries, nq * dim], q),
    k: f32([batch, fresh, nkv * dim], k),
    v: f32([batch, fresh, nkv * dim], numbers(c, "v") as ReadonlyArray<number>),
    ...optional("pastK", [batch, nkv, pastLength, dim]),
    ...optional("pastV", [batch, nkv, pastLength, dim]),
    ...optional("sink", [nq]),
    ...optional("bias", (c["biasShape"] as ReadonlyArray<number>) ?? []),
    ...optional("qkvBias", [(nq + 2 * nkv) * dim]),
    ...optional("boolMask", [queries, total], bools)
  }
  // One sink for all heads is written once.
  const sinks = numbers(c, "sink")
  if (sinks !== undefined)
    Object.assign(inputs, { sink: f32([nq], sinks.length === nq ? sinks : Array(nq).fill(sinks[0])) })
  return {
    inputs,
    expected: { y: f32([batch, queries, nq * dim], c.y) },
    build: (given) => {
      const all = given as { readonly q: T; readonly k: T; readonly v: T } & Partial<typeof given>
      const boolMask = all["boolMask"] as Bools | undefined
      const part = (from: number, count: number): T | undefined =>
        all["qkvBias"] && Tensor.slice(all["qkvBias"], 0, { start: from, stop: from + count })
      const biased = (x: T, b: T | undefined): T => (b === undefined ? x : Tensor.add(x, b))
      const query = heads(biased(all.q, part(0, nq * dim)), nq)
      const newK = heads(biased(all.k, part(nq * dim, nkv * dim)), nkv)
      const newV = heads(biased(all.v, part((nq + nkv) * dim, nkv * dim)), nkv)
      const key = all["pastK"] ? Tensor.concat([all["pastK"], newK], 2) : newK
      const value = all["pastV"] ? Tensor.concat([all["pastV"], newV], 2) : newV
      const group = nq / nkv
      let s = scores(query, Tensor.repeatHeads(key, group), number(c, "scale") ?? 1 / Math.sqrt(dim))
      const cap = number(c, "softcap")
      if (cap !== undefined && cap > 0) s = Tensor.mul(Tensor.tanh(Tensor.div(s, cap)), cap)
      if (all["bias"]) s = Tensor.add(s, all["bias"])
      const i = Tensor.add(Tensor.reshape(Tensor.arange(queries), [queries, 1]), total - queries)
      const j = Tensor.arange(total)
      if (c["causal"] === "bottom-right") s = Tensor.where(Tensor.le(j, i), s, -Infinity)
      const window = number(c, "window")
      if (window !== undefined && window > 0) {
        s = Tensor.where(Tensor.gt(j, Tensor.sub(i, window)), s, -Infinity)
      }
      if (boolMask) s = Tensor.where(boolMask, s, -Infinity)
      let weights: T
      if (all["sink"]) {
        // A sink is an extra column of logits, dropped after the softmax: it joins the denominator only.
        const column = Tensor.broadcastTo(Tensor.reshape(all["sink"], [1, nq, 1, 1]), [batch, nq, queries, 1])
        const wide = Tensor.softmax(Tensor.concat([s, column], -1), -1)
        weights = Tensor.slice(wide, -1, { start: 0, stop: total })
      } else weights = Tensor.softmax(s, -1)
      return { y: merge(Tensor.matmul(weights, Tensor.repeatHeads(value, group))) }
    }
  }
}

/** x (B, S, in) · w (in, 3·hidden) + b, split into q, k, v; no output projection. */
const qkvLayer = (c: Literal): Parts => {
  const shape = c["shape"] as readonly [number, number, number]
  const [count, hidden] = [number(c, "heads") as number, number(c, "hidden") as number]
  return {
    inputs: {
      x: f32(shape, numbers(c, "x") as ReadonlyArray<number>),
      w: f32([shape[2], 3 * hidden], numbers(c, "w") as ReadonlyArray<number>),
      b: f32([3 * hidden], numbers(c, "b") as ReadonlyArray<number>)
    },
    expected: { y: f32([shape[0], shape[1], hidden], c.y) },
    build: (given) => {
      const { x, w, b } = given as { readonly x: T; readonly w: T; readonly b: T }
      const qkv = Tensor.add(Tensor.matmul(x, w), b)
      const part = (n: number): T =>
        heads(Tensor.slice(qkv, -1, { start: n * hidden, stop: (n + 1) * hidden }), count)
      const s = scores(part(0), part(1), number(c, "scale") ?? 1 / Math.sqrt(hidden / count))
      return { y: merge(Tensor.matmul(Tensor.softmax(s, -1), part(2))) }
    }
  }
}

/** Single-head attention without scaling; a value mask hides keys, a query mask zeroes rows of the result. */
const kerasDot = (c: Literal): Parts => {
  const [length, dim] = [number(c, "S") as number, number(c, "dim") as number]
  const [valueMask, queryMask] = [numbers(c, "valueMask"), numbers(c, "queryMask")]
  const tensor = (name: string) => f32([1, length, dim], numbers(c, name) as ReadonlyArray<number>)
  return {
    inputs: {
      q: tensor("q"),
      k: tensor("k"),
      v: tensor("v"),
      ...(valueMask ? { valueMask: bools([1, 1, length], valueMask) } : {}),
      ...(queryMask ? { queryMask: bools([1, length, 1], queryMask) } : {})
    },
    expected: {
      y: f32([1, length, dim], c.y),
      ...(numbers(c, "scores")
        ? { scores: f32([1, length, length], numbers(c, "scores") as ReadonlyArray<number>) }
        : {})
    },
    build: (given) => {
      const all = given as { readonly q: T; readonly k: T; readonly v: T; readonly [name: string]: T }
      const [valid, asked] = [all["valueMask"] as Bools | undefined, all["queryMask"] as Bools | undefined]
      const raw = scores(all.q, all.k, 1)
      const s = valid ? Tensor.where(valid, raw, -65504) : raw
      const weights = Tensor.softmax(s, -1)
      const y = Tensor.matmul(weights, all.v)
      const kept = asked ? Tensor.where(asked, y, 0) : y
      return numbers(c, "scores") ? { y: kept, scores: weights } : { y: kept }
    }
  }
}

/** A window of `left` keys before and `right` after the own one, over scores that are all zero. */
const onnxWindow = (c: Literal): Parts => {
  const v = numbers(c, "v") as ReadonlyArray<number>
  const n = v.length
  const zeros = f32([1, 1, n, 1], Array(n).fill(0))
  return {
    inputs: { q: zeros, k: zeros, v: f32([1, 1, n, 1], v) },
    expected: { y: f32([1, 1, n, 1], c.y) },
    build: (given) => {
      const { q, k, v: values } = given as { readonly q: T; readonly k: T; readonly v: T }
      const i = Tensor.reshape(Tensor.arange(n), [n, 1])
      const j = Tensor.arange(n)
      const left = Tensor.ge(j, Tensor.sub(i, number(c, "left") as number))
      const right = Tensor.le(j, Tensor.add(i, number(c, "right") as number))
      const s = Tensor.where(Tensor.and(left, right), scores(q, k, 1), -Infinity)
      return { y: Tensor.matmul(Tensor.softmax(s, -1), values) }
    }
  }
}

const kinds: { readonly [kind: string]: (c: Literal) => Parts } = {
  gqa: packed,
  mha: packed,
  "quiet-softmax": packed,
  "qkv-layer": qkvLayer,
  "keras-dot": kerasDot,
  "onnx-window": onnxWindow
}

export const literalCase = (stored: { readonly kind: string }): Case => {
  const c = stored as Literal
  const parts = (kinds[c.kind] as (c: Literal) => Parts)(c)
  return { ...parts, name: c.name, kind: c.kind, tolerance: c.tol, attention: true }
}
