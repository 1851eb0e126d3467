/** What a WebGPU device does at best in loops of one thing each. */

export interface GpuCeilings {
  /** Multiplications and additions a second, in registers, in billions. */
  readonly flops: number
  /** Bytes read and written a second by a copy, in billions. */
  readonly bytes: number
  /** Floats that a loop loads a second from memory that fits a cache, in billions. */
  readonly loads: number
  /** Microseconds of a barrier of 64 threads, and of an empty dispatch inside a pass. */
  readonly barrier: number
  readonly dispatch: number
  /** Microseconds of a submit until its end is known. */
  readonly submit: number
  /** Milliseconds that a small pipeline takes. */
  readonly pipeline: number
}

const repeats = 5

/** Milliseconds of the fastest of several runs, the first left out. */
const fastest = async (run: () => Promise<unknown>, times = repeats): Promise<number> => {
  await run()
  let best = Infinity
  for (let n = 0; n < times; n++) {
    const start = performance.now()
    await run()
    best = Math.min(best, performance.now() - start)
  }
  return best
}

const lines = (count: number, of: (n: number) => string): string =>
  Array.from({ length: count }, (_, n) => of(n)).join("\n")

/** Several in a row, so that the loop itself does not count. */
const unrolled = 8

const multiplyAdds = (type: string, accumulators: number, rounds: number): string => `
@group(0) @binding(0) var<storage, read_write> out: array<${type}>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let x = ${type}(f32(id.x) * 1e-9 + 0.999);
  let y = ${type}(f32(id.x) * 1e-7);
  ${lines(accumulators, (n) => `var a${n} = ${type}(${n}.0);`)}
  for (var i = 0u; i < ${rounds}u; i++) {
    ${lines(unrolled, () => lines(accumulators, (n) => `a${n} = a${n} * x + y;`))}
  }
  out[id.x] = ${Array.from({ length: accumulators }, (_, n) => `a${n}`).join(" + ")};
}`

const loads = (rounds: number): string => `
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(1) var<storage, read> given: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  var a = vec4f(); var b = vec4f();
  for (var i = 0u; i < ${rounds}u; i++) {
    let at = (i * 4u + id.x) & 511u;
    a += given[at]; b += given[at + 1u]; a += given[at + 2u]; b += given[at + 3u];
  }
  out[id.x] = a + b;
}`

const copies = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(1) var<storage, read> given: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < arrayLength(&given); i += n.x * 64u) { out[i] = given[i]; }
}`

const barriers = (rounds: number): string => `
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
var<workgroup> shared_: array<f32, 64>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) t: u32) {
  shared_[t] = 1.0;
  for (var i = 0u; i < ${rounds}u; i++) { workgroupBarrier(); }
  out[t] = shared_[63u - t];
}`

const empty = (n: number): string => `
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1) fn main() { out[0] = ${n}.0; }`

export const gpuCeilings = async (device: GPUDevice): Promise<GpuCeilings> => {
  const software = /swiftshader|llvmpipe/i.test(
    `${device.adapterInfo.architecture} ${device.adapterInfo.device} ${device.adapterInfo.description}`
  )
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const size = 2 ** 26
  const [out, given] = [device.createBuffer({ size, usage }), device.createBuffer({ size, usage })]
  const make = (code: string): Promise<GPUComputePipeline> =>
    device.createComputePipelineAsync({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }) }
    })
  /** Submits so many dispatches of so many workgroups and waits. */
  const runs = async (
    code: string,
    groups: number,
    count = 1,
    inputs = 1
  ): Promise<() => Promise<unknown>> => {
    const pipeline = await make(code)
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [out, given].slice(0, inputs).map((buffer, binding) => ({ binding, resource: { buffer } }))
    })
    return () => {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, group)
      for (let n = 0; n < count; n++) pass.dispatchWorkgroups(groups)
      pass.end()
      device.queue.submit([encoder.finish()])
      return device.queue.onSubmittedWorkDone()
    }
  }
  const [groups, rounds] = software ? [256, 128] : [16384, 512]
  let flops = 0
  for (const [type, width, accumulators] of [
    ["f32", 1, 8],
    ["f32", 1, 12],
    ["vec4f", 4, 2],
    ["vec4f", 4, 4]
  ] as const) {
    const time = await fastest(await runs(multiplyAdds(type, accumulators, rounds), groups))
    flops = Math.max(flops, (2 * width * accumulators * unrolled * rounds * groups * 64) / time / 1e6)
  }
  const loaded = await fastest(await runs(loads(4 * rounds), groups, 1, 2))
  const copied = await fastest(await runs(copies, software ? 64 : 2048, 1, 2))
  const moved = await fastest(() => {
    const encoder = device.createCommandEncoder()
    encoder.copyBufferToBuffer(given, 0, out, 0, size)
    device.queue.submit([encoder.finish()])
    return device.queue.onSubmittedWorkDone()
  })
  const barrierRounds = 2000
  // Short, and mostly waiting: how long differs more than anything else here.
  const one = await fastest(await runs(empty(0), 1), 100)
  const many = await fastest(await runs(empty(0), 1, 201))
  const waited = await fastest(await runs(barriers(barrierRounds), 1))
  let number = 1
  const pipeline = await fastest(() => make(empty(number++)))
  for (const buffer of [out, given]) buffer.destroy()
  return {
    flops,
    bytes: (2 * size) / Math.min(copied, moved) / 1e6,
    loads: (64 * rounds * groups * 64) / loaded / 1e6,
    barrier: ((waited - one) / barrierRounds) * 1000,
    dispatch: ((many - one) / 200) * 1000,
    submit: one * 1000,
    pipeline
  }
}
