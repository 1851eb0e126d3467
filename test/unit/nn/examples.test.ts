/** Examples of layers: they run, fuse, and give what loops or a second way give. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { Effect, Stream } from "effect"
import { expect, test } from "vitest"
import type { Backend } from "../../../backends/Backend.ts"
import * as generating from "../../../examples/generate.ts"
import * as masked from "../../../examples/maskInLayer.ts"
import * as pytorch from "../../../examples/pytorchWeights.ts"
import * as small from "../../../examples/smallLlama.ts"
import * as vision from "../../../examples/visionTransformer.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import { compile } from "../../../src/compile.ts"
import * as nn from "../../../src/nn/index.ts"
import * as Reference from "../../../src/Reference.ts"
import { spec } from "../../../src/spec.ts"
import type * as Tensor from "../../../src/Tensor.ts"
import * as Arrays from "../../support/arrays.ts"
import { attend, type Linear } from "../../support/nn/attend.ts"
import { type Dense, dense } from "../../support/tensors.ts"
import { expectOutputs } from "../../support/tolerance.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))

const run = <A, E>(effect: Effect.Effect<A, E, Backend>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, Reference.layer))

test("generate: words are those of the whole text computed anew", async () => {
  const { model, params } = small
  const prompts = [[1, 5, 9, 2], [7]]
  const made = await run(Stream.runCollect(generating.steps(prompts, 4)))
  const f = await run(
    compile(
      ({ tokens, ...p }) =>
        model.apply(nn.Params.nest(model.params, p), { tokens: tokens as Tensor.Tensor }).logits,
      { ...nn.Params.signature(model.params), tokens: spec("i32", [1, "T"]) }
    )
  )
  for (const [n, prompt] of prompts.entries()) {
    const text = [...prompt]
    for (const { tokens } of made) {
      const inputs = {
        ...nn.Params.flatten(params),
        tokens: HostArray.fromNumbers("i32", [1, text.length], text)
      }
      const logits = HostArray.toNumbers((await run(f(inputs))) as HostArray.HostArray)
      const last = [...logits.subarray(-model.config.words)]
      expect(tokens[n]).toBe(last.indexOf(Math.max(...last)))
      text.push(tokens[n] as number)
    }
  }
})

test("pytorchWeights: PyTorch's layout and Flax' give the same", async () => {
  const folder = mkdtempSync(join(tmpdir(), "effuse-example-"))
  const path = join(folder, "model.safetensors")
  await pytorch.save(path)
  const lines: Array<string> = []
  const x = Arrays.array(Arrays.random(3), "f32", [1, 4, 16]) as HostArray.HostArray<"f32">
  const [own, other] = await run(pytorch.both(path, x, (line) => lines.push(line)))
  rmSync(folder, { recursive: true })
  expect(lines).toHaveLength(4)
  expect(lines.at(-1)).toMatch(/100 % {2}out_proj.bias/)
  expect(own.shape).toEqual([1, 4, 16])
  expect([...HostArray.toNumbers(own)].some((y) => y !== 0)).toBe(true)
  HostArray.toNumbers(other).forEach((y, n) => {
    expect(y).toBeCloseTo(HostArray.toNumbers(own)[n] as number, 5)
  })
})

test("maskInLayer: texts in one row do not see each other, all see the first two positions", async () => {
  const [B, T, F] = [2, 6, 32]
  const { fn, signature, options, inputs: given } = masked.attention
  const params = nn.Params.flatten(masked.layer.init(2))
  const from = Arrays.random(4)
  const x = Arrays.array(from, "f32", [B, T, F]) as HostArray.HostArray<"f32">
  const texts = [0, 0, 1, 1, 2, 2, 0, 1, 1, 1, 1, 2]
  const f = await run(compile(fn, signature, options))
  const inputs = given(params, { x, texts: HostArray.fromNumbers("i32", [B, T], texts) })
  const actual = (await run(f(inputs))) as HostArray.HostArray
  const numbers = (value: HostArray.HostArray | undefined): Dense =>
    dense(value?.shape ?? [], [...HostArray.toNumbers(value as HostArray.HostArray)])
  const linear = (name: string): Linear => ({
    weight: numbers(params[`${name}.weight`]),
    bias: numbers(params[`${name}.bias`])
  })
  const own = numbers(x)
  const frequencies = nn.frequencies(8, {})
  const all = { query: linear("query"), key: linear("key"), value: linear("value"), out: linear("out") }
  const expected = attend(all, [own, own, own], [4, 2], {
    visible: (b, _h, i, j) => j <= i && (j < 2 || texts[b * T + i] === texts[b * T + j]),
    turn: (head, position) => {
      const mean = head.reduce((s, y) => s + y * y, 0) / head.length
      // The gain starts at 1.
      const normed = head.map((y) => y / Math.sqrt(mean + 1e-5))
      return normed.map((y, d) => {
        const angle = position * (frequencies[d % 4] as number)
        const other = d < 4 ? -(normed[d + 4] as number) : (normed[d - 4] as number)
        return y * Math.cos(angle) + other * Math.sin(angle)
      })
    }
  })
  const whole = HostArray.fromNumbers("f32", expected.out.shape, expected.out.data)
  expectOutputs(f.graph("traced"), { B, T }, [actual], [whole], { expected: "exact", reassociated: true })
})

test("visionTransformer: two layers fuse, and a label for each image of a batch is that of the image alone", async () => {
  const { fn, signature, options, inputs } = vision.classify
  const f = await run(compile(fn, signature, options))
  const ops = f.graph("after-fuse-attention").nodes.map(({ op }) => op)
  expect(ops.filter((op) => op === "flash_attention")).toHaveLength(2)
  const params = nn.Params.flatten(vision.model.init(4))
  const [disc, dark] = [vision.image(), { ...vision.image(), data: new Float32Array(3 * 24 * 24) }]
  const data = Float32Array.from([...disc.data, ...dark.data])
  const of = async (pixels: HostArray.HostArray): Promise<ReadonlyArray<number>> => [
    ...HostArray.toNumbers((await run(f(inputs(params, { pixels })))) as HostArray.HostArray)
  ]
  const both = await of({ dtype: "f32", shape: [2, 3, 24, 24], data })
  const alone = [...(await of(disc)), ...(await of(dark))]
  both.forEach((y, n) => {
    expect(y).toBeCloseTo(alone[n] as number, 5)
  })
  expect(both.slice(0, 5)).not.toEqual(both.slice(5))
})

test.each([
  [
    "generate",
    /^the small cat sees a … no cat rain .*\nrain … that so .*words per second on \w+, 18 bytes moved per word\n$/s
  ],
  ["pytorchWeights", /give the same: true\n$/],
  ["maskInLayer", /attention: 1 fused, 0 refused/],
  ["visionTransformer", /the likeliest is label \d\n$/]
])("%s, as a script", async (name, said) => {
  const { stdout } = await promisify(execFile)(process.execPath, [`${root}/examples/${name}.ts`])
  expect(stdout).toMatch(said)
})
