/** The least that a WebGPU device can be: every method returns at once and nothing is computed. */
export const idleGpu = (): GPU => {
  const limits = {
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupsPerDimension: 65535,
    maxStorageBufferBindingSize: 2 ** 27,
    maxBufferSize: 2 ** 28,
    maxStorageBuffersPerShaderStage: 8
  }
  const info = { vendor: "", architecture: "", device: "", description: "idle", isFallbackAdapter: true }
  const nothing = (): void => {}
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing }
  const encoder = {
    beginComputePass: () => pass,
    copyBufferToBuffer: nothing,
    finish: () => ({})
  }
  const features: ReadonlySet<string> = new Set()
  const device = {
    limits,
    features,
    lost: new Promise(nothing),
    queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: async () => {} },
    createBuffer: ({ size }: GPUBufferDescriptor) => ({
      size,
      destroy: nothing,
      mapAsync: async () => {},
      getMappedRange: () => new ArrayBuffer(size),
      unmap: nothing
    }),
    createBindGroup: () => ({}),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: () => ({}),
    createComputePipelineAsync: async () => ({}),
    createCommandEncoder: () => encoder,
    pushErrorScope: nothing,
    popErrorScope: async () => null,
    destroy: nothing
  }
  const adapter = { limits, info, features, requestDevice: async () => device }
  return { requestAdapter: async () => adapter } as unknown as GPU
}
