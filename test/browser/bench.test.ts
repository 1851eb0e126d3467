/** The benchmark in Chromium: a contender in a page, in turns with another one, results compared. */
import { expect, test } from "vitest"
import type { Attention } from "../../bench/cases/cases.ts"
import { inputsOf } from "../../bench/cases/inputs.ts"
import { judge } from "../../bench/cases/program.ts"
import { reference } from "../../bench/cases/reference.ts"
import { contendersOf } from "../../bench/contenders.ts"
import { type Options, parse } from "../../bench/options.ts"
import { nothingKnown, race } from "../../bench/race/turns.ts"

const small: Attention = {
  ...{ kind: "attention", name: "small", T: 128, S: 128, heads: [2, 1], D: 16 },
  ...{ causal: true, dtype: "f32", window: 20 }
}

const raced = async (args: ReadonlyArray<string>) => {
  const parsed = parse(args)
  const contenders = contendersOf((parsed as { readonly options: Options }).options)
  try {
    return await race(small, contenders, nothingKnown(), {
      ...{ rounds: 2, turn: 1, slow: 1e4, callLimit: 5e4, coldAllowance: 1e4, skipLimit: 1e6, tryAll: false },
      ...{ until: Infinity, deadline: () => Infinity },
      judge: (c, actual) => judge(c, actual, reference(c, inputsOf(c)))
    })
  } finally {
    for (const { child } of contenders) child.close()
  }
}

test("WebGPU in pages: Effuse is right, and the kernel without a window stands in", async () => {
  const entries = await raced(["--browser", "--peers", "plain"])
  expect(entries).toMatchObject([
    { contender: "effuse", state: "right", time: { count: expect.any(Number) } },
    { contender: "plain", state: "closest", variant: "every key before" }
  ])
})

test("WebAssembly in pages that are isolated: on one thread and on two", async () => {
  const entries = await raced(["--browser", "--cpu", "--peers", "effuse", "--threads", "1,2"])
  expect(entries).toMatchObject([
    { contender: "effuse 1t", threads: 1, state: "right" },
    { contender: "effuse 2t", threads: 2, state: "right" }
  ])
})
