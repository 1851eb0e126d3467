import { Effect } from "effect"
import type { HostArray } from "../../../ir/HostArray.ts"
import { type CompileOptions, compile } from "../../../src/compile.ts"
import * as WebGpu from "../../../src/WebGpu.ts"
import { sharedDevice } from "../dawn.ts"
import { signature } from "./arguments.ts"
import { build } from "./build.ts"
import { call, inFloat32, runs, type Verdict } from "./judge.ts"
import type { Program } from "./Program.ts"

/** Runs a program on WebGPU at all its lengths, against the oracle. Whether it fuses is the same for every backend. */
export const onWebgpu = async (p: Program, options: CompileOptions = {}): Promise<Verdict> => {
  const run = Effect.gen(function* () {
    const f = yield* compile(build(p), signature(p), options)
    const graph = f.graph("traced")
    for (const lengths of runs(p)) {
      const c = call(p, graph, lengths)
      const named: { readonly [name: string]: HostArray } = yield* f(c.inputs)
      const actual = graph.outputs.map(({ name }) => named[name] as HostArray)
      const why = inFloat32(graph, c, actual)
      if (why !== undefined) return { outcome: "wrong", why: `on WebGPU: ${why}` } as const
    }
    return { outcome: "fused", why: "" } as const
  })
  return Effect.runPromise(Effect.provide(run, WebGpu.layerDevice(await sharedDevice())))
}
