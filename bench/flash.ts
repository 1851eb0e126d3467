/**
 * Times the attention kernels on this machine's WebGPU device, without the rest of a program around them.
 *
 *     node bench/flash.ts [part of a case's name] [schedule ...]
 *
 * A schedule is rows,keys,threads[,quads or workgroup] of prefill, or splits,keys,threads[,workgroup] of decode; none means the one that
 * would be chosen. The straightforward kernel runs in turns with them where it can, so that a busy machine slows all alike; results are
 * compared with its. GFLOP/s count the pairs that the mask shows.
 */

import * as Intermediates from "../backends/webgpu/Intermediates.ts"
import { lower } from "../backends/webgpu/lower.ts"
import * as Program from "../backends/webgpu/Program.ts"
import * as Size from "../backends/webgpu/Size.ts"
import { choose } from "../ir/chooseFlash.ts"
import type { Node } from "../ir/Node.ts"
import type { Flash, Schedule } from "../ir/Schedule.ts"
import { describe } from "../passes/scheduleTable.ts"
import { graphOf } from "../test/support/evaluate.ts"
import { causal, flashText, type Attention as Text, window } from "../test/support/flashText.ts"
import { planOf } from "../test/support/plans.ts"
import { sharedSession } from "../test/support/runProgram.ts"
import { type Attention, type Case, flopsOf, gpuCases } from "./cases/cases.ts"
import { plainFlash } from "./peers/plainFlash.ts"

const turns = 5
const { device, limits, pipeline, layout } = await sharedSession()
const usage =
  GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
const buffer = (bytes: number): GPUBuffer => device.createBuffer({ size: Math.max(16, bytes), usage })

let state = 1
/** Numbers between -1 and 1, or two halves a word that are. */
const noise = (words: number, dtype: Attention["dtype"]): GPUBuffer => {
  const data = new Float32Array(words)
  const bits = new Uint32Array(data.buffer)
  for (let n = 0; n < words; n++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    if (dtype === "f32") data[n] = state / 2 ** 31 - 1
    else bits[n] = (state & 0x83ff83ff) | 0x30003000
  }
  const made = buffer(data.byteLength)
  device.queue.writeBuffer(made, 0, data)
  return made
}

interface Contender {
  readonly name: string
  readonly compileMilliseconds: number
  readonly encode: (pass: GPUComputePassEncoder) => void
  readonly result: GPUBuffer
  readonly milliseconds: Array<number>
}

const softcap = (cap: number): ReadonlyArray<string> => [
  `%cap: f32[] = constant {values = [${cap}]}`,
  "%part: f32[] = div %scaled, %cap",
  "%bent: f32[] = tanh %part",
  "%capped: f32[] = mul %bent, %cap"
]

/** After a softcap. */
const alibi: ReadonlyArray<string> = [
  "%slope: f32[] = load %slopes, %h",
  "%back: i32[] = sub %j, %i",
  "%far: f32[] = cast %back",
  "%bias: f32[] = mul %slope, %far",
  "%biased: f32[] = add %capped, %bias"
]

const attentionText = (c: Attention): Text => ({
  heads: c.heads,
  sizes: [1, "T", "S"],
  head: [c.D, c.D],
  dtype: c.dtype,
  score: [
    `%scale: f32[] = constant {values = [${1 / Math.sqrt(c.D)}]}`,
    "%scaled: f32[] = mul %logit, %scale",
    ...(c.softcap === undefined ? [] : softcap(c.softcap)),
    ...(c.alibi === true ? alibi : [])
  ],
  ...(c.alibi === true ? { captures: { slopes: `f32[${c.heads[0]}]` } } : {}),
  ...(c.window !== undefined ? window(c.window) : c.causal ? causal : {})
})

const ours = async (
  c: Attention,
  inputs: ReadonlyArray<GPUBuffer>,
  result: GPUBuffer,
  schedule: Flash
): Promise<Contender> => {
  const sizes = { T: c.T, S: c.S }
  const graph = graphOf(flashText(attentionText(c)))
  const node = graph.nodes.find((n) => n.op === "flash_attention") as Node
  const program = lower(planOf(graph, new Map<Node, Schedule>([[node, schedule]])), limits)
  const words = Program.uniform(program, sizes)
  const lengths = buffer(words.byteLength)
  device.queue.writeBuffer(lengths, 0, words)
  const running = Program.steps(program, sizes)
  const { buffers: arenas, places } = Intermediates.of(program, running, sizes, limits)
  const pieces = arenas.map((bytes) => buffer(bytes))
  const bindingOf = ({ _tag, index }: Program.BufferRef): GPUBufferBinding => {
    if (_tag === "output") return { buffer: result }
    if (_tag !== "slot") return { buffer: inputs[index] as GPUBuffer }
    const { buffer: piece, offset, bytes } = places.get(index) as Intermediates.Place
    return { buffer: pieces[piece] as GPUBuffer, offset, size: bytes }
  }
  const start = performance.now()
  const steps = await Promise.all(
    running.map(async (step) => {
      const kernel = program.kernels[step.kernel] as Program.Kernel
      const made = await pipeline(kernel)
      const entries = [{ buffer: lengths }, ...step.buffers.map(bindingOf)].map((resource, binding) => ({
        binding,
        resource
      }))
      const group = device.createBindGroup({ layout: layout(kernel), entries })
      return {
        made,
        group,
        count: Program.dispatchSize(Size.evaluate(kernel.workgroups, sizes), limits)
      }
    })
  )
  return {
    name: describe(schedule).split("; up to ")[c.T === 1 ? 1 : 0] ?? "",
    compileMilliseconds: performance.now() - start,
    encode: (pass) => {
      for (const { made, group, count } of steps) {
        pass.setPipeline(made)
        pass.setBindGroup(0, group)
        pass.dispatchWorkgroups(...count)
      }
    },
    result,
    milliseconds: []
  }
}

const plain = async (
  c: Attention,
  inputs: ReadonlyArray<GPUBuffer>,
  result: GPUBuffer
): Promise<Contender | undefined> => {
  const [rows, threads] = c.T === 1 ? [1, 1] : [4, 16]
  if (c.window !== undefined || c.dtype !== "f32" || c.alibi === true || c.T % (rows * threads) !== 0)
    return undefined
  const code = plainFlash({ ...c, group: c.heads[0] / c.heads[1], rows, threads })
  const start = performance.now()
  const made = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) }
  })
  const compileMilliseconds = performance.now() - start
  const entries = [...inputs, result].map((b, binding) => ({ binding, resource: { buffer: b } }))
  const group = device.createBindGroup({ layout: made.getBindGroupLayout(0), entries })
  return {
    name: "plain",
    compileMilliseconds,
    encode: (pass) => {
      pass.setPipeline(made)
      pass.setBindGroup(0, group)
      pass.dispatchWorkgroups(c.T / rows / threads, c.heads[0])
    },
    result,
    milliseconds: []
  }
}

const run = async (contender: Contender): Promise<void> => {
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  contender.encode(pass)
  pass.end()
  const start = performance.now()
  device.queue.submit([encoder.finish()])
  await device.queue.onSubmittedWorkDone()
  contender.milliseconds.push(performance.now() - start)
}

const download = async (from: GPUBuffer): Promise<Float32Array> => {
  const host = device.createBuffer({
    size: from.size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST
  })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(from, 0, host, 0, from.size)
  device.queue.submit([encoder.finish()])
  await host.mapAsync(GPUMapMode.READ)
  const data = new Float32Array(host.getMappedRange().slice(0))
  host.destroy()
  return data
}

/** The schedules that arguments give for a case. */
const schedules = (c: Attention, texts: ReadonlyArray<string>): ReadonlyArray<Flash> => {
  const chosen = choose(limits, c.D, c.D, c.heads[0] / c.heads[1])
  if (texts.length === 0) return [chosen]
  return texts.map((text) => {
    const [first = "", second, third, how] = text.split(",")
    const [a, keys, threads] = [Number(first), Number(second), Number(third)]
    const tiles = how === "workgroup" ? "workgroup" : "registers"
    return c.T * (c.heads[0] / c.heads[1]) <= chosen.decodeRows
      ? { ...chosen, decode: { threads, tiles, keysPerSplit: keys, maxSplits: a } }
      : { ...chosen, decodeRows: 0, prefill: { rows: a, keys, threads, tiles, quads: how === "quads" } }
  })
}

const median = (numbers: ReadonlyArray<number>): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] as number

const [part = "", ...texts] = process.argv.slice(2)
const isAttention = (c: Case): c is Attention => c.kind === "attention"
for (const c of gpuCases.filter(isAttention)) {
  if (!c.name.includes(part)) continue
  const elements = (heads: number, length: number): number =>
    (heads * length * c.D) / (c.dtype === "f16" ? 2 : 1)
  const inputs = [
    noise(elements(c.heads[0], c.T), c.dtype),
    noise(elements(c.heads[1], c.S), c.dtype),
    noise(elements(c.heads[1], c.S), c.dtype),
    ...(c.alibi === true ? [noise(c.heads[0], "f32")] : [])
  ]
  const size = 4 * elements(c.heads[0], c.T)
  const baseline = await plain(c, inputs, buffer(size))
  const contenders: Array<Contender> = baseline === undefined ? [] : [baseline]
  for (const s of schedules(c, texts)) contenders.push(await ours(c, inputs, buffer(size), s))
  const count = c.T >= 2048 ? 2 : turns
  for (let turn = 0; turn <= count; turn++) for (const one of contenders) await run(one)
  const expected = await download((contenders[0] as Contender).result)
  console.log(c.name)
  for (const one of contenders) {
    const actual = await download(one.result)
    const worst = actual.reduce((most, x, i) => Math.max(most, Math.abs(x - (expected[i] as number))), 0)
    const [first = 0, ...times] = one.milliseconds
    const cells = [
      `${median(times).toFixed(1)} ms (least ${Math.min(...times).toFixed(1)})`.padEnd(28),
      `${(flopsOf(c) / median(times) / 1e6).toFixed(1)} GFLOP/s`.padEnd(14),
      `first call ${(one.compileMilliseconds + first).toFixed(0)} ms`.padEnd(20),
      `differs by ${worst.toExponential(1)}`.padEnd(20),
      one.name
    ]
    console.log(`  ${cells.join(" ")}`)
  }
}
