/**
 * The main job in one minute: attention written as plain expressions, seen before and after fusion, run on a GPU where there is one and else on
 * WebAssembly, at several lengths, compared with the reference.
 */
import { Effect } from "effect"
import { fn, signature } from "../examples/slidingWindow.ts"
import type { HostArray } from "../ir/HostArray.ts"
import * as Tolerance from "../ir/Tolerance.ts"
import { Auto, Backend, compile, Reference } from "../src/index.ts"
import * as Arrays from "../test/support/arrays.ts"
import { cases, folder, missing } from "../test/support/conformance/load.ts"
import { table } from "./table.ts"

type Inputs = { readonly [K in keyof typeof signature]: HostArray }

const seeded = (seed: number, B: number, T: number, S: number): Inputs => {
  const from = Arrays.random(seed)
  const make = (heads: number, length: number) => Arrays.array(from, "f32", [B, heads, length, 8], "normal")
  return { q: make(9, T), k: make(3, S), v: make(3, S) }
}

/** Published input where its folder is there. */
const published = (): { readonly inputs: Inputs; readonly source: string } => {
  const absent = missing()
  if (absent !== undefined) return { inputs: seeded(1, 2, 4, 6), source: `seeded random input (${absent})` }
  const found = cases().find((c) => c.name === "attention_4d_gqa")
  if (found === undefined) return { inputs: seeded(1, 2, 4, 6), source: "seeded random input" }
  const { Q, K, V } = found.inputs as { readonly Q: HostArray; readonly K: HostArray; readonly V: HostArray }
  return { inputs: { q: Q, k: K, v: V }, source: `the published case ${found.name} of ${folder()}` }
}

const sizesOf = ({ q, k }: Inputs) => ({
  B: q.shape[0] as number,
  T: q.shape[2] as number,
  S: k.shape[2] as number
})

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

const heading = (text: string): void => console.log(`\n${text}\n${"─".repeat(text.length)}`)

const first = published()
const lengths = [seeded(2, 1, 1, 257), seeded(3, 1, 131, 131), seeded(4, 2, 509, 509)]

const reference = Effect.gen(function* () {
  const run = yield* compile(fn, signature, { pipeline: "canonicalize" })
  return yield* Effect.forEach([first.inputs, ...lengths], run)
}).pipe(Effect.provide(Reference.layer))

const names = { webgpu: "WebGPU", wasm: "WebAssembly", reference: "JavaScript" } as const

const demo = Effect.gen(function* () {
  const backend = yield* Backend
  console.log(`Running on ${backend.description}`)
  const started = performance.now()
  const fused = yield* compile(fn, signature, { requireFused: true })
  const compiled = performance.now() - started
  const unfused = yield* compile(fn, signature, { pipeline: "canonicalize" })

  heading("As written")
  console.log(fused.ir("traced"))
  heading("After fuse-attention")
  console.log(fused.ir("after-fuse-attention"))
  heading("What the compiler says")
  console.log(fused.explain())

  heading(`${names[backend.name]} against the reference interpreter`)
  console.log(`Compiled in ${compiled.toFixed(0)} ms. First input: ${first.source}.\n`)
  const expected = yield* reference
  const before = backend.pipelinesCreated()
  const rows: Array<ReadonlyArray<string>> = []
  let wrong = 0
  for (const [i, inputs] of [first.inputs, ...lengths].entries()) {
    const sizes = sizesOf(inputs)
    const allowed = Tolerance.of(fused.graph("traced"), sizes, { expected: "rounded", reassociated: true })[0]
    const compared = Tolerance.compare(
      yield* fused(inputs),
      expected[i] as HostArray,
      allowed ?? Tolerance.exact
    )
    if (!compared.ok) wrong++
    rows.push([
      `B ${sizes.B}, T ${sizes.T}, S ${sizes.S}`,
      (compared.worst?.error ?? 0).toExponential(1),
      (compared.worst?.allowed ?? 0).toExponential(1),
      compared.ok ? "right" : "WRONG",
      String(backend.pipelinesCreated() - before)
    ])
  }
  console.log(table(["lengths", "max error", "allowed", "", "pipelines"], rows))
  console.log(
    "\nPipelines so far: all are asked for by the end of the first call's preparation, none for a length."
  )

  const largest = lengths.at(-1) as Inputs
  const sizes = sizesOf(largest)
  heading(`Unfused against fused at B ${sizes.B}, T ${sizes.T}, S ${sizes.S}`)
  const cost = (run: typeof fused) =>
    Effect.gen(function* () {
      const times: Array<number> = []
      for (let i = 0; i < 5; i++) {
        const start = performance.now()
        yield* run(largest)
        times.push(performance.now() - start)
      }
      return { ...run.stats(sizes), time: median(times) }
    })
  const [plain, one] = [yield* cost(unfused as typeof fused), yield* cost(fused)]
  const bytes = (n: number): string => n.toLocaleString("en")
  console.log(
    table(
      ["", "unfused", "fused"],
      [
        ["kernels dispatched", String(plain.dispatches), String(one.dispatches)],
        ["bytes of intermediate memory", bytes(plain.scratchBytes), bytes(one.scratchBytes)],
        ["bytes of K and V read", bytes(plain.keyValueBytesRead), bytes(one.keyValueBytesRead)],
        ["milliseconds, median of 5", plain.time.toFixed(1), one.time.toFixed(1)]
      ]
    )
  )
  return wrong
})

const next = `
Next: npx effuse explain examples/softcapSinks.ts   what became of another program, and why
      npx effuse doctor                             what this machine has
      npm test                                      every promise, checked here
      README.md                                     the same with your own expressions`

const wrong = await Effect.runPromise(demo.pipe(Effect.provide(Auto.layer)))
console.log(wrong === 0 ? next : `\n${wrong} of the lengths came out wrong: see above`)
process.exitCode = wrong === 0 ? 0 : 1
