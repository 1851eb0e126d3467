import { openDawn } from "../../src/webgpu/dawn.ts"
import { vulkanOptions } from "./vulkan.ts"

const lazy = <A>(make: () => Promise<A>): (() => Promise<A>) => {
  let value: Promise<A> | undefined
  return () => {
    value ??= make()
    return value
  }
}

/** What the runtime brings along: Deno has wgpu, Node has nothing. */
const own = (navigator as { readonly gpu?: GPU }).gpu

/** The runtime's own WebGPU, else Dawn on a real or software driver; opened once for the test worker. */
export const sharedGpu = lazy(async () => own ?? openDawn(vulkanOptions()))

/**
 * Dawn's null backend: validates everything and runs nothing, on any machine. It offers features that the software
 * driver lacks (`shader-f16`, subgroup matrices), so every kernel variant can be checked by a real compiler front end.
 */
export const nullGpu = lazy(
  async () => own ?? openDawn({ flags: ["backend=null", "enable-dawn-features=allow_unsafe_apis"] })
)

/** Asks for an adapter and says what is missing where there is none. */
export const adapterOf = async (gpu: GPU): Promise<GPUAdapter> => {
  const adapter = await gpu.requestAdapter()
  if (adapter === null)
    throw new Error("no WebGPU adapter: neither a driver nor the software Vulkan was found")
  return adapter
}

/** A device with the adapter's own features and limits, for tests that need no particular one. */
export const sharedDevice = lazy(async () => deviceOf(await adapterOf(await sharedGpu())))

/** As {@link sharedDevice}, on the null backend. */
export const nullDevice = lazy(async () => deviceOf(await adapterOf(await nullGpu())))

const deviceOf = async (adapter: GPUAdapter): Promise<GPUDevice> => {
  const device = await adapter.requestDevice({
    requiredFeatures: [...adapter.features] as Array<GPUFeatureName>,
    requiredLimits: limitsOf(adapter)
  })
  device.addEventListener("uncapturederror", ({ error }) => {
    throw new Error(`uncaptured WebGPU error: ${error.message}`)
  })
  return device
}

const limitsOf = ({ limits }: GPUAdapter): Record<string, number> => {
  const numbers: Record<string, number> = {}
  for (const name in limits) {
    const value = limits[name as keyof GPUSupportedLimits]
    if (typeof value === "number") numbers[name] = value
  }
  return numbers
}
