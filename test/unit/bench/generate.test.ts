import { expect, test } from "vitest"
import { generate, prompt } from "../../../bench/generation/model.ts"
import { maskOf } from "../../../bench/generation/onnx.ts"
import {
  agreed,
  type Generated,
  generateAll,
  generatedText,
  generateLine
} from "../../../bench/generation/race.ts"
import type { Contender } from "../../../bench/race/turns.ts"

const run = (
  peer: string,
  median: number,
  webgpu: boolean,
  state: Generated["state"] = "right"
): Generated => ({
  ...{ contender: peer, peer, webgpu, state, note: "why", variant: "", first: 1, cold: 2, bytes: 1024 },
  step: { median, low: median, high: median, least: median, count: 9 }
})

test("the words that most gave are right, and of them those who made all", () => {
  expect(
    agreed([
      [1, 3],
      [1, 2],
      [1, 2]
    ])
  ).toEqual([1, 2])
  expect(agreed([[7], [7], [1, 2]])).toEqual([1, 2])
  expect(agreed([])).toEqual([])
})

test("a run that is over asks nobody else, and tells of those who had a turn", async () => {
  const tokens = [1, 2]
  const run = { variant: "", tokens, steps: [1], first: 1, cold: 2, bytes: 4 }
  let over = Infinity
  const asked: Array<string> = []
  const contender = (label: string, answer: () => unknown): Contender => ({
    ...{ label, peer: label, threads: 1, skips: false },
    child: {
      ask: async () => {
        asked.push(label)
        return answer() as never
      },
      close: () => {}
    }
  })
  const done = () => ({ tag: "done", value: [run] })
  const all = await generateAll(
    [
      contender("first", done),
      contender("second", () => {
        over = 0
        return { tag: "failed", reason: "ended with SIGKILL" }
      }),
      contender("third", done)
    ],
    2,
    1000,
    () => over
  )
  expect(asked).toEqual(["first", "second"])
  expect(all).toMatchObject([{ contender: "first", state: "right" }])
})

test("the last line takes the fastest correct peer of each kind", () => {
  const all = [
    run("effuse", 2, false),
    run("onnxruntime-web", 4, false),
    run("jax-js", 1, false, "wrong"),
    run("effuse", 10, true),
    run("jax-js", 15, true)
  ]
  expect(generateLine(all)).toBe(
    "bench generate: 2.00× of the best wasm peer, – of native, 1.50× of the best WebGPU peer"
  )
  expect(generatedText(all)).toMatch(/effuse +500 words\/s .* 1,024 bytes\/word/)
  expect(generatedText(all)).toMatch(/jax-js .* WRONG: why/)
})

test("a sequence is fed its own words, and bytes are those of a word", async () => {
  const given: Array<readonly [ReadonlyArray<number>, number]> = []
  const made = await generate("", async () => async (tokens, position) => {
    given.push([tokens, position])
    return { token: position, bytes: tokens.length === 1 ? 8 : 1000 }
  })
  expect(given.slice(0, 3)).toEqual([
    [prompt, 0],
    [[0], prompt.length],
    [[prompt.length], prompt.length + 1]
  ])
  expect(made.bytes).toBe(8)
  expect(made.tokens).toHaveLength(made.steps.length + 1)
})

test("rows of heads that share keys see what stands before their position", () => {
  const { data, shape } = maskOf(2, 3)
  expect(shape).toEqual([8, 5])
  expect([...data.subarray(0, 10)].map((x) => x === 0)).toEqual([
    true,
    true,
    true,
    true,
    false,
    true,
    true,
    true,
    true,
    true
  ])
  expect([...data.subarray(10, 15)]).toEqual([...data.subarray(0, 5)])
})
