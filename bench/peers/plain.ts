import type { HostArray } from "../../ir/HostArray.ts"
import { inputsOf } from "../cases/inputs.ts"
import { Cannot, closest, type Open } from "./Peer.ts"
import { plainFlash } from "./plainFlash.ts"

/** The straightforward kernel, dispatched by hand: what a person writes in an afternoon. */
export const open: Open = async (host) => {
  const adapter = await (await host.gpu()).requestAdapter()
  if (adapter === null) throw new Cannot("finds no adapter")
  const device = await adapter.requestDevice()
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  return {
    description: `${adapter.info.description} ${adapter.info.device}`.trim(),
    variants: (c) => [c.kind === "attention" && c.window !== undefined ? closest : ""],
    prepare: async (c) => {
      if (c.kind !== "attention") throw new Cannot("is attention only")
      if (c.dtype !== "f32") throw new Cannot("is f32 only")
      if (c.alibi === true || c.softcap !== undefined) throw new Cannot("has no scores of its own")
      const [queries, keys] = c.heads
      const { T, S, D, causal } = c
      const rows = T === 1 ? 1 : 4
      const threads = T === 1 ? 1 : 16
      const code = plainFlash({ T, S, D, causal, group: queries / keys, rows, threads })
      const module = device.createShaderModule({ code })
      const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } })
      const inputs = inputsOf(c)
      const upload = (name: string): GPUBuffer => {
        const { data } = inputs[name] as HostArray
        const buffer = device.createBuffer({ size: data.byteLength, usage })
        device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>)
        return buffer
      }
      const out = device.createBuffer({ size: queries * T * D * 4, usage })
      const buffers = [upload("q"), upload("k"), upload("v"), out]
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
      })
      const submit = async (encode: (encoder: GPUCommandEncoder) => void): Promise<void> => {
        const encoder = device.createCommandEncoder()
        encode(encoder)
        device.queue.submit([encoder.finish()])
        await device.queue.onSubmittedWorkDone()
      }
      return {
        run: () =>
          submit((encoder) => {
            const pass = encoder.beginComputePass()
            pass.setPipeline(pipeline)
            pass.setBindGroup(0, group)
            pass.dispatchWorkgroups(T / (rows * threads), queries)
            pass.end()
          }),
        read: async () => {
          const size = out.size
          const host = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
          await submit((encoder) => encoder.copyBufferToBuffer(out, 0, host, 0, size))
          await host.mapAsync(GPUMapMode.READ)
          const data = new Float32Array(host.getMappedRange().slice(0))
          host.destroy()
          return data
        },
        release: () => {
          for (const buffer of buffers) buffer.destroy()
        }
      }
    }
  }
}
