/**
 * Times the flash attention kernels on this machine's WebGPU device: prefill of 512 causal queries, 8 heads of 64, f32.
 *
 *     node bench/flash.ts [rows,keys,threads[,workgroup] ...]
 *
 * Each argument is a prefill schedule; none means the one that would be chosen. The straightforward kernel of `plainFlash` runs in turns
 * with them, so that a busy machine slows all alike, and every result is compared with its.
 */
import { lower } from "../backends/webgpu/lower.ts"
import * as Program from "../backends/webgpu/Program.ts"
import * as Size from "../backends/webgpu/Size.ts"
import * as Budget from "../ir/flashBudget.ts"
import type { Node } from "../ir/Node.ts"
import type { Flash, Schedule } from "../ir/Schedule.ts"
import { graphOf } from "../test/support/evaluate.ts"
import { planOf, sharedSession } from "../test/support/runProgram.ts"
import { plainFlash } from "./plainFlash.ts"

const [T, H, D, turns] = [512, 8, 64, 7]
const sizes = { T }

const causal = `
%0: f32[1, ${H}, T, ${D}] = input {name = "q"}
%1: f32[1, ${H}, T, ${D}] = input {name = "k"}
%2: f32[1, ${H}, T, ${D}] = input {name = "v"}
%3: f32[1, ${H}, T, ${D}] = flash_attention %0, %1, %2 {
  score = {
    %0: f32[] = input {name = "logit"}
    %1: i32[] = input {name = "b"}
    %2: i32[] = input {name = "h"}
    %3: i32[] = input {name = "i"}
    %4: i32[] = input {name = "j"}
    %5: f32[] = constant {values = [${1 / Math.sqrt(D)}]}
    %6: f32[] = mul %0, %5
    return %6
  },
  mask = {
    %0: i32[] = input {name = "b"}
    %1: i32[] = input {name = "h"}
    %2: i32[] = input {name = "i"}
    %3: i32[] = input {name = "j"}
    %4: bool[] = le %3, %2
    return %4
  },
  range = {
    %0: i32[] = input {name = "b"}
    %1: i32[] = input {name = "h"}
    %2: i32[] = input {name = "first"}
    %3: i32[] = input {name = "last"}
    %4: i32[] = constant {values = [0]}
    %5: i32[] = constant {values = [1]}
    %6: i32[] = add %3, %5
    %7: i32[] = add %2, %5
    return "lo": %4, "hi": %6, "fullLo": %4, "fullHi": %7
  },
  fill = -inf,
  output = "result"
}
return %3`

const { device, limits, pipeline, layout } = await sharedSession()
const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
const bytes = T * H * D * 4
let state = 1
const noise = (): GPUBuffer => {
  const data = Float32Array.from({ length: bytes / 4 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  })
  const buffer = device.createBuffer({ size: bytes, usage })
  device.queue.writeBuffer(buffer, 0, data)
  return buffer
}
const inputs = [noise(), noise(), noise()] as const

interface Contender {
  readonly name: string
  readonly compileMilliseconds: readonly [wall: number, processor: number]
  /** Wall time, and time of all processors, which other work on the machine disturbs less. */
  readonly run: () => Promise<readonly [wall: number, processor: number]>
  readonly result: GPUBuffer
  readonly milliseconds: Array<readonly [wall: number, processor: number]>
}

const contender = async (
  name: string,
  make: () => Promise<GPUComputePipeline>,
  groups: readonly [number, number],
  bindings: (pipeline: GPUComputePipeline, result: GPUBuffer) => GPUBindGroupDescriptor
): Promise<Contender> => {
  const [before, used] = [performance.now(), process.cpuUsage()]
  const made = await make()
  const compileMilliseconds = [performance.now() - before, process.cpuUsage(used).user / 1000] as const
  const result = device.createBuffer({ size: bytes, usage })
  const group = device.createBindGroup(bindings(made, result))
  const run = async (): Promise<readonly [number, number]> => {
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(made)
    pass.setBindGroup(0, group)
    pass.dispatchWorkgroups(...groups)
    pass.end()
    const [start, used] = [performance.now(), process.cpuUsage()]
    device.queue.submit([encoder.finish()])
    await device.queue.onSubmittedWorkDone()
    const { user, system } = process.cpuUsage(used)
    return [performance.now() - start, (user + system) / 1000]
  }
  return { name, compileMilliseconds, run, result, milliseconds: [] }
}

const entries = (buffers: ReadonlyArray<GPUBuffer>, first: number): Array<GPUBindGroupEntry> =>
  buffers.map((buffer, i) => ({ binding: first + i, resource: { buffer } }))

const ours = (name: string, schedule: Flash): Promise<Contender> => {
  const graph = graphOf(causal)
  const node = graph.nodes.find((n) => n.op === "flash_attention") as Node
  const program = lower(planOf(graph, new Map<Node, Schedule>([[node, schedule]])), limits)
  const [step, ...more] = Program.steps(program, sizes)
  if (step === undefined || more.length > 0) throw new Error("prefill is one kernel")
  const kernel = program.kernels[step.kernel] as Program.Kernel
  const words = Program.uniform(program, sizes)
  const lengths = device.createBuffer({
    size: words.byteLength,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST
  })
  device.queue.writeBuffer(lengths, 0, words)
  const groups = Program.dispatchSize(Size.evaluate(kernel.workgroups, sizes), limits)
  return contender(
    name,
    () => pipeline(kernel),
    groups,
    (_, result) => ({
      layout: layout(kernel),
      entries: entries(
        [
          lengths,
          ...step.buffers.map((b) => (b._tag === "output" ? result : (inputs[b.index] as GPUBuffer)))
        ],
        0
      )
    })
  )
}

const plain = (): Promise<Contender> =>
  contender(
    "plain",
    () =>
      device.createComputePipelineAsync({
        layout: "auto",
        compute: {
          module: device.createShaderModule({
            code: plainFlash({ T, S: T, D, causal: true, group: 1, rows: 4, threads: 16 })
          })
        }
      }),
    [T / 64, H],
    (made, result) => ({ layout: made.getBindGroupLayout(0), entries: entries([...inputs, result], 0) })
  )

const download = async (from: GPUBuffer): Promise<Float32Array> => {
  const host = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(from, 0, host, 0, bytes)
  device.queue.submit([encoder.finish()])
  await host.mapAsync(GPUMapMode.READ)
  const data = new Float32Array(host.getMappedRange().slice(0))
  host.destroy()
  return data
}

const chosen = Budget.choose(limits, D, D, 1)
const contenders = [await plain()]
for (const text of process.argv.slice(2)) {
  const [rows, keys, threads, tiles] = text.split(",")
  const prefill = {
    rows: Number(rows),
    keys: Number(keys),
    threads: Number(threads),
    tiles: tiles === "workgroup" ? ("workgroup" as const) : ("registers" as const),
    quads: tiles === "quads"
  }
  contenders.push(await ours(text, { ...chosen, decodeRows: 0, prefill }))
}
if (contenders.length === 1) {
  const { rows, keys, threads } = chosen.prefill
  contenders.push(await ours(`${rows},${keys},${threads}`, chosen))
}
for (let turn = 0; turn < turns; turn++) for (const c of contenders) c.milliseconds.push(await c.run())

const [baseline, ...others] = contenders as [Contender, ...Array<Contender>]
const expected = await download(baseline.result)
const median = ({ milliseconds }: Contender, which: 0 | 1): number =>
  milliseconds.map((m) => m[which]).sort((a, b) => a - b)[milliseconds.length >> 1] as number
for (const c of [baseline, ...others]) {
  const actual = await download(c.result)
  const worst = actual.reduce((most, x, i) => Math.max(most, Math.abs(x - (expected[i] as number))), 0)
  const [wall, processor] = [median(c, 0), median(c, 1)]
  const least = Math.min(...c.milliseconds.map((m) => m[0]))
  const cells = [
    c.name.padEnd(20),
    `${wall.toFixed(1)} ms (least ${least.toFixed(1)})`.padEnd(25),
    `processors ${processor.toFixed(0)} ms`.padEnd(19),
    `${(median(baseline, 1) / processor).toFixed(2)}x plain`.padEnd(13),
    `pipeline ${c.compileMilliseconds[0].toFixed(0)} ms, processors ${c.compileMilliseconds[1].toFixed(0)}`.padEnd(
      36
    ),
    `differs by ${worst.toExponential(1)}`
  ]
  console.log(cells.join(" "))
}
