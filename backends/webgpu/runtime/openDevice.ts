import { Effect, type Scope } from "effect"
import { UnsupportedByDevice } from "../../errors.ts"

export interface OpenOptions {
  readonly powerPreference?: GPUPowerPreference
}

const hint =
  "install a GPU driver or a software Vulkan driver, or use Reference.layer; `effuse doctor` says what was found"

/** Dawn frees its instance with the `GPU` object, also while a device of it lives: a device keeps its own alive. */
const implementations = new WeakMap<GPUDevice, GPU>()

/** A device with everything the adapter offers; the scope destroys it. */
export const openDevice = (
  gpu: GPU,
  options: OpenOptions = {}
): Effect.Effect<
  { readonly device: GPUDevice; readonly info: GPUAdapterInfo },
  UnsupportedByDevice,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const adapter = yield* Effect.tryPromise({
      try: () => gpu.requestAdapter({ powerPreference: options.powerPreference ?? "high-performance" }),
      catch: (cause) =>
        new UnsupportedByDevice({ message: `asking for a WebGPU adapter failed: ${String(cause)}`, hint })
    })
    if (adapter === null) {
      return yield* new UnsupportedByDevice({
        message: "there is no WebGPU adapter on this machine",
        hint
      })
    }
    const wanted: ReadonlyArray<GPUFeatureName> = ["shader-f16", "subgroups", "timestamp-query"]
    const device = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () =>
          adapter.requestDevice({
            requiredFeatures: wanted.filter((f) => adapter.features.has(f)),
            requiredLimits: most(adapter.limits)
          }),
        catch: (cause) =>
          new UnsupportedByDevice({
            message: `opening the WebGPU device failed: ${String(cause)}`,
            hint: "close other users of the GPU and try again, or use Reference.layer"
          })
      }),
      (opened) => Effect.sync(() => opened.destroy())
    )
    implementations.set(device, gpu)
    return { device, info: adapter.info }
  })

const raised = [
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage"
] as const satisfies ReadonlyArray<keyof GPUSupportedLimits>

/** The adapter's own values of the limits that kernels use; unasked, a device gets the specification's defaults. */
const most = (limits: GPUSupportedLimits): Record<string, number> =>
  Object.fromEntries(raised.map((name) => [name, limits[name]]))
