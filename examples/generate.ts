/** A small model of the Llama family that continues two prompts, with caches in place on the device: `npx node examples/generate.ts`. */
import { fileURLToPath } from "node:url"
import { Effect, Stream } from "effect"
import { Auto, Backend } from "../src/index.ts"
import * as nn from "../src/nn/index.ts"
import { model, params, read, write } from "./smallLlama.ts"

/** Continues prompts of any lengths together; each step gives a word for each of them and the bytes that it moved. */
export const steps = (prompts: ReadonlyArray<ReadonlyArray<number>>, maxTokens: number) =>
  nn.generate(model, params, prompts, { maxTokens, temperature: 0 })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const prompts = ["the small cat sees a", "rain"].map(read)
  let [bytes, first] = [0, 0]
  const watched = Stream.tap(steps(prompts, 32), ({ bytesMoved }) =>
    Effect.sync(() => {
      // The first step reads the prompts and compiles; the clock starts behind it.
      if (first === 0) first = performance.now()
      else bytes += bytesMoved
    })
  )
  const program = Effect.gen(function* () {
    const { name } = yield* Backend
    return { name, made: yield* Stream.runCollect(watched) }
  })
  const { name, made } = await Effect.runPromise(program.pipe(Effect.provide(Auto.layer)))
  prompts.forEach((prompt, n) => {
    console.log(`${write(prompt)} … ${write(made.flatMap(({ tokens }) => tokens[n] ?? []))}`)
  })
  const words = (made.length - 1) * prompts.length
  const seconds = (performance.now() - first) / 1000
  console.log(
    `${(words / seconds).toFixed(1)} words per second on ${name}, ${bytes / words} bytes moved per word`
  )
}
