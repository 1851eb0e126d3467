/** The work of the pipeline grows with the graph and not faster: counted, not timed. */
import { Result } from "effect"
import { expect, it } from "vitest"
import { transformer } from "../../../bench/cases/transformer.ts"
import type * as Graph from "../../../ir/Graph.ts"
import * as Limits from "../../../ir/Limits.ts"
import * as Pipeline from "../../../passes/Pipeline.ts"

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

const compile = (graph: Graph.Graph, statistics = false): Pipeline.Compiled =>
  Result.getOrThrow(Pipeline.run(pipeline, graph, { limits: Limits.portable, statistics }))

/** How often the rules were tried in all. */
const attempts = (graph: Graph.Graph): number =>
  compile(graph, true)
    .snapshots.flatMap((s) => [...s.tallies.values()])
    .reduce((n, { tried }) => n + tried, 0)

type Method = (this: unknown, ...args: Array<unknown>) => unknown

/** What holds collections and what walks them: nearly all that a compiler does. */
const collections: ReadonlyArray<readonly [object, ReadonlyArray<string>]> = [
  ...[Map, Set, WeakMap, WeakSet].map(
    (type) => [type.prototype, ["get", "set", "has", "add"].filter((n) => n in type.prototype)] as const
  ),
  ...[new Map(), new Set(), []].map((x) => [Object.getPrototypeOf(x[Symbol.iterator]()), ["next"]] as const),
  [
    Array.prototype,
    ["push", "map", "flatMap", "filter", "find", "some", "every", "reduce", "forEach", "includes", "indexOf"]
  ]
]

/** Steps of a compilation: each access to a map or set, each element that is walked over, each call of what was given to do so. */
const steps = (graph: Graph.Graph): number => {
  let count = 0
  const methods = collections.flatMap(([of, names]) => {
    const held = of as { [name: string]: Method }
    return names.map((name) => ({ held, name, original: held[name] as Method }))
  })
  for (const { held, name, original } of methods) {
    // No spread here: it would walk, and be counted.
    held[name] = function (...args) {
      count++
      const given = args[0]
      if (typeof given === "function") {
        args[0] = function (this: unknown, ...inner: Array<unknown>) {
          count++
          return Reflect.apply(given, this, inner)
        }
      }
      return Reflect.apply(original, this, args)
    }
  }
  try {
    compile(graph)
  } finally {
    for (const { held, name, original } of methods) held[name] = original
  }
  return count
}

/** Numbers of layers with as many between them. */
const layers = [2, 17, 32] as const

/** What the later layers cost, over what the earlier cost: 1 where cost is linear, 2.6 where it is quadratic. */
const growth = ([few, some, many]: readonly [number, number, number]): number => (many - some) / (some - few)

it("the rules tried grow with the layers", () => {
  const [few, some, many] = layers.map((n) => attempts(transformer(n))) as [number, number, number]
  expect(some - few).toBeGreaterThan(1000)
  expect(growth([few, some, many])).toBeLessThan(1.03)
})

it("steps grow with the layers", () => {
  // What is computed once and kept is not counted.
  compile(transformer(1))
  const [few, some, many] = layers.map((n) => steps(transformer(n))) as [number, number, number]
  expect(some - few).toBeGreaterThan(100_000)
  expect(growth([few, some, many])).toBeLessThan(1.03)
})
