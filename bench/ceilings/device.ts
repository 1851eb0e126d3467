/** Prints what the WebGPU device does at best, and ends, so that nothing of it is left when others are measured. */
import { nodeHost } from "../race/nodeHost.ts"
import { gpuCeilings } from "./webgpu.ts"

const adapter = await (await nodeHost(1, true).gpu()).requestAdapter()
if (adapter !== null) console.log(JSON.stringify(await gpuCeilings(await adapter.requestDevice())))
process.exit(0)
