import { Effect, type Scope } from "effect"
import type * as Dim from "../../ir/Dim.ts"
import { DTypeError, ShapeError } from "../../ir/errors.ts"
import type * as Graph from "../../ir/Graph.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as KernelBody from "../../ir/KernelBody.ts"
import * as Limits from "../../ir/Limits.ts"
import * as Print from "../../ir/Print.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { BackendShape, DeviceArray, Plan, RunOptions, Value } from "../Backend.ts"
import { type BackendError, InvalidArray, OutOfMemory } from "../errors.ts"
import type { Profile } from "../Profile.ts"
import * as Stopwatch from "../stopwatch.ts"
import * as Memory from "./memory.ts"
import * as Reference from "./Reference.ts"
import * as Stats from "./stats.ts"

/** Elements a tensor may have: the reference addresses them with 32-bit offsets. */
const maxElements = 2 ** 31 - 1

/** Refuses a call of which one tensor could not be addressed, before anything is computed. */
const checkSizes = (graph: Graph.Graph, sizes: Dim.Bindings): void => {
  for (const node of graph.nodes) {
    const elements = Shape.evaluate(node.type.shape, sizes).reduce((a, b) => a * b, 1)
    if (elements > maxElements) {
      throw new OutOfMemory({
        message: `${node.op}: ${TensorType.print(node.type)} has ${elements} elements; the reference holds ${maxElements} in one tensor`,
        hint: "use smaller lengths, or a GPU backend",
        bytes: elements * 8
      })
    }
  }
}

const known = (cause: unknown): BackendError => {
  if (cause instanceof InvalidArray || cause instanceof OutOfMemory) return cause
  if (cause instanceof ShapeError || cause instanceof DTypeError)
    return new InvalidArray({ message: cause.what, hint: "check the graph that was compiled" })
  // V8 refuses an allocation with a RangeError.
  if (cause instanceof RangeError)
    return new OutOfMemory({ message: `the reference ran out of memory: ${cause.message}`, bytes: 0 })
  throw cause
}

const attempt = <A>(run: () => A): Effect.Effect<A, BackendError> => Effect.try({ try: run, catch: known })

/**
 * The reference as a backend: every dtype, every op, every form of graph; nothing is compiled. "f64" computes floats in float64 and
 * rounds the outputs only.
 */
export const make = (options: Reference.Options = {}): BackendShape => {
  const memory = Memory.make()

  /** Device arrays that the scope takes back. */
  const owned = (
    acquire: () => ReadonlyArray<HostArray>
  ): Effect.Effect<ReadonlyArray<DeviceArray>, BackendError, Scope.Scope> =>
    Effect.acquireRelease(
      attempt(() => acquire().map(memory.hold)),
      (arrays) =>
        Effect.sync(() => {
          for (const array of arrays) memory.release(array, "closed")
        })
    )

  const run = (
    { graph }: Plan,
    values: ReadonlyArray<Value>,
    sizes: Dim.Bindings,
    { donated }: RunOptions
  ): ReadonlyArray<HostArray> => {
    checkSizes(graph, sizes)
    const arrays = values.map(memory.read)
    for (const index of donated) {
      const value = values[index]
      if (value !== undefined && "_tag" in value && values.indexOf(value) !== values.lastIndexOf(value)) {
        throw new InvalidArray({
          message: `input ${JSON.stringify(graph.inputs[index]?.attrs.name)} is donated, but the same array is passed twice`,
          hint: "pass a copy, or do not donate it"
        })
      }
    }
    const results = Reference.evaluate(graph, arrays, sizes, options)
    for (const index of donated) {
      const value = values[index]
      if (value !== undefined && "_tag" in value) memory.release(value, "donated")
    }
    // A function may return an argument as it is; its memory stays the caller's.
    return results.map((r) => (arrays.some((a) => a.data === r.data) ? copy(r) : r))
  }

  /** Every node is a kernel, of the number that it prints with. */
  const profile = ({ graph }: Plan, values: ReadonlyArray<Value>, sizes: Dim.Bindings): Profile => {
    checkSizes(graph, sizes)
    const stopwatch = Stopwatch.make()
    const arrays = values.map(memory.read)
    const numbers = new Map(graph.nodes.map((node, i) => [node, i] as const))
    stopwatch.start()
    Reference.evaluate(graph, arrays, sizes, options, (node) => {
      if (node.op === "constant") return
      const body = KernelBody.of(node)
      const named = KernelBody.anchorOf(body) ?? KernelBody.updateOf(body) ?? node
      const name = named.op === "fused" ? "map" : named.op
      stopwatch.lap({ name, kernel: numbers.get(node) ?? 0, workgroups: 1 })
    })
    return stopwatch.profile()
  }

  return {
    name: "reference",
    limits: {
      ...Limits.portable,
      kind: "cpu",
      ownTiles: true,
      maxStorageBufferBindingSize: maxElements,
      maxBufferSize: maxElements
    },
    description: "reference interpreter (JavaScript, no device)",
    compile: (plan) =>
      Effect.succeed({
        program: Print.graph(plan.graph),
        stats: (sizes) => Stats.of(plan.graph, sizes),
        call: (values, sizes, runOptions) => attempt(() => run(plan, values, sizes, runOptions)),
        run: (values, sizes, runOptions) => owned(() => run(plan, values, sizes, runOptions)),
        profile: (values, sizes) => attempt(() => profile(plan, values, sizes))
      }),
    upload: (array) =>
      Effect.map(
        owned(() => [copy(array)]),
        (arrays) => arrays[0] as DeviceArray
      ),
    download: (array) => attempt(() => copy(memory.read(array))),
    free: (array) => Effect.sync(() => memory.release(array, "closed")),
    pipelinesCreated: () => 0,
    buffersAlive: memory.alive
  }
}

/** So that neither side sees the other's later writes. */
const copy = (array: HostArray): HostArray => ({ ...array, data: array.data.slice() })
