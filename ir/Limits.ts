/**
 * What a device can do, as plain data: passes choose schedules from it and backends fill it in. Bytes and counts are
 * WebGPU's names and units (GPUSupportedLimits).
 */
export interface Limits {
  /**
   * "gpu" hides latency with many threads and shares tiles in workgroup memory; "cpu" (software WebGPU) wins by
   * reusing registers and by few barriers. Never changes a result.
   */
  readonly kind: "gpu" | "cpu"
  readonly maxComputeWorkgroupStorageSize: number
  readonly maxComputeInvocationsPerWorkgroup: number
  readonly maxComputeWorkgroupsPerDimension: number
  readonly maxStorageBufferBindingSize: number
  readonly maxBufferSize: number
  readonly maxStorageBuffersPerShaderStage: number
  /** Whether `enable f16` works. f16 storage does without it. */
  readonly shaderF16: boolean
  /** Whether kernels cut their work themselves, at any size and of any dtype: then no schedules are chosen. */
  readonly ownTiles?: boolean
  /** Whether a kernel may compute two contractions of one operand side by side. */
  readonly twinProducts?: boolean
  /** Whether a kernel of contractions may write what it gives straight into a tensor, as a cache takes keys and values. */
  readonly productsInPlace?: boolean
  /** Whether a kernel of a normalisation may end with what mixes the elements of a row, as RoPE does, and write that into a tensor. */
  readonly rowEpilogues?: boolean
  /** Smallest and largest subgroup a shader may run with, where subgroups are available. */
  readonly subgroups?: { readonly min: number; readonly max: number } | undefined
}

/**
 * Whether four threads that make a workgroup may hand each other what they have loaded. Nobody promises how a larger subgroup is filled, and what a lane
 * hands over that does not run is undefined; one of four lanes is a quad, in the order of `subgroup_invocation_id`, and a workgroup of four fills it.
 */
export const haveQuads = ({ subgroups }: Limits): boolean => subgroups?.min === 4 && subgroups.max === 4

/** What every WebGPU device offers (the specification's default limits), and no optional feature. */
export const portable: Limits = {
  kind: "gpu",
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  maxStorageBufferBindingSize: 134217728,
  maxBufferSize: 268435456,
  maxStorageBuffersPerShaderStage: 8,
  shaderF16: false
}
