/** WebAssembly in a page: causal attention on threads where the page may have them, against the reference in the same page. */
import { Effect } from "effect"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { Attention, Auto, Backend, compile, Reference, spec, Wasm } from "../../../src/index.ts"
import * as Arrays from "../../support/arrays.ts"

const attention = compile(({ q, k, v }) => Attention.scaledDotProductAttention(q, k, v, { mask: "causal" }), {
  q: spec("f32", [1, 4, "T", 16]),
  k: spec("f32", [1, 2, "T", 16]),
  v: spec("f32", [1, 2, "T", 16])
})

const inputsOf = (T: number) => {
  const from = Arrays.random(T)
  const make = (heads: number) => Arrays.array(from, "f32", [1, heads, T, 16])
  return { q: make(4), k: make(2), v: make(2) }
}

const page = globalThis as unknown as { Worker: new (...args: ReadonlyArray<unknown>) => object }

/** Runs at each of the lengths; what is wrong, what the backend says of itself, and how many workers were asked for. */
export const run = ({
  auto = false,
  threads,
  simd = true,
  lengths
}: {
  readonly auto?: boolean
  readonly threads?: number
  readonly simd?: boolean
  readonly lengths: ReadonlyArray<number>
}) => {
  let workers = 0
  const Stock = page.Worker
  page.Worker = class extends Stock {
    constructor(...args: ReadonlyArray<unknown>) {
      super(...args)
      workers++
    }
  }
  const layer = auto ? Auto.layer : Wasm.layerWith({ simd, ...(threads === undefined ? {} : { threads }) })
  return Effect.gen(function* () {
    const backend = yield* Backend
    const f = yield* attention
    const expected = yield* attention.pipe(Effect.provide(Reference.layer))
    const wrong: Array<string> = []
    for (const T of lengths) {
      const given = inputsOf(T)
      const [tolerance = Tolerance.exact] = Tolerance.of(
        f.graph("traced"),
        { T },
        { expected: "rounded", reassociated: true }
      )
      const { ok, message } = Tolerance.compare(yield* f(given), yield* expected(given), tolerance)
      if (!ok) wrong.push(message)
      // The page is told of what went wrong with a worker.
      yield* Effect.sleep("20 millis")
    }
    page.Worker = Stock
    return {
      name: backend.name,
      description: backend.description,
      wrong,
      workers,
      alive: backend.buffersAlive()
    }
  }).pipe(Effect.provide(layer), Effect.runPromise)
}
