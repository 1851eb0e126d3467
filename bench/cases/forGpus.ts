/** What cases ask of GPUs, read off the programs for them: nothing runs. */
import { Result } from "effect"
import * as Launch from "../../backends/webgpu/Launch.ts"
import { lower } from "../../backends/webgpu/lower.ts"
import type * as Program from "../../backends/webgpu/Program.ts"
import { statsOf } from "../../backends/webgpu/stats.ts"
import * as Limits from "../../ir/Limits.ts"
import * as Pipeline from "../../passes/Pipeline.ts"
import * as Markdown from "../../scripts/markdown.ts"
import { trace } from "../../src/trace.ts"
import { digits } from "../race/report.ts"
import { type Case, gpuCases } from "./cases.ts"
import { programOf } from "./program.ts"

/** The least GPU there is, and one that offers more, as most do. */
const gpus = [
  ["16 KiB of workgroup memory and 8 buffers for a kernel", Limits.portable],
  [
    "32 KiB and 10 buffers",
    { ...Limits.portable, maxComputeWorkgroupStorageSize: 32768, maxStorageBuffersPerShaderStage: 10 }
  ]
] as const

const heads = [
  ...["case", "dispatches", "workgroups", "bytes of workgroup memory"],
  ...["barriers in the text", "MB of K, V and weights read", "MB in between"]
]

const pipeline = Result.getOrThrow(Pipeline.parse(Pipeline.defaultText))

const row = (c: Case, offered: Limits.Limits): ReadonlyArray<string> => {
  const limits = { ...offered, twinProducts: true, productsInPlace: true }
  const { fn, signature, sizes } = programOf(c)
  const { graph } = Result.getOrThrow(trace(fn as Parameters<typeof trace>[0], signature))
  const { memory, ...plan } = Result.getOrThrow(Pipeline.run(pipeline, graph, { limits }))
  if (memory === undefined) throw new Error("memory is planned")
  const planned = { ...plan, memory }
  const program = lower(planned, limits)
  const dispatches = Launch.make(program, sizes, new Set(), limits).submits.flat()
  const kernels = dispatches.map(
    ({ step }) => program.kernels[(program.steps[step] as Program.Step).kernel] as Program.Kernel
  )
  const { keyValueBytesRead, scratchBytes } = statsOf(planned, program, limits, sizes)
  const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => a + b, 0)
  const counts = [
    dispatches.length,
    sum(dispatches.map(({ grid: [x, y] }) => x * y)),
    Math.max(...kernels.map((k) => k.workgroupBytes)),
    sum(kernels.map((k) => k.wgsl.split("workgroupBarrier()").length - 1))
  ]
  const megabytes = [keyValueBytesRead, scratchBytes].map((n) => (n === 0 ? "0" : digits(n / 1e6)))
  return [c.name, ...counts.map((n) => n.toLocaleString("en")), ...megabytes]
}

/** A section of `FLOOR.md`. */
export const forGpus = (): string =>
  [
    "## Kernels for GPUs",
    `GPUs are not timed here; this is what the kernels for them ask of a device, read off the programs. A barrier inside a loop is met for each tile of keys,
or of a depth.`,
    ...gpus.flatMap(([name, limits]) => [
      `With ${name}:`,
      Markdown.table([heads, ...gpuCases.map((c) => row(c, limits))])
    ])
  ].join("\n\n")
