/** A model in a web page: words appear as they are made, and can be stopped between any two. Runs on WebGPU, or on WebAssembly where there is none. */
import { Effect, Exit, Fiber, Stream } from "effect"
import { Auto, Backend, Wasm, WebGpu } from "../../src/index.ts"
import * as nn from "../../src/nn/index.ts"
import { model, params, read, write } from "../smallLlama.ts"

const layers = { auto: Auto.layer, webgpu: WebGpu.layer, wasm: Wasm.layer } as const

const element = <E extends Element>(id: string): E => document.querySelector(`#${id}`) as E
const field = (id: string): HTMLInputElement => element<HTMLInputElement>(id)
const say = (id: string, text: string, error = false): void => {
  element(id).textContent = text
  element(id).className = error ? "error" : ""
}

/** Shows a word behind the others. */
const append = (word: number): void => {
  const made = document.createElement("span")
  made.className = "made"
  made.textContent = ` ${write([word])}`
  element("text").append(made)
}

/** Continues what stands in the page, a word after the other. */
const writing = Effect.gen(function* () {
  const { name, description } = yield* Backend
  say("device", `Runs on ${name}: ${description}`)
  const prompt = yield* Effect.try({ try: () => read(field("prompt").value), catch: (e) => e as Error })
  say("text", write(prompt))
  say("cost", "Compiling…")
  const options = {
    maxTokens: Number(field("count").value),
    temperature: Number(field("temperature").value),
    seed: Math.floor(Math.random() * 2 ** 31)
  }
  let [words, bytes, first] = [0, 0, 0]
  yield* Stream.runForEach(nn.generate(model, params, [prompt], options), ({ tokens, bytesMoved }) =>
    Effect.sync(() => {
      for (const word of tokens) if (word !== undefined) append(word)
      // The first step reads the prompt and compiles; the clock starts behind it.
      if (words === 0) first = performance.now()
      else bytes += bytesMoved
      words += 1
      const seconds = (performance.now() - first) / 1000
      const pace = words === 1 ? "" : `, ${Math.round((words - 1) / seconds)} a second`
      const moved = words === 1 ? "" : `, ${bytes / (words - 1)} bytes moved for each`
      say("cost", `${words} words${pace}${moved}`)
    }).pipe(Effect.andThen(breath))
  )
})

let painted = performance.now()

/** Lets the page paint and hear clicks, if it has not for a frame's time. */
const breath = Effect.promise(async () => {
  if (performance.now() - painted < 16) return
  await new Promise((done) => setTimeout(done))
  painted = performance.now()
})

let running: Fiber.Fiber<unknown, unknown> | undefined

/** Settles when the words are there, or when somebody has stopped them. */
const run = async (): Promise<void> => {
  const layer = layers[element<HTMLSelectElement>("backend").value as keyof typeof layers]
  field("go").disabled = true
  field("stop").disabled = false
  document.body.dataset["state"] = "writing"
  const fiber = Effect.runFork(writing.pipe(Effect.provide(layer)))
  running = fiber
  const exit = await Effect.runPromise(Fiber.await(fiber))
  if (Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) {
    const error = Exit.findErrorOption(exit)
    say("device", error._tag === "Some" ? error.value.message : String(exit.cause), true)
  }
  field("go").disabled = false
  field("stop").disabled = true
  document.body.dataset["state"] = "done"
}

element("go").addEventListener("click", () => void run())
element("stop").addEventListener("click", () => {
  if (running !== undefined) Effect.runFork(Fiber.interrupt(running))
})
element("backend").addEventListener("change", () => void run())
void run()
