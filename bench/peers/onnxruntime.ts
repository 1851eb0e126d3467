import * as HostArray from "../../ir/HostArray.ts"
import { generations } from "../generation/onnxruntime.ts"
import { gpuVariants, onnxOf, variants, webVariants, widened } from "./onnxGraphs.ts"
import type { Data, Ort, Tensor } from "./onnxruntimeApi.ts"
import { Cannot, type Host, type Open } from "./Peer.ts"

const typeNames = { float: "float32", float16: "float16", int32: "int32", int64: "int64" } as const

const bits = (data: Uint16Array): Float32Array => {
  const raw = new Uint16Array(data.buffer, data.byteOffset, data.length)
  return Float32Array.from(HostArray.toNumbers({ dtype: "f16", shape: [raw.length], data: raw }))
}

const opened =
  (name: "onnxruntime-web" | "onnxruntime-node"): Open =>
  async (host) => {
    const web = name === "onnxruntime-web"
    if (web && host.webgpu && host.where === "node") throw new Cannot("has WebGPU in browsers only")
    // Finds the driver that it looks for, too.
    if (host.webgpu) await host.gpu()
    const ort: Ort = await host.load(web && host.webgpu ? "onnxruntime-web/webgpu" : name)
    if (web) {
      ort.env.wasm.numThreads = host.threads
      if (host.where === "browser") ort.env.wasm.wasmPaths = host.files("onnxruntime-web/dist/")
    }
    const device = web && host.webgpu ? await deviceFor(await host.gpu()) : undefined
    return {
      generate: () => generations(ort, sessionOptions(host, web, device), device !== undefined),
      description: `onnxruntime ${ort.env.versions.common}`,
      variants: host.webgpu ? widened(gpuVariants) : web ? webVariants : widened(variants),
      prepare: async (c, variant) => {
        const model = onnxOf(c, variant)
        const session = await ort.InferenceSession.create(model.bytes, {
          ...sessionOptions(host, web, device),
          ...(device === undefined ? {} : { preferredOutputLocation: "gpu-buffer" })
        })
        const [first] = session.outputNames as [string]
        const feeds = Object.fromEntries(
          Object.entries(model.feeds).map(([input, feed]) => [
            input,
            device === undefined
              ? new ort.Tensor(typeNames[feed.type], feed.data, feed.shape)
              : ort.Tensor.fromGpuBuffer(uploaded(device, feed.data), {
                  dataType: typeNames[feed.type],
                  dims: feed.shape
                })
          ])
        )
        let last: Tensor | undefined
        return {
          run: async () => {
            last?.dispose()
            last = (await session.run(feeds, [first]))[first]
            await device?.queue.onSubmittedWorkDone()
          },
          read: async () => {
            const data = device === undefined ? last?.data : await last?.getData()
            if (data === undefined) throw new Error("there is no result")
            return model.ordered(
              model.result === "float16" ? bits(data as Uint16Array) : (data as Float32Array)
            )
          },
          release: () => session.release()
        }
      }
    }
  }

const sessionOptions = (
  host: Host,
  web: boolean,
  device: GPUDevice | undefined
): { readonly [name: string]: unknown } => ({
  executionProviders: [
    device !== undefined ? { name: "webgpu", device } : host.webgpu ? "webgpu" : web ? "wasm" : "cpu"
  ],
  graphOptimizationLevel: "all",
  logSeverityLevel: 4,
  ...(web ? {} : { intraOpNumThreads: host.threads })
})

/** Its fused attention is wrong where subgroups have 4 lanes, so there it does without them. */
const deviceFor = async (gpu: GPU): Promise<GPUDevice> => {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" })
  if (adapter === null) throw new Cannot("finds no adapter")
  const narrow = (adapter.info.subgroupMinSize ?? 0) < 8
  const raised = [
    "maxStorageBufferBindingSize",
    "maxBufferSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxComputeWorkgroupSizeY",
    "maxComputeWorkgroupsPerDimension"
  ] as const
  return adapter.requestDevice({
    requiredFeatures: ([...adapter.features] as Array<GPUFeatureName>).filter(
      (name) => name === "shader-f16" || (name === "subgroups" && !narrow)
    ),
    requiredLimits: Object.fromEntries(raised.map((name) => [name, adapter.limits[name]]))
  })
}

const uploaded = (device: GPUDevice, data: Data): GPUBuffer => {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage })
  device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>)
  return buffer
}

export const openWeb: Open = opened("onnxruntime-web")
export const openNode: Open = opened("onnxruntime-node")
