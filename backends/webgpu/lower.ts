import * as ContractionSum from "../../ir/ContractionSum.ts"
import * as Dim from "../../ir/Dim.ts"
import { dispatchGroups } from "../../ir/dispatchGroups.ts"
import { overOneList } from "../../ir/flashPartners.ts"
import * as Graph from "../../ir/Graph.ts"
import * as KernelBody from "../../ir/KernelBody.ts"
import type { Limits } from "../../ir/Limits.ts"
import { donorOf } from "../../ir/MemoryPlan.ts"
import { sharedSchedule } from "../../ir/matmulSchedule.ts"
import type * as Node from "../../ir/Node.ts"
import { productsOf } from "../../ir/products.ts"
import type { Schedule } from "../../ir/Schedule.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import { illegalThreads } from "../../ir/threadSchedules.ts"
import type { Plan } from "../Backend.ts"
import { UnsupportedByDevice } from "../errors.ts"
import { constantOf } from "./constants.ts"
import { lowerFlash } from "./flash/lowerFlash.ts"
import { siblings } from "./flash/siblings.ts"
import { anchorsOf, type Job, type Lowered, productJobs, type Ref } from "./Job.ts"
import { contractionSum, isOneKernel } from "./kernels/contractionSum.ts"
import { map } from "./kernels/map.ts"
import { matmul } from "./kernels/matmul.ts"
import { assemble, type Part } from "./kernels/Part.ts"
import { rows } from "./kernels/rows.ts"
import { update } from "./kernels/update.ts"
import * as Program from "./Program.ts"
import * as Size from "./Size.ts"
import * as Epilogue from "./wgsl/epilogue.ts"
import { isRowByRow } from "./wgsl/rowEpilogue.ts"
import { workOf } from "./work.ts"

export interface Options {
  /**
   * Gives the program one more argument, u32[3], that comes back as its last result: attention adds to it the tiles of keys that its
   * workgroups visit, those of them that every row is known to see whole, and the keys in them. To measure
   * and to test with: kernels are slower for it.
   */
  readonly visits?: boolean
}

/**
 * Turns a plan into a program. Every node of the graph is an input, a constant, or becomes one or more kernels: a fused node by its
 * body, any other op as a body of its own. Throws `UnsupportedByDevice` for what the device cannot hold or bind.
 */
export const lower = (plan: Plan, limits: Limits, options: Options = {}): Program.Program => {
  const { graph, memory } = plan
  refuseF64(graph)
  const symbols = Graph.symbols(graph)
  const kernels: Array<Program.Kernel> = []
  const kernelNumbers = new Map<string, number>()
  const steps: Array<Program.Step> = []
  const constants: Array<Program.Constant> = []
  const constantNumbers = new Map<string, number>()
  const slots: Array<Program.Slot> = []
  const places = new Map<Node.Node, Program.BufferRef>()

  const constant = (node: Node.NodeOf<"constant">): Program.BufferRef => {
    const content = constantOf(node)
    const key = `${TensorType.print(content.type)}:${textOf(content.data)}`
    const known = constantNumbers.get(key)
    const index = known ?? constants.push(content) - 1
    constantNumbers.set(key, index)
    return { _tag: "constant", index }
  }

  const slot = (bytes: Size.Size): Program.BufferRef => ({ _tag: "slot", index: slots.push({ bytes }) - 1 })

  const kernelNumber = (kernel: Program.Kernel): number => {
    const key = `${Size.print(kernel.workgroups)}\n${kernel.wgsl}`
    const known = kernelNumbers.get(key)
    if (known !== undefined) return known
    const number = kernels.push(kernel) - 1
    kernelNumbers.set(key, number)
    return number
  }

  const placesOf = (nodes: ReadonlyArray<Node.Node>): ReadonlyArray<Program.BufferRef> =>
    nodes.map((n) => places.get(n) as Program.BufferRef)

  /** The jobs of bodies over one list of operands, and the buffers that they mean. */
  const jobsOf = (
    bodies: ReadonlyArray<Graph.Graph>,
    nodes: ReadonlyArray<Node.Node>,
    operands: ReadonlyArray<Program.BufferRef>,
    to: ReadonlyArray<Program.BufferRef>
  ) => {
    const scratch: Array<Program.BufferRef> = []
    const jobOf = (body: Graph.Graph, index: number): Job => ({
      body,
      anchor: KernelBody.anchorOf(body),
      schedule: fitting(plan.schedules.get(nodes[index] as Node.Node), limits),
      limits,
      symbols,
      counts: options.visits === true,
      scratch: (bytes) => ({ _tag: "scratch", index: scratch.push(slot(Program.aligned(bytes))) - 1 }),
      slotOf: (ref) => {
        const known = ref._tag === "constant" ? undefined : place(ref)
        return known?._tag === "slot" ? known.index : undefined
      },
      result: { _tag: "result", index },
      siblings: index === 0 ? bodies.slice(1).map((b, n) => jobOf(b, n + 1)) : []
    })
    const place = (ref: Ref): Program.BufferRef => {
      switch (ref._tag) {
        case "operand":
          return operands[ref.index] as Program.BufferRef
        case "constant":
          return constant(ref.node)
        case "scratch":
          return scratch[ref.index] as Program.BufferRef
        case "result":
          return to[ref.index] as Program.BufferRef
        case "visits":
          return { _tag: "input", index: graph.inputs.length }
      }
    }
    const work = Size.from(workOf(bodies))
    const append = (lowered: ReadonlyArray<Lowered>, conditions: ReadonlyArray<Program.Condition>): void => {
      for (const { kernel, buffers, when = [], work: own = work, visits } of lowered) {
        const all = [...when, ...conditions]
        steps.push({
          kernel: kernelNumber(kernel),
          buffers: buffers.map(place),
          work: own,
          ...(visits === undefined ? {} : { visits }),
          ...(all.length === 0 ? {} : { when: all })
        })
      }
    }
    return { jobs: bodies.map(jobOf), append }
  }

  /** Appends the kernels of bodies that are computed together: one, or several of one attention. Results go to `to`. */
  const run = (
    bodies: ReadonlyArray<Graph.Graph>,
    nodes: ReadonlyArray<Node.Node>,
    operands: ReadonlyArray<Program.BufferRef>,
    to: ReadonlyArray<Program.BufferRef>,
    conditions: ReadonlyArray<Program.Condition> = []
  ): void => {
    const { jobs, append } = jobsOf(bodies, nodes, operands, to)
    const [job, node] = [jobs[0] as Job, nodes[0] as Node.Node]
    if (!fitsOneKernel(job)) {
      const anchor = job.anchor as Node.Node
      const split = KernelBody.splitAt(job.body, anchor)
      const between = slot(Program.storageBytes(anchor.type))
      run([split.anchor], nodes, operands, [between], conditions)
      run([split.rest], nodes, [...operands, between], to, conditions)
      return
    }
    const donor = donorOf(memory, graph, node)
    const donated = (is: boolean): ReadonlyArray<Program.Condition> =>
      donor === undefined ? conditions : [...conditions, { _tag: "donated", inputs: [donor], is }]
    const written = writtenInto(job)
    if (written !== undefined) {
      append([copyOf(written)], donated(false))
      append(job.anchor === undefined ? [alone(job, updatePart)] : lowerJob(job), conditions)
      return
    }
    append(lowerJob(job), donated(false))
    if (donor !== undefined) append([alone(job, updatePart)], donated(true))
  }

  /** Appends one dispatch of kernels that need nothing of each other; calls that it cannot serve take what `each` appends. */
  const runAtOnce = (
    group: ReadonlyArray<Node.Node>,
    each: (conditions: ReadonlyArray<Program.Condition>) => void
  ): void => {
    const { operands, bodies } = overOneList(group)
    const { jobs: own, append } = jobsOf(bodies, group, placesOf(operands), placesOf(group))
    // Tiles of two products serve one as well.
    const widths = own.map((job) => Math.max(...productJobs(job).map((each) => anchorsOf(each).length)))
    const widest = own.filter((_, i) => widths[i] === Math.max(...widths))
    const schedule = sharedSchedule(
      widest.flatMap((job) => (job.schedule?.kind === "matmul" ? [job.schedule] : [])),
      limits
    )
    const jobs = schedule === undefined ? own : own.map((job) => ({ ...job, schedule }))
    const donors = group.map((node) => donorOf(memory, graph, node))
    const targets = jobs.map(writtenInto)
    const all = donors.filter((d, i) => d !== undefined && targets[i] === undefined) as ReadonlyArray<number>
    const lists = jobs.flatMap((job, i) => {
      const isUpdate = targets[i] === undefined ? donors[i] !== undefined : job.anchor === undefined
      return isUpdate
        ? [{ job, parts: [updatePart] }]
        : productJobs(job).map((each) => ({ job: each, parts: partsOf(each) }))
    })
    const { parts } = lists[0] as (typeof lists)[0]
    const able = lists.every((list) => fitsOneKernel(list.job) && list.parts.length === parts.length)
    const lowered = able
      ? parts.map((_, n) => assemble(lists.map((list) => ({ job: list.job, part: list.parts[n] as Part }))))
      : []
    if (!able || lowered.includes(undefined)) {
      each([])
      return
    }
    const whole = (is: boolean): ReadonlyArray<Program.Condition> =>
      all.length === 0 ? [] : [{ _tag: "donated", inputs: all, is }]
    targets.forEach((target, i) => {
      if (target === undefined) return
      const kept =
        donors[i] === undefined ? [] : ([{ _tag: "donated", inputs: [donors[i]], is: false }] as const)
      append([copyOf(target)], [...whole(true), ...kept] as ReadonlyArray<Program.Condition>)
    })
    append(lowered as ReadonlyArray<Lowered>, whole(true))
    if (all.length > 0) each(whole(false))
  }

  graph.inputs.forEach((input, index) => {
    places.set(input, { _tag: "input", index })
  })
  const outputOf = new Map<Node.Node, number>()
  graph.outputs.forEach(({ node }, index) => {
    if (!outputOf.has(node)) outputOf.set(node, index)
  })
  const placeOf = (node: Node.Node): Program.BufferRef => {
    const output = outputOf.get(node)
    return output === undefined ? slot(Program.storageBytes(node.type)) : { _tag: "output", index: output }
  }
  // Counters take a buffer of each kernel.
  const maxStorageBuffersPerShaderStage = limits.maxStorageBuffersPerShaderStage - (options.visits ? 1 : 0)
  const together = siblings(plan, { ...limits, maxStorageBuffersPerShaderStage })
  const atOnce = new Map<Node.Node, Array<Node.Node>>()
  for (const [node, first] of dispatchGroups(graph, limits.maxStorageBuffersPerShaderStage))
    atOnce.set(first, [...(atOnce.get(first) ?? [first]), node])
  for (const node of graph.nodes) if (node.op === "constant") places.set(node, constant(node))
  for (const node of graph.nodes) {
    if (places.has(node)) continue
    const group = atOnce.get(node) ?? together.get(node) ?? [node]
    for (const member of group) places.set(member, placeOf(member))
    if (atOnce.has(node) || isSeveral(node)) {
      runAtOnce(group, (conditions) => {
        for (const member of group)
          run([KernelBody.of(member)], [member], placesOf(member.operands), placesOf([member]), conditions)
      })
      continue
    }
    const { operands, bodies } =
      group.length > 1 ? overOneList(group) : { operands: node.operands, bodies: [KernelBody.of(node)] }
    run(bodies, group, placesOf(operands), placesOf(group))
  }
  graph.outputs.forEach(({ node }, index) => {
    const from = places.get(node) as Program.BufferRef
    if (from._tag === "output" && from.index === index) return
    run([KernelBody.copyOf(node)], [node], [from], [{ _tag: "output", index }])
  })

  const port = (name: string, type: TensorType.TensorType): Program.Port => ({
    name,
    type,
    bytes: Program.storageBytes(type)
  })
  const visits = options.visits ? [port("visits", { dtype: "u32", shape: [Dim.constant(3)] })] : []
  const program: Program.Program = {
    symbols,
    kernels,
    steps,
    inputs: [...graph.inputs.map((n) => port(n.attrs.name, n.type)), ...visits],
    constants,
    slots,
    outputs: [
      ...graph.outputs.map((o, i) => {
        const donor = outputOf.get(o.node) === i ? donorOf(memory, graph, o.node) : undefined
        return { ...port(o.name, o.node.type), ...(donor === undefined ? {} : { donor }) }
      }),
      ...visits.map((v) => ({ ...v, donor: graph.inputs.length }))
    ]
  }
  if (symbols.length === 0) {
    const refused = Program.unsupported(program, {}, limits)
    if (refused !== undefined) throw refused
  }
  return program
}

/** Whether the result follows the anchor element by element, and the device binds all buffers at once. */
const fitsOneKernel = (job: Job): boolean => {
  const sum = ContractionSum.find(job.body)
  const alone = job.anchor === undefined || job.body.outputs[0]?.node === job.anchor
  const tensors = job.body.nodes.filter((n) => n.op === "constant" && n.attrs.values.length > 1).length
  const fits = job.body.inputs.length + tensors < job.limits.maxStorageBuffersPerShaderStage
  return (
    (sum === undefined ? Epilogue.isDirect(job) || isRowByRow(job) : isOneKernel(job, sum)) && (fits || alone)
  )
}

/** The job that copies what another writes into, where that one writes nothing else. */
const writtenInto = (job: Job): Job | undefined => {
  const update = KernelBody.updateOf(job.body)
  if (update === undefined || (update.op === "update_slice" && job.anchor === undefined)) return undefined
  const body = Graph.make([{ name: "out", node: update.operands[0] as Node.Node }], job.body.inputs)
  return { ...job, anchor: undefined, schedule: undefined, body }
}

const mapPart: Part = { name: "map", emit: map }
const updatePart: Part = { name: "update", emit: update }

const copyOf = (job: Job): Lowered => {
  const [out] = job.body.outputs as readonly [Graph.Output]
  return { ...alone(job, mapPart), work: Size.from(Shape.size(out.node.type.shape)) }
}

/** The kernels of a job, of which the lengths of a call choose one. */
const partsOf = (job: Job): ReadonlyArray<Part> => {
  if (job.anchor === undefined) return [mapPart]
  return job.anchor.op === "dot" ? matmul(job) : [{ name: job.anchor.op, emit: rows }]
}

const alone = (job: Job, part: Part): Lowered => assemble([{ job, part }]) as Lowered

const lowerJob = (job: Job): ReadonlyArray<Lowered> => {
  const sum = ContractionSum.find(job.body)
  if (sum !== undefined) return [contractionSum(job, sum)]
  if (job.anchor?.op === "flash_attention") return lowerFlash(job)
  return productJobs(job).flatMap((own) => partsOf(own).map((part) => alone(own, part)))
}

/** Whether the kernel has products that each give a part of its result. */
const isSeveral = (node: Node.Node): boolean =>
  node.op === "fused" && (productsOf(node.attrs.body)?.length ?? 0) > 1

/** A schedule that workgroups have the threads for. Tiles are refused where their kernels are made. */
const fitting = (schedule: Schedule | undefined, limits: Limits): Schedule | undefined => {
  if (schedule?.kind !== "rows" && schedule?.kind !== "elementwise") return schedule
  const refused = illegalThreads(schedule.threads, limits)
  if (refused === undefined) return schedule
  throw new UnsupportedByDevice({ message: `${schedule.kind}: the schedule does not fit: ${refused}` })
}

const refuseF64 = (graph: Graph.Graph): void => {
  for (const node of Graph.everyNode(graph)) {
    if (node.type.dtype !== "f64") continue
    const what = node.op === "input" ? `the input ${JSON.stringify(node.attrs.name)}` : node.op
    throw new UnsupportedByDevice({
      message: `${what} has dtype f64, which WebGPU lacks`,
      hint: "compute in f32 (leave out the cast to f64, or `accumulate`), or run on WebAssembly: Wasm.layer"
    })
  }
}

/** Content as text, for keys. */
const textOf = (data: Uint8Array): string => {
  let text = ""
  for (const byte of data) text += String.fromCharCode(byte)
  return text
}
