import { Effect } from "effect"
import { Backend } from "../../../backends/Backend.ts"
import * as HostArray from "../../../ir/HostArray.ts"
import * as Tolerance from "../../../ir/Tolerance.ts"
import { compile } from "../../../src/compile.ts"
import { type Spec, spec } from "../../../src/spec.ts"
import type { Case } from "./Case.ts"

/** What became of one case on one backend. */
export interface Outcome {
  /** Why it failed: an error, or the worst element of an output. Absent where every output is right. */
  readonly failure?: string
  /** Largest absolute error of any output. */
  readonly error: number
  /** How many flash_attention nodes give values (others give statistics of the same scores), and softmaxes that are left. */
  readonly attention: number
  readonly softmax: number
  /** What the compiler said of attention it did not fuse. */
  readonly refusals: ReadonlyArray<string>
}

const single = (array: HostArray.HostArray): HostArray.HostArray =>
  array.dtype === "f64" ? HostArray.fromNumbers("f32", array.shape, HostArray.toNumbers(array)) : array

/** Compiles a case as an expression and runs it on the backend in context. WebGPU has no f64: there such a case runs in f32. */
export const run = (c: Case): Effect.Effect<Outcome, never, Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const own = backend.name === "webgpu" ? single : (array: HostArray.HostArray) => array
    const inputs = Object.fromEntries(Object.entries(c.inputs).map(([name, a]) => [name, own(a)]))
    const signature = Object.fromEntries(
      Object.entries(inputs).map(([name, a]): [string, Spec] => [name, spec(a.dtype, a.shape)])
    )
    const compiled = yield* compile(c.build, signature)
    const results = yield* compiled(inputs)
    let error = 0
    let failure: string | undefined
    for (const [name, published] of Object.entries(c.expected)) {
      const [actual, expected] = [results[name] as HostArray.HostArray, own(published)]
      const compared = Tolerance.compare(actual, expected, {
        relative: c.tolerance / 2,
        absolute: c.tolerance
      })
      error = Math.max(error, compared.worst?.error ?? 0)
      if (!compared.ok) failure ??= `${name}: ${compared.message}`
    }
    const { nodes } = compiled.graph("after-fuse-attention")
    return {
      ...(failure === undefined ? {} : { failure }),
      error,
      attention: nodes.filter((n) => n.op === "flash_attention" && n.attrs.output === "result").length,
      softmax: nodes.filter((n) => n.op === "softmax").length,
      refusals: compiled.diagnostics.filter((d) => d.outcome === "refused").map((d) => d.failed ?? d.subject)
    }
  }).pipe(
    Effect.catch((e) =>
      Effect.succeed({
        failure: `${e._tag}: ${e.message}`,
        error: Number.NaN,
        attention: 0,
        softmax: 0,
        refusals: []
      })
    )
  )

/** Whether a case that holds attention became exactly one node, with no softmax beside it that the outputs do not ask for. */
export const fusedOnce = (outcome: Outcome): boolean => outcome.attention === 1
