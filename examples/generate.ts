/** A small model of the Llama family that continues two prompts: `node examples/generate.ts`. Its weights are drawn, so the words mean nothing. */
import { fileURLToPath } from "node:url"
import { Effect, Stream } from "effect"
import { Auto, Backend } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"

export const model = nn.decoder({
  ...{ words: 64, features: 64, hidden: 128, layers: 2, heads: 4, kvHeads: 2 },
  rope: { base: 10000 },
  epsilon: 1e-5
})
export const params = model.init(7)

/** Continues prompts of any lengths together; each step gives a word for each of them and the bytes that it moved. */
export const steps = (prompts: ReadonlyArray<ReadonlyArray<number>>, maxTokens: number) =>
  nn.generate(model, params, prompts, { maxTokens, temperature: 0 })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const prompts = [[1, 5, 9, 2], [7]]
  let [bytes, first] = [0, 0]
  const watched = Stream.tap(steps(prompts, 32), ({ tokens, bytesMoved }) =>
    Effect.sync(() => {
      // The first step reads the prompts and compiles; the clock starts behind it.
      if (first === 0) first = performance.now()
      else bytes += bytesMoved
      console.log(tokens.join(" "))
    })
  )
  const program = Effect.gen(function* () {
    const { name } = yield* Backend
    return { name, made: yield* Stream.runCollect(watched) }
  })
  const { name, made } = await Effect.runPromise(program.pipe(Effect.provide(Auto.layer)))
  const words = (made.length - 1) * prompts.length
  const seconds = (performance.now() - first) / 1000
  console.log(
    `${(words / seconds).toFixed(1)} words per second on ${name}, ${bytes / words} bytes moved per word`
  )
}
