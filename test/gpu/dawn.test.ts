import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { nullDevice, sharedDevice } from "../support/dawn.ts"
import { vulkanOptions } from "../support/vulkan.ts"

/** Runs `turns` steps of x ← x/2 + 1 on eight numbers and gives them back. */
const iterate = async (device: GPUDevice, turns: number): Promise<Float32Array> => {
  const code = `
    @group(0) @binding(0) var<storage, read_write> x: array<f32>;
    @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {
      var a = x[i];
      for (var n = 0u; n < ${turns}u; n++) { a = a * 0.5 + 1.0; }
      x[i] = a;
    }`
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) }
  })
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage
  const x = device.createBuffer({ size: 32, usage: STORAGE | COPY_SRC | COPY_DST })
  const host = device.createBuffer({ size: 32, usage: MAP_READ | COPY_DST })
  device.queue.writeBuffer(x, 0, Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]))
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: x } }]
    })
  )
  pass.dispatchWorkgroups(1)
  pass.end()
  encoder.copyBufferToBuffer(x, 0, host, 0, 32)
  device.queue.submit([encoder.finish()])
  await host.mapAsync(GPUMapMode.READ)
  const result = new Float32Array(host.getMappedRange().slice(0))
  host.destroy()
  x.destroy()
  return result
}

test("a compute shader runs", async () => {
  expect([...(await iterate(await sharedDevice(), 1))]).toEqual([1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5])
})

test("waiting for long work leaves the core to the work", async () => {
  const device = await sharedDevice()
  const usual = globalThis.setImmediate
  const before = performance.eventLoopUtilization()
  const result = await iterate(device, 20_000_000)
  const { active, idle, utilization } = performance.eventLoopUtilization(before)
  expect(result[0]).toBe(2)
  expect(globalThis.setImmediate).toBe(usual)
  expect(active + idle, "the work is long enough to tell").toBeGreaterThan(50)
  expect(utilization).toBeLessThan(0.5)
})

test("an idle device leaves the event loop idle", async () => {
  await sharedDevice()
  const before = performance.eventLoopUtilization()
  await new Promise((done) => setTimeout(done, 100))
  expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.5)
})

test("a process that has used the GPU ends by itself", async (ctx) => {
  if (!("typescript" in process.features)) return ctx.skip("this Node does not run TypeScript")
  const dawn = new URL("../../src/webgpu/dawn.ts", import.meta.url).href
  const script = `
    const { openDawn } = await import(${JSON.stringify(dawn)})
    const adapter = await (await openDawn(${JSON.stringify(vulkanOptions())})).requestAdapter()
    const device = await adapter.requestDevice()
    device.lost.then(() => {})
    await device.queue.onSubmittedWorkDone()
    console.log("done")`
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { timeout: 90_000 })
  expect(stdout).toBe("done\n")
})

test("the null backend checks features that the driver lacks", async () => {
  const device = await nullDevice()
  for (const feature of ["shader-f16", "subgroups"] as const) expect(device.features.has(feature)).toBe(true)
  const valid = (code: string) => {
    device.pushErrorScope("validation")
    const module = device.createShaderModule({ code })
    device.createComputePipeline({ layout: "auto", compute: { module } })
    return device.popErrorScope()
  }
  const kernel = (body: string) =>
    `enable f16; enable subgroups; @compute @workgroup_size(32) fn main(@builtin(subgroup_size) n: u32) { ${body} }`
  expect(await valid(kernel("let x = subgroupAdd(f16(n));"))).toBeNull()
  expect((await valid(kernel("let x: f16 = n;")))?.message).toContain("f16")
})
