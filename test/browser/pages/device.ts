/** The adapter that a page gets. */
export const adapter = async (): Promise<string | undefined> => {
  const found = await navigator.gpu.requestAdapter()
  return found?.info.architecture
}

/** A number through a compute shader: 2x + 1. */
export const compute = async (x: number): Promise<number> => {
  const device = await (await navigator.gpu.requestAdapter())!.requestDevice()
  const code = `
    @group(0) @binding(0) var<storage, read_write> x: array<f32>;
    @compute @workgroup_size(1) fn main() { x[0] = 2.0 * x[0] + 1.0; }`
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) }
  })
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage
  const buffer = device.createBuffer({ size: 4, usage: STORAGE | COPY_SRC | COPY_DST })
  const host = device.createBuffer({ size: 4, usage: MAP_READ | COPY_DST })
  device.queue.writeBuffer(buffer, 0, Float32Array.of(x))
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  const entries = [{ binding: 0, resource: { buffer } }]
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
  pass.dispatchWorkgroups(1)
  pass.end()
  encoder.copyBufferToBuffer(buffer, 0, host, 0, 4)
  device.queue.submit([encoder.finish()])
  await host.mapAsync(GPUMapMode.READ)
  return new Float32Array(host.getMappedRange())[0]!
}

/** An error that nobody in the page waits for. */
export const stray = (): void => {
  Promise.reject(new Error("nobody catches this"))
}
