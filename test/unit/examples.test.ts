/** Each file of examples/ runs, fuses, and gives what plain loops over its formula give. */
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { Effect } from "effect"
import { expect, test } from "vitest"
import * as alibi from "../../examples/causalAlibi.ts"
import * as cross from "../../examples/crossAttention.ts"
import * as decoding from "../../examples/decode.ts"
import * as padded from "../../examples/paddedBatch.ts"
import * as window from "../../examples/slidingWindow.ts"
import * as softcap from "../../examples/softcapSinks.ts"
import {
  type Backend,
  compile,
  type HostArray,
  type Inputs,
  Reference,
  Score,
  type Signature,
  type Tensor,
  type TensorsOf
} from "../../src/index.ts"
import * as Arrays from "../support/arrays.ts"
import { type Problem, plain, reader } from "../support/plain.ts"
import { expectOutputs } from "../support/tolerance.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const from = Arrays.random(7)
const f32 = (...shape: ReadonlyArray<number>) => Arrays.array(from, "f32", shape)

/** Axes in another order. */
const permuted = (array: HostArray, perm: ReadonlyArray<number>): HostArray<"f32"> => {
  const shape = perm.map((axis) => array.shape[axis] as number)
  const read = reader(array)
  const data = Float32Array.from({ length: array.data.length }, (_, flat) => {
    const at: Array<number> = []
    let rest = flat
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at[perm[axis] as number] = rest % (shape[axis] as number)
      rest = Math.floor(rest / (shape[axis] as number))
    }
    return read(...at)
  })
  return { dtype: "f32", shape, data }
}

/** x [B, T, M] times w [M, N]. */
const project = (x: HostArray, w: HostArray): HostArray<"f32"> => {
  const [B, T, M] = x.shape as readonly [number, number, number]
  const N = w.shape[1] as number
  const [readX, readW] = [reader(x), reader(w)]
  const data = Float32Array.from({ length: B * T * N }, (_, flat) => {
    const [row, n] = [Math.floor(flat / N), flat % N]
    let sum = 0
    for (let m = 0; m < M; m++) sum += readX(Math.floor(row / T), row % T, m) * readW(m, n)
    return sum
  })
  return { dtype: "f32", shape: [B, T, N], data }
}

const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, Reference.layer))

/** Compiles, which must fuse, runs, and compares within the tolerance that the traced graph derives. */
const expectPlain = async <const S extends Signature, const R extends Tensor.Tensor>(
  { fn, signature }: { readonly fn: (inputs: TensorsOf<S>) => R; readonly signature: S },
  inputs: Inputs<S>,
  sizes: Readonly<Record<string, number>>,
  expected: HostArray
): Promise<HostArray> => {
  const f = await run(compile(fn, signature, { requireFused: true }))
  const actual = (await run(f(inputs))) as HostArray
  expectOutputs(f.graph("traced"), sizes, [actual], [expected], { expected: "exact", reassociated: true })
  return actual
}

const scale = 1 / Math.sqrt(8)

test("every example is run here or in a browser, those of the gallery in gallery.test.ts, of layers in nn/examples.test.ts", () => {
  const files = readdirSync(`${root}/examples`, { recursive: true, encoding: "utf8" })
  expect(files.filter((file) => /^(?!gallery).*\.ts$/.test(file)).sort()).toEqual([
    "browser/generate.ts",
    "browser/page.ts",
    "causalAlibi.ts",
    "crossAttention.ts",
    "decode.ts",
    "generate.ts",
    "maskInLayer.ts",
    "paddedBatch.ts",
    "promise.ts",
    "pytorchWeights.ts",
    "slidingWindow.ts",
    "smallLlama.ts",
    "softcapSinks.ts",
    "visionTransformer.ts"
  ])
})

test("slidingWindow", async () => {
  const [q, k, v] = [f32(2, 9, 5, 8), f32(2, 3, 70, 8), f32(2, 3, 70, 8)]
  const logit: Problem["logit"] = (x, _b, _h, i, j) => (j <= i && j >= i - 64 ? x * scale : -Infinity)
  await expectPlain(window.attention, { q, k, v }, { B: 2, T: 5, S: 70 }, plain({ q, k, v, logit }))
})

test("causalAlibi", async () => {
  const [x, wq, wk, wv, wo] = [f32(2, 7, 32), f32(32, 32), f32(32, 32), f32(32, 32), f32(32, 32)]
  // Weights of the usual size, so that no row is all one key.
  for (const w of [wq, wk, wv, wo]) for (let n = 0; n < w.data.length; n++) w.data[n]! /= 6
  const slopes = Score.alibiSlopes(4)
  const heads = (w: HostArray) => permuted({ ...project(x, w), shape: [2, 7, 4, 8] }, [0, 2, 1, 3])
  const attended = plain({
    ...{ q: heads(wq), k: heads(wk), v: heads(wv) },
    logit: (p, _b, h, i, j) => (j <= i ? p * scale + (slopes[h] as number) * (j - i) : -Infinity)
  })
  const joined = { ...permuted(attended, [0, 2, 1, 3]), shape: [2, 7, 32] }
  await expectPlain(alibi.layer, { x, wq, wk, wv, wo }, { B: 2, T: 7 }, project(joined, wo))
})

test("softcapSinks", async () => {
  const [q, k, v, sinks] = [f32(1, 6, 4, 8), f32(1, 2, 9, 8), f32(1, 2, 9, 8), f32(6)]
  const logit: Problem["logit"] = (x, _b, _h, i, j) =>
    j <= i + 5 ? 30 * Math.tanh((x * scale) / 30) : -Infinity
  const expected = plain({ q, k, v, logit, sink: reader(sinks) })
  await expectPlain(softcap.attention, { q, k, v, sinks }, { B: 1, T: 4, S: 9 }, expected)
})

test("paddedBatch", async () => {
  const [q, k, v] = [f32(4, 2, 6, 8), f32(4, 2, 6, 8), f32(4, 2, 6, 8)]
  const lengths = { dtype: "i32", shape: [4], data: Int32Array.of(6, 1, 0, 4) } as const
  const logit: Problem["logit"] = (x, b, _h, _i, j) =>
    j < (lengths.data[b] as number) ? x * scale : -Infinity
  const expected = plain({ q, k, v, logit })
  const out = await expectPlain(padded.attention, { q, k, v, lengths }, { B: 4, T: 6 }, expected)
  expect([...out.data.subarray(2 * 96, 3 * 96)].every((x) => x === 0)).toBe(true)
})

test("crossAttention", async () => {
  const [q, k, v] = [f32(2, 5, 3, 8), f32(2, 7, 3, 8), f32(2, 7, 3, 12)]
  const heads = (x: HostArray) => permuted(x, [0, 2, 1, 3])
  const expected = plain({ q: heads(q), k: heads(k), v: heads(v), logit: (x) => x * scale })
  await expectPlain(cross.attention, { q, k, v }, { B: 2, T: 5, S: 7 }, heads(expected))
})

test("decode: prompt, then token by token, is causal attention over the whole text", async () => {
  const [q, k, v] = [f32(1, 4, 6, 8), f32(1, 2, 6, 8), f32(1, 2, 6, 8)]
  const logit: Problem["logit"] = (x, _b, _h, i, j) => (j <= i ? x * scale : -Infinity)
  const whole = permuted(plain({ q, k, v, logit }), [2, 0, 1, 3])
  const part = (x: HostArray, [start, stop]: readonly [number, number]): HostArray<"f32"> => {
    const byPosition = permuted(x, [2, 0, 1, 3])
    const each = byPosition.data.length / 6
    const data = byPosition.data.slice(start * each, stop * each)
    return permuted(
      { ...byPosition, shape: [stop - start, ...byPosition.shape.slice(1)], data },
      [1, 2, 0, 3]
    )
  }
  const steps = [[0, 3] as const, [3, 4] as const, [4, 5] as const, [5, 6] as const]
  const added = steps.map((at) => ({ q: part(q, at), k: part(k, at), v: part(v, at) }))
  const outputs = await run(decoding.decode(added, 8))
  const rows = outputs.map((out) => permuted(out, [2, 0, 1, 3]))
  expect(rows.map(({ shape }) => shape[0])).toEqual([3, 1, 1, 1])
  const data = Float32Array.from(rows.flatMap((row) => [...row.data]))
  const { fn, signature } = decoding.step
  const f = await run(compile((inputs: TensorsOf<typeof signature>) => fn(inputs).out, signature))
  const actual = { dtype: "f32", shape: whole.shape, data } as const
  const sizes = { T: 6, C: 8 }
  expectOutputs(f.graph("traced"), sizes, [actual], [whole], { expected: "exact", reassociated: true })
})

test("promise, as a script", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [`${root}/examples/promise.ts`])
  expect(stdout).toBe("attention: 1 fused, 0 refused\n3 30\n4 40\n6 60\n")
})
