import type { Bindings } from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import type { Limits } from "../../ir/Limits.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import { UnsupportedByDevice } from "../errors.ts"
import type { Visits } from "./flash/visits.ts"
import * as Size from "./Size.ts"

/**
 * What runs on a device, as plain data: kernels (WGSL), the order in which they are dispatched, and the buffers they
 * meet. Text generation ends here; only the runtime turns it into pipelines and commands.
 *
 * Layout of every bind group: binding 0 is the uniform `Sizes` (`uniform` gives its content), binding k + 1 is
 * `Kernel.bindings[k]`.
 */
export interface Program {
  /** Symbolic lengths in the order of the uniform; WGSL calls them s0, s1, … */
  readonly symbols: ReadonlyArray<string>
  readonly kernels: ReadonlyArray<Kernel>
  /** In the order of execution. Each step sees what the steps before it wrote. */
  readonly steps: ReadonlyArray<Step>
  readonly inputs: ReadonlyArray<Port>
  readonly constants: ReadonlyArray<Constant>
  readonly slots: ReadonlyArray<Slot>
  readonly outputs: ReadonlyArray<Output>
}

export interface Kernel {
  /** From the compiler's vocabulary (`map`, `softmax`, `matmul`), never from a user; need not be unique. */
  readonly name: string
  /** A whole module; the entry point is `main`. */
  readonly wgsl: string
  readonly bindings: ReadonlyArray<Binding>
  readonly workgroupSize: readonly [x: number, y: number, z: number]
  /**
   * Number of workgroups, counted linearly. A count over `maxComputeWorkgroupsPerDimension` is folded into x and y (`dispatchSize`);
   * the kernel computes `sizes.first + workgroup_id.y * num_workgroups.x + workgroup_id.x` and leaves when that is past its work.
   */
  readonly workgroups: Size.Size
  /** Workgroup memory in bytes. */
  readonly workgroupBytes: number
  readonly requires: { readonly f16?: true; readonly subgroups?: true }
}

export interface Binding {
  readonly access: "read" | "read_write"
  readonly dtype: DType.DType
}

export interface Step {
  /** Index into `kernels`. */
  readonly kernel: number
  /** One for each of the kernel's bindings. */
  readonly buffers: ReadonlyArray<BufferRef>
  /** Multiply-adds, estimated from above: what work is split by that would take too long. */
  readonly work?: Size.Size
  /** Where a mask leaves a part of it, and workgroups unequal parts of that. */
  readonly visits?: Visits
  /** All must hold for the step to run; none means it always runs. */
  readonly when?: ReadonlyArray<Condition>
}

/** A fact of one call: its lengths, or whether it gave all of some arguments away. */
export type Condition =
  | {
      readonly _tag: "size"
      readonly left: Size.Size
      readonly relation: "<=" | ">"
      readonly right: Size.Size
    }
  | { readonly _tag: "donated"; readonly inputs: ReadonlyArray<number>; readonly is: boolean }

export interface BufferRef {
  readonly _tag: "input" | "constant" | "slot" | "output"
  readonly index: number
}

/** An argument. */
export interface Port {
  readonly name: string
  readonly type: TensorType.TensorType
  /** Bytes of its buffer, see `storageBytes`. */
  readonly bytes: Size.Size
}

/** A result. */
export interface Output extends Port {
  /** When the call donates this input, the output's buffer is the input's buffer. */
  readonly donor?: number
}

export interface Constant {
  readonly type: TensorType.TensorType
  /** Content in device layout, a multiple of 16 bytes. */
  readonly data: Uint8Array<ArrayBuffer>
}

/** An intermediate value. Where it lies follows from the steps that need it, see `intermediates`. */
export interface Slot {
  readonly bytes: Size.Size
}

/**
 * Bytes of the buffer of a tensor: elements in device layout (a bool takes 4 bytes, 16-bit elements lie two in a word), rounded up to 16, at
 * least 16. So a binding is never empty and the last `vec4` or word of a tensor is always readable.
 */
export const storageBytes = (type: TensorType.TensorType): Size.Size =>
  aligned(Size.mul(Shape.size(type.shape), DType.deviceBytes[type.dtype]))

/** Rounded up to 16 bytes, at least 16. */
export const aligned = (bytes: Size.SizeLike): Size.Size =>
  Size.max(Size.mul(Size.ceilDiv(bytes, 16), 16), 16)

/** Content of the uniform: a word that is 0, the number of the first workgroup, then the symbols in order, padded to 16 bytes. */
export const uniform = (program: Program, bindings: Bindings, first = 0): Int32Array<ArrayBuffer> => {
  const words = new Int32Array(Math.ceil((program.symbols.length + 2) / 4) * 4)
  words[1] = first
  program.symbols.forEach((s, i) => {
    const value = Object.hasOwn(bindings, s) ? bindings[s] : undefined
    if (value === undefined) throw new RangeError(`the symbol ${s} is not bound`)
    words[i + 2] = value
  })
  return words
}

const holds = (c: Condition, bindings: Bindings, donated: ReadonlySet<number>): boolean => {
  if (c._tag === "donated") return c.inputs.every((i) => donated.has(i)) === c.is
  const [left, right] = [Size.evaluate(c.left, bindings), Size.evaluate(c.right, bindings)]
  return c.relation === "<=" ? left <= right : left > right
}

/** The steps that one call runs: conditions hold and there is at least one workgroup. */
export const steps = (
  program: Program,
  bindings: Bindings,
  donated: ReadonlySet<number> = new Set()
): ReadonlyArray<Step> =>
  program.steps.filter(
    (s) =>
      (s.when ?? []).every((c) => holds(c, bindings, donated)) &&
      Size.evaluate((program.kernels[s.kernel] as Kernel).workgroups, bindings) > 0
  )

/** Kernels that every call runs, and those that calls run at some lengths, or where they give arguments away. */
export const kernelsByNeed = (
  program: Program
): { readonly always: ReadonlyArray<number>; readonly sometimes: ReadonlyArray<number> } => {
  const possible = program.steps.flatMap(({ kernel, when = [] }) => {
    const open = when.filter((c) => !isCertain(c))
    const never = when.some((c) => isCertain(c) && !holds(c, {}, new Set()))
    return never ? [] : [{ kernel, always: open.length === 0 }]
  })
  const always = new Set(possible.flatMap((s) => (s.always ? [s.kernel] : [])))
  const sometimes = new Set(possible.flatMap(({ kernel }) => (always.has(kernel) ? [] : [kernel])))
  return { always: [...always], sometimes: [...sometimes] }
}

/** Whether no length is needed to decide it. */
const isCertain = (c: Condition): boolean =>
  c._tag === "size" && Size.value(c.left) !== undefined && Size.value(c.right) !== undefined

/** Arguments of `dispatchWorkgroups` for a linear count; x * y may exceed it by less than x. */
export const dispatchSize = (count: number, limits: Limits): readonly [x: number, y: number] => {
  const most = limits.maxComputeWorkgroupsPerDimension
  if (count <= most) return [count, 1]
  const y = Math.ceil(count / most)
  return [Math.ceil(count / y), y]
}

/** Lengths are i32 in kernels. */
const mostLength = 2 ** 31 - 1

/** What of one call the device cannot do; undefined where it can do all of it. Called before anything runs. */
export const unsupported = (
  program: Program,
  bindings: Bindings,
  limits: Limits,
  running: ReadonlyArray<Step> = steps(program, bindings)
): UnsupportedByDevice | undefined => {
  for (const symbol of program.symbols) {
    const length = bindings[symbol] ?? 0
    if (length > mostLength) {
      return new UnsupportedByDevice({
        message: `the length ${symbol} is ${length}, kernels count to ${mostLength}`,
        hint: "use a smaller length"
      })
    }
  }
  const named = (kind: "input" | "output") => (p: Port) =>
    `${kind} ${JSON.stringify(p.name)} ${TensorType.print(p.type)}`
  const refused =
    tooLarge(program.inputs, named("input"), bindings, limits) ??
    tooLarge(program.outputs, named("output"), bindings, limits) ??
    tooLarge(program.slots, (_, i) => `intermediate value ${i}`, bindings, limits)
  if (refused !== undefined) return refused
  for (const step of running) {
    const kernel = program.kernels[step.kernel] as Kernel
    const count = Size.evaluate(kernel.workgroups, bindings)
    if (count > limits.maxComputeWorkgroupsPerDimension ** 2 || count > 2 ** 31 - 1) {
      return new UnsupportedByDevice({ message: `the kernel ${kernel.name} would need ${count} workgroups` })
    }
  }
  return undefined
}

/** Why the device cannot hold the first of some buffers that is too large for it. */
const tooLarge = <B extends { readonly bytes: Size.Size }>(
  buffers: ReadonlyArray<B>,
  name: (buffer: B, index: number) => string,
  bindings: Bindings,
  limits: Limits
): UnsupportedByDevice | undefined => {
  for (const [i, buffer] of buffers.entries()) {
    const bytes = Size.evaluate(buffer.bytes, bindings)
    for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
      if (bytes <= limits[limit]) continue
      return new UnsupportedByDevice({
        message: `${name(buffer, i)} takes ${bytes} bytes, the device's ${limit} is ${limits[limit]}`,
        hint: "request a device with higher limits, or split the computation along its batch"
      })
    }
  }
  return undefined
}

export interface PrintOptions {
  /** Whether the WGSL of each kernel follows its line. */
  readonly wgsl?: boolean
}

const printRef = (r: BufferRef): string => `${r._tag} ${r.index}`

const printCondition = (c: Condition): string =>
  c._tag === "donated"
    ? `${c.is ? "" : "not "}donated: input ${c.inputs.join(", ")}`
    : `${Size.print(c.left)} ${c.relation} ${Size.print(c.right)}`

/** Readable text; equal programs print equally. */
export const print = (program: Program, options: PrintOptions = {}): string =>
  [
    "program {",
    ...(program.symbols.length > 0
      ? [`  sizes ${program.symbols.map((s, i) => `s${i} = ${s}`).join(", ")}`]
      : []),
    ...program.inputs.map((p, i) => `  input ${i}: ${JSON.stringify(p.name)} ${TensorType.print(p.type)}`),
    ...program.constants.map((c, i) => `  constant ${i}: ${TensorType.print(c.type)}`),
    ...program.slots.map((s, i) => `  slot ${i}: ${Size.print(s.bytes)} bytes`),
    ...program.outputs.map(printOutput),
    ...program.kernels.flatMap((k, i) => [printKernel(k, i), ...(options.wgsl ? indented(k.wgsl) : [])]),
    ...program.steps.map((s) => printStep(program, s)),
    "}"
  ].join("\n")

const printOutput = (p: Output, i: number): string => {
  const donor = p.donor === undefined ? "" : `, in place of input ${p.donor} where that is donated`
  return `  output ${i}: ${JSON.stringify(p.name)} ${TensorType.print(p.type)}${donor}`
}

const printKernel = (k: Kernel, i: number): string => {
  const notes = [
    `${k.workgroupSize.join("x")} threads`,
    `${Size.print(k.workgroups)} workgroups`,
    ...(k.workgroupBytes > 0 ? [`${k.workgroupBytes} bytes of workgroup memory`] : []),
    ...(k.requires.f16 ? ["f16"] : []),
    ...(k.requires.subgroups ? ["subgroups"] : [])
  ]
  const bindings = k.bindings.map((b, j) => `b${j}: ${b.access} ${b.dtype}`).join(", ")
  return `  kernel ${i}: ${k.name} (${bindings}), ${notes.join(", ")}`
}

const printStep = (program: Program, s: Step): string => {
  const when =
    s.when === undefined || s.when.length === 0 ? "" : ` when ${s.when.map(printCondition).join(" and ")}`
  return `  run kernel ${s.kernel} ${(program.kernels[s.kernel] as Kernel).name} (${s.buffers.map(printRef).join(", ")})${when}`
}

const indented = (text: string): ReadonlyArray<string> =>
  text
    .trimEnd()
    .split("\n")
    .map((l) => (l === "" ? "" : `    ${l}`))
