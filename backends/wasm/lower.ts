import * as ContractionSum from "../../ir/ContractionSum.ts"
import type * as Dim from "../../ir/Dim.ts"
import { overOneList } from "../../ir/flashPartners.ts"
import * as Graph from "../../ir/Graph.ts"
import * as KernelBody from "../../ir/KernelBody.ts"
import { donorOf } from "../../ir/MemoryPlan.ts"
import type * as Node from "../../ir/Node.ts"
import type { Plan } from "../Backend.ts"
import { sameCode } from "./assembler/sameCode.ts"
import { constantOf } from "./constants.ts"
import * as Epilogue from "./emit/epilogue.ts"
import * as Unit from "./emit/Unit.ts"
import type { Features } from "./features.ts"
import { flash } from "./flash/lowerFlash.ts"
import { siblings } from "./flash/siblings.ts"
import { standard, type Tiles } from "./flash/Tiles.ts"
import { type Job, type Lowered, type Ref, result } from "./Job.ts"
import { contractionSum, isOneKernel } from "./kernels/contractionSum.ts"
import { map } from "./kernels/map.ts"
import { matmul } from "./kernels/matmul.ts"
import { rows } from "./kernels/rows.ts"
import { update } from "./kernels/update.ts"
import * as Program from "./Program.ts"
import * as Work from "./work.ts"

/**
 * Turns a plan into a program. Every node of the graph is an input, a constant, or becomes one or more kernels: a fused node by its
 * body, any other op as a body of its own.
 */
export const lower = (plan: Plan, features: Features, tiles: Tiles = standard): Program.Program => {
  const { graph, memory } = plan
  const unit = Unit.make(
    features,
    [...Graph.everyNode(graph)].some(({ type }) => type.dtype === "f64")
  )
  const symbols = Graph.symbols(graph)
  const kernels: Array<Program.Kernel> = []
  const steps: Array<Program.Step> = []
  const constants: Array<Program.Constant> = []
  const constantNumbers = new Map<Node.Node, number>()
  const slots: Array<Program.Slot> = []
  const places = new Map<Node.Node, Program.BufferRef>()

  const constant = (node: Node.NodeOf<"constant">): Program.BufferRef => {
    const known = constantNumbers.get(node)
    const index = known ?? constants.push(constantOf(node)) - 1
    constantNumbers.set(node, index)
    return { _tag: "constant", index }
  }

  const slot = (bytes: Dim.Dim): Program.BufferRef => ({ _tag: "slot", index: slots.push({ bytes }) - 1 })

  /** Kernels with equal code are one. */
  const kernelNumber = (kernel: Program.Kernel): number => {
    const { name, func } = kernel
    const known = kernels.findIndex((k) => k.name === name && sameKernel(k, kernel))
    if (known >= 0) return known
    return kernels.push({ ...kernel, func: { ...func, name: `${name}_${kernels.length}` } }) - 1
  }

  /** By the text of bodies: the layers of a model hold the same ones. */
  const recipes = new Map<string, Recipe>()
  const recipeOf = (bodies: ReadonlyArray<Graph.Graph>, donates: boolean): Recipe => {
    const key = [donates, ...bodies.map(Graph.key)].join("|")
    const known = recipes.get(key)
    if (known !== undefined) return known
    const scratch: Array<Dim.Dim> = []
    const jobOf = (body: Graph.Graph, index: number): Job => ({
      body,
      anchor: KernelBody.anchorOf(body),
      result: result(index),
      siblings: index === 0 ? bodies.slice(1).map((b, n) => jobOf(b, n + 1)) : [],
      symbols,
      unit,
      scratch: (bytes) => ({ _tag: "scratch", index: scratch.push(bytes) - 1 })
    })
    const job = jobOf(bodies[0] as Graph.Graph, 0)
    const ofBody = Work.of(job.body)
    const made = piecesOf(job, tiles, donates).map(({ kernel, work = ofBody, ...piece }) => ({
      ...piece,
      work,
      kernel: kernelNumber(kernel)
    }))
    const recipe = { steps: made, scratch }
    recipes.set(key, recipe)
    return recipe
  }

  /** Appends the kernels of bodies over one list of operands, whose results go to `to`: one body, or attention that is computed together. */
  const run = (
    bodies: ReadonlyArray<Graph.Graph>,
    node: Node.Node,
    operands: ReadonlyArray<Program.BufferRef>,
    to: ReadonlyArray<Program.BufferRef>
  ): void => {
    const body = bodies[0] as Graph.Graph
    const anchor = KernelBody.anchorOf(body)
    if (anchor !== undefined && !fitsOneKernel({ body, anchor })) {
      const split = KernelBody.splitAt(body, anchor)
      const between = slot(Program.storageBytes(anchor.type))
      run([split.anchor], node, operands, [between])
      run([split.rest], node, [...operands, between], to)
      return
    }
    const donor = donorOf(memory, graph, node)
    const recipe = recipeOf(bodies, donor !== undefined)
    const scratch = recipe.scratch.map(slot)
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
      }
    }
    for (const { kernel, buffers, work, when = [], donated } of recipe.steps) {
      const conditions: ReadonlyArray<Program.Condition> =
        donor === undefined || donated === undefined
          ? when
          : [...when, { _tag: "donated", input: donor, is: donated }]
      steps.push({
        kernel,
        buffers: buffers.map(place),
        work,
        ...(conditions.length === 0 ? {} : { when: conditions })
      })
    }
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
  const together = siblings(graph)
  for (const node of graph.nodes) {
    if (places.has(node)) continue
    if (node.op === "constant") {
      places.set(node, constant(node))
      continue
    }
    const group = together.get(node) ?? [node]
    const { operands, bodies } =
      group.length > 1 ? overOneList(group) : { operands: node.operands, bodies: [KernelBody.of(node)] }
    for (const member of group) places.set(member, placeOf(member))
    const placesOf = (nodes: ReadonlyArray<Node.Node>) => nodes.map((n) => places.get(n) as Program.BufferRef)
    run(bodies, node, placesOf(operands), placesOf(group))
  }
  graph.outputs.forEach(({ node }, index) => {
    const from = places.get(node) as Program.BufferRef
    if (from._tag === "output" && from.index === index) return
    run([KernelBody.copyOf(node)], node, [from], [{ _tag: "output", index }])
  })

  return {
    symbols,
    module: unit.module(kernels.map((k) => k.func)),
    kernels,
    steps,
    inputs: graph.inputs.map((n) => ({ name: n.attrs.name, type: n.type })),
    constants,
    slots,
    outputs: graph.outputs.map((o, i) => {
      const donor = outputOf.get(o.node) === i ? donorOf(memory, graph, o.node) : undefined
      return { name: o.name, type: o.node.type, ...(donor === undefined ? {} : { donor }) }
    })
  }
}

/** What is lowered for bodies, seen from inside them. */
interface Recipe {
  readonly steps: ReadonlyArray<
    Omit<Piece, "kernel" | "work"> & { readonly kernel: number; readonly work: Work.Work }
  >
  readonly scratch: ReadonlyArray<Dim.Dim>
}

interface Piece extends Lowered {
  /** Runs where the result overwrites what it updates, or where it does not; undefined where it runs either way. */
  readonly donated?: boolean
}

const piecesOf = (job: Job, tiles: Tiles, donates: boolean): ReadonlyArray<Piece> => {
  const written = KernelBody.updateOf(job.body)
  if (written?.op === "scatter") return [{ ...map(copied(job, written)), donated: false }, update(job)]
  const pieces = lowerJob(job, tiles)
  if (!donates) return pieces
  return [...pieces.map((piece) => ({ ...piece, donated: false })), { ...update(job), donated: true }]
}

const sameKernel = (a: Program.Kernel, b: Program.Kernel): boolean =>
  a.local.key === b.local.key &&
  Program.printItems(a.items) === Program.printItems(b.items) &&
  sameCode(a.func, b.func)

/** The job that copies what another writes into. */
const copied = (job: Job, { operands }: Node.NodeOf<"scatter">): Job => ({
  ...job,
  body: Graph.make([{ name: "out", node: operands[0] as Node.Node }], job.body.inputs)
})

/** Whether the result follows the anchor element by element, or a sum of it does. */
const fitsOneKernel = (job: Pick<Job, "body" | "anchor">): boolean => {
  const sum = ContractionSum.find(job.body)
  return sum === undefined ? Epilogue.isDirect(job) : isOneKernel(job, sum)
}

const lowerJob = (job: Job, tiles: Tiles): ReadonlyArray<Lowered> => {
  const sum = ContractionSum.find(job.body)
  if (sum !== undefined) return contractionSum(job, sum)
  switch (job.anchor?.op) {
    case undefined:
      return [map(job)]
    case "dot":
      return matmul(job)
    case "flash_attention":
      return flash(job, tiles)
    default:
      return [rows(job)]
  }
}
