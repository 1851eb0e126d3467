import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Backend, type DeviceArray } from "../../backends/Backend.ts"
import { openDevice } from "../../backends/webgpu/runtime/openDevice.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import { compile } from "../../src/compile.ts"
import * as Wasm from "../../src/Wasm.ts"
import * as WebGpu from "../../src/WebGpu.ts"
import { floats, inputsOf } from "../cases/inputs.ts"
import { programOf } from "../cases/program.ts"
import { generation } from "../generation/effuse.ts"
import { Cannot, type Open } from "./Peer.ts"

/** Effuse: arguments are uploaded once, results stay where they are computed. */
export const open: Open = async (host) => {
  const scope = await Effect.runPromise(Scope.make())
  const build = <E>(layer: Layer.Layer<Backend, E>) =>
    Effect.runPromise(Layer.buildWithScope(layer, scope) as Effect.Effect<Context.Context<Backend>>)
  const device = host.webgpu
    ? (await Effect.runPromise(Effect.provideService(openDevice(await host.gpu(), {}), Scope.Scope, scope)))
        .device
    : undefined
  const options: Wasm.Options = { threads: host.threads } as Wasm.Options
  const context = await build(device === undefined ? Wasm.layerWith(options) : WebGpu.layerDevice(device))
  const backend = Context.get(context, Backend)
  if (!host.webgpu && host.threads > 1 && backend.description.includes("one thread"))
    throw new Cannot("runs on one thread")
  const run = <A, E>(effect: Effect.Effect<A, E, Backend | Scope.Scope>, own = scope): Promise<A> =>
    Effect.runPromise(Effect.provideService(Effect.provide(effect, context), Scope.Scope, own))
  return {
    description: backend.description,
    generate: async () => [await run(generation)],
    prepare: async (c) => {
      const { fn, signature, sizes } = programOf(c)
      const own = await Effect.runPromise(Scope.make())
      const call = await run(compile(fn as never, signature))
      const inputs: { [name: string]: DeviceArray } = {}
      for (const [name, x] of Object.entries(inputsOf(c))) inputs[name] = await run(backend.upload(x), own)
      return {
        run: async () => {
          await Effect.runPromise(Effect.scoped(call.onDevice(inputs as never)))
          await device?.queue.onSubmittedWorkDone()
        },
        kernels: call.stats(sizes).dispatches,
        read: async () => floats((await run(call(inputs as never) as never)) as HostArray),
        release: () => Effect.runPromise(Scope.close(own, Exit.void))
      }
    }
  }
}
