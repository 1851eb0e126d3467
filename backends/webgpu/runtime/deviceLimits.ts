import type { Limits } from "../../../ir/Limits.ts"

/** Names of the software adapters there are: SwiftShader, Mesa's llvmpipe and lavapipe, Windows' WARP. */
const software = /swiftshader|llvmpipe|lavapipe|software|basic render|warp/i

/** What a device offers, as plain data. `info` is the adapter's. */
export const deviceLimits = (device: GPUDevice, info: GPUAdapterInfo): Limits => {
  const { limits, features } = device
  const names = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`
  return {
    kind: info.isFallbackAdapter === true || software.test(names) ? "cpu" : "gpu",
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxBufferSize: limits.maxBufferSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    shaderF16: features.has("shader-f16"),
    twinProducts: true,
    productsInPlace: true,
    rowEpilogues: true,
    subgroups: features.has("subgroups")
      ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 }
      : undefined
  }
}

/** One line for people: who makes the adapter and what it can do. */
export const describe = (info: GPUAdapterInfo, limits: Limits): string => {
  const name =
    info.description ||
    [info.vendor, info.architecture, info.device].filter(Boolean).join(" ") ||
    "unnamed adapter"
  const features = [
    limits.kind === "cpu" ? "software" : undefined,
    limits.shaderF16 ? "shader-f16" : "no shader-f16",
    limits.subgroups ? `subgroups ${limits.subgroups.min} to ${limits.subgroups.max}` : "no subgroups",
    `${limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory`
  ]
  return `${name} (${features.filter(Boolean).join(", ")})`
}
