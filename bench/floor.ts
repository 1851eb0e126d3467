/**
 * Writes `bench/FLOOR.md`: what each case needs, what the device does at best, and what part of that is reached.
 *
 *     npm run bench:floor
 *
 * On one thread of WebAssembly, and on the WebGPU device.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Markdown from "../scripts/markdown.ts"
import { bytesOf, type Case, cpuCases, flopsOf, gpuCases } from "./cases/cases.ts"
import { forGpus } from "./cases/forGpus.ts"
import { type Limit, limitOf } from "./ceilings/limit.ts"
import { wasmCeilings } from "./ceilings/wasm.ts"
import { gpuCeilings } from "./ceilings/webgpu.ts"
import { open } from "./peers/effuse.ts"
import { nodeHost } from "./race/nodeHost.ts"
import { digits } from "./race/report.ts"
import { settled } from "./race/settled.ts"

/** What one call asked of the device; on WebAssembly, kernels: after each of them threads meet. */
interface Counted {
  dispatches: number
  workgroups: number
  /** Barriers in the text of the kernels that ran; loops run each of them again for each tile. */
  barriers: number
}

/** Counts what passes by from now on. */
const watched = (): Counted => {
  const counted: Counted = { dispatches: 0, workgroups: 0, barriers: 0 }
  const codes = new WeakMap<object, string>()
  const chosen = new WeakMap<object, string>()
  const patch = <T extends object>(prototype: T, name: keyof T, around: (stock: never) => unknown): void => {
    prototype[name] = around(prototype[name] as never) as T[keyof T]
  }
  type Method<A extends ReadonlyArray<unknown>, B> = (this: object, ...args: A) => B
  patch(GPUDevice.prototype, "createShaderModule", (stock: Method<[GPUShaderModuleDescriptor], object>) => {
    return function (this: object, descriptor: GPUShaderModuleDescriptor) {
      const module = stock.call(this, descriptor)
      codes.set(module, descriptor.code)
      return module
    }
  })
  patch(
    GPUDevice.prototype,
    "createComputePipelineAsync",
    (stock: Method<[GPUComputePipelineDescriptor], Promise<object>>) =>
      async function (this: object, descriptor: GPUComputePipelineDescriptor) {
        const pipeline = await stock.call(this, descriptor)
        codes.set(pipeline, codes.get(descriptor.compute.module) ?? "")
        return pipeline
      }
  )
  patch(GPUComputePassEncoder.prototype, "setPipeline", (stock: Method<[object], void>) => {
    return function (this: object, pipeline: object) {
      chosen.set(this, codes.get(pipeline) ?? "")
      stock.call(this, pipeline)
    }
  })
  patch(GPUComputePassEncoder.prototype, "dispatchWorkgroups", (stock: Method<Array<number>, void>) => {
    return function (this: object, ...size: Array<number>) {
      counted.dispatches++
      counted.workgroups += size.reduce((a, b) => a * b, 1)
      counted.barriers += (chosen.get(this) ?? "").split("workgroupBarrier()").length - 1
      stock.call(this, ...size)
    }
  })
  return counted
}

interface Row {
  readonly case: Case
  readonly milliseconds: number
  readonly limit: Limit
  readonly counted: Counted
}

/** Least time of some calls; others on the machine only make them longer. */
const measured = async (
  c: Case,
  engine: Awaited<ReturnType<typeof open>>,
  counted?: Counted
): Promise<{ readonly milliseconds: number; readonly counted: Counted }> => {
  const { run, release, kernels } = await engine.prepare(c, "")
  await run()
  await settled()
  const before = { ...counted } as Counted
  await run()
  const one =
    counted === undefined
      ? { dispatches: kernels ?? 0, workgroups: 0, barriers: 0 }
      : {
          dispatches: counted.dispatches - before.dispatches,
          workgroups: counted.workgroups - before.workgroups,
          barriers: counted.barriers - before.barriers
        }
  let milliseconds = Infinity
  const until = performance.now() + 700
  for (let n = 0; n < 100 && (n < 3 || performance.now() < until); n++) {
    const start = performance.now()
    await run()
    milliseconds = Math.min(milliseconds, performance.now() - start)
  }
  await release?.()
  return { milliseconds, counted: one }
}

const number = (x: number): string => x.toLocaleString("en")

const rowText = ({ case: c, milliseconds, limit, counted }: Row, gpu: boolean): ReadonlyArray<string> => [
  c.name,
  digits(flopsOf(c) / 1e9),
  digits(bytesOf(c) / 1e6),
  number(counted.dispatches),
  ...(gpu ? [counted.workgroups, counted.barriers].map(number) : []),
  `${digits(limit.milliseconds)} (${limit.of})`,
  digits(milliseconds),
  `${Math.round((100 * limit.milliseconds) / milliseconds)} %`
]

const head = (gpu: boolean): ReadonlyArray<string> => [
  "case",
  "GFLOP",
  "MB in and out",
  ...(gpu ? ["dispatches", "workgroups", "barriers in the text"] : ["kernels"]),
  "limit, ms",
  "reached, ms",
  "of the limit"
]

const onWasm = async (): Promise<string> => {
  const engine = await open(nodeHost(1, false))
  const ceilings = await wasmCeilings()
  const rows: Array<Row> = []
  for (const c of cpuCases) {
    const bytes = bytesOf(c)
    const speed = bytes < 2 ** 18 ? ceilings.cached : bytes < 2 ** 25 ? ceilings.large : ceilings.memory
    const made = await measured(c, engine)
    rows.push({ case: c, ...made, limit: limitOf(c, { flops: ceilings.flops, bytes: speed }) })
  }
  return [
    `## WebAssembly, one thread`,
    `${engine.description}.`,
    Markdown.table([
      ["ceiling", "measured"],
      ["multiply-adds in registers", `${digits(ceilings.flops)} GFLOP/s`],
      ["tiles of 4 × 8, operands in the nearest cache", `${digits(ceilings.tile)} GFLOP/s`],
      ["reads of 256 KiB", `${digits(ceilings.cached)} GB/s`],
      ["reads of 4 MiB", `${digits(ceilings.large)} GB/s`],
      ["reads of 256 MiB", `${digits(ceilings.memory)} GB/s`]
    ]),
    Markdown.table([head(false), ...rows.map((row) => rowText(row, false))])
  ].join("\n\n")
}

const onGpu = async (): Promise<string> => {
  const host = nodeHost(1, true)
  const adapter = await (await host.gpu()).requestAdapter()
  if (adapter === null) return "## WebGPU\n\nThis machine has no adapter."
  const ceilings = await gpuCeilings(await adapter.requestDevice())
  const counted = watched()
  const engine = await open(host)
  const rows: Array<Row> = []
  for (const c of gpuCases) {
    const made = await measured(c, engine, counted)
    const idle = (ceilings.submit + (made.counted.dispatches - 1) * ceilings.dispatch) / 1000
    rows.push({ case: c, ...made, limit: limitOf(c, ceilings, idle) })
  }
  return [
    "## WebGPU",
    `${engine.description}.`,
    Markdown.table([
      ["ceiling", "measured"],
      ["multiply-adds in registers", `${digits(ceilings.flops)} GFLOP/s`],
      ["loads from a cache", `${digits(ceilings.loads)} Gfloat/s`],
      ["copies, read and written", `${digits(ceilings.bytes)} GB/s`],
      ["a barrier of 64 threads", `${digits(ceilings.barrier)} µs`],
      ["an empty dispatch in a pass", `${digits(ceilings.dispatch)} µs`],
      ["a submit, until its end is known", `${digits(ceilings.submit)} µs`],
      ["a small pipeline", `${digits(ceilings.pipeline)} ms`]
    ]),
    Markdown.table([head(true), ...rows.map((row) => rowText(row, true))])
  ].join("\n\n")
}

const text = `# Floors

Written by \`npm run bench:floor\` on the machine it ran on; other machines have other numbers. The limit of a case is the longest of what its
multiplications and additions take at the ceiling of arithmetic, what its arguments and results take at that of memory, and, on WebGPU, what loading each of them once takes, or dispatches that do nothing.
What a mask hides is not counted: who computes it is further from the limit. Times are the least of several calls. On WebAssembly threads meet after each kernel, and nowhere else.

${await onWasm()}

${await onGpu()}

${forGpus()}
`

const file = fileURLToPath(new URL("FLOOR.md", import.meta.url))
writeFileSync(file, text)
console.log(text)
process.exit(0)
