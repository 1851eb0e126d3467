import * as Dim from "../../ir/Dim.ts"
import * as DType from "../../ir/DType.ts"
import * as Shape from "../../ir/Shape.ts"
import * as TensorType from "../../ir/TensorType.ts"
import type { Func, Module } from "./assembler/Module.ts"
import * as Wat from "./assembler/print.ts"
import type { Work } from "./work.ts"

/**
 * What runs, as plain data: one module with a function for each kernel, the order in which they are called, and the memory they meet.
 * Code generation ends here; only the runtime compiles and calls.
 *
 * A kernel is called with (arguments, begin, end): the address of a block of words, and the range of its items to compute. The words are
 * the address of memory of its own (`local`), the lengths in the order of `symbols`, and the addresses of the step's buffers. Items
 * are independent: any division of them among calls gives the same bits.
 */
export interface Program {
  readonly symbols: ReadonlyArray<string>
  readonly module: Module
  readonly kernels: ReadonlyArray<Kernel>
  /** In the order of execution. Each step sees what the steps before it wrote. */
  readonly steps: ReadonlyArray<Step>
  readonly inputs: ReadonlyArray<Port>
  readonly constants: ReadonlyArray<Constant>
  readonly slots: ReadonlyArray<Slot>
  readonly outputs: ReadonlyArray<Output>
}

export interface Kernel {
  /** From the compiler's vocabulary (`map`, `softmax`, `matmul`), never from a user. */
  readonly name: string
  readonly func: Func
  readonly items: Items
  /** Bytes of memory that each call of the kernel has to itself. */
  readonly local: Dim.Dim
  /** Whether items read what lies side by side and is read once: then neighbours are best left to one thread. */
  readonly stream?: boolean
}

/** times * ceil(of / per). */
export interface Items {
  readonly times: Dim.Dim
  readonly of: Dim.Dim
  readonly per: number
}

export interface Step {
  /** Index into `kernels`. */
  readonly kernel: number
  readonly buffers: ReadonlyArray<BufferRef>
  /** Of all kernels that its node became, this one among them. */
  readonly work: Work
  /** All must hold for the step to run; none means it always runs. */
  readonly when?: ReadonlyArray<Condition>
}

/** A fact of one call: its lengths, or whether it gave an argument away. */
export type Condition =
  | { readonly _tag: "size"; readonly left: Dim.Dim; readonly relation: "<=" | ">"; readonly right: number }
  | { readonly _tag: "donated"; readonly input: number; readonly is: boolean }

export interface BufferRef {
  readonly _tag: "input" | "constant" | "slot" | "output"
  readonly index: number
}

/** An argument. */
export interface Port {
  readonly name: string
  readonly type: TensorType.TensorType
}

/** A result. */
export interface Output extends Port {
  /** When the call donates this input, the output takes its memory. */
  readonly donor?: number
}

export interface Constant {
  readonly type: TensorType.TensorType
  /** Content as it lies in memory. */
  readonly data: Uint8Array<ArrayBuffer>
}

/** An intermediate value. Where it lies follows from the steps that need it, see `layout`. */
export interface Slot {
  readonly bytes: Dim.Dim
}

/** Bytes of a tensor in memory: a bool takes 4, so that all elements are vectors of 4 lanes. */
export const storageBytes = (type: TensorType.TensorType): Dim.Dim =>
  Dim.mul(Shape.size(type.shape), Dim.constant(DType.deviceBytes[type.dtype]))

export const items = ({ times, of, per }: Items, sizes: Dim.Bindings): number =>
  Dim.evaluate(times, sizes) * Math.ceil(Dim.evaluate(of, sizes) / per)

const holds = (c: Condition, sizes: Dim.Bindings, donated: ReadonlySet<number>): boolean => {
  if (c._tag === "donated") return donated.has(c.input) === c.is
  const left = Dim.evaluate(c.left, sizes)
  return c.relation === "<=" ? left <= c.right : left > c.right
}

/** The steps that one call runs: conditions hold and there is at least one item. */
export const steps = (
  program: Program,
  sizes: Dim.Bindings,
  donated: ReadonlySet<number> = new Set()
): ReadonlyArray<Step> =>
  program.steps.filter(
    (s) =>
      (s.when ?? []).every((c) => holds(c, sizes, donated)) &&
      items((program.kernels[s.kernel] as Kernel).items, sizes) > 0
  )

export const printItems = ({ times, of, per }: Items): string => {
  const blocks = per === 1 ? Dim.print(of) : `ceil(${Dim.print(of)} / ${per})`
  return Dim.isOne(times) ? blocks : `${Dim.print(times)} times ${blocks}`
}

const printCondition = (c: Condition): string =>
  c._tag === "donated"
    ? `input ${c.input} ${c.is ? "is" : "is not"} donated`
    : `${Dim.print(c.left)} ${c.relation} ${c.right}`

/** Readable text, with the length of the module where that is known; equal programs print equally. */
export const print = (program: Program, bytes?: number): string =>
  [
    "program {",
    ...(bytes === undefined ? [] : [`  module of ${bytes} bytes`]),
    ...(program.symbols.length > 0 ? [`  sizes ${program.symbols.join(", ")}`] : []),
    ...program.inputs.map((p, i) => `  input ${i}: ${JSON.stringify(p.name)} ${TensorType.print(p.type)}`),
    ...program.constants.map((c, i) => `  constant ${i}: ${TensorType.print(c.type)}`),
    ...program.slots.map((s, i) => `  slot ${i}: ${Dim.print(s.bytes)} bytes`),
    ...program.outputs.map(printOutput),
    ...program.kernels.map((k, i) => `  kernel ${i}: ${k.name}, ${printItems(k.items)} items`),
    ...program.steps.map((s) => printStep(program, s)),
    "}"
  ].join("\n")

/** The module in WebAssembly's text format, below the program as comments: what any assembler takes. */
export const wat = (program: Program): string => {
  const comments = print(program)
    .split("\n")
    .map((line) => `;; ${line}`)
  return [...comments, "", Wat.print(program.module)].join("\n")
}

const printOutput = (p: Output, i: number): string => {
  const donor = p.donor === undefined ? "" : `, in place of input ${p.donor} where that is donated`
  return `  output ${i}: ${JSON.stringify(p.name)} ${TensorType.print(p.type)}${donor}`
}

const printStep = (program: Program, s: Step): string => {
  const when =
    s.when === undefined || s.when.length === 0 ? "" : ` when ${s.when.map(printCondition).join(" and ")}`
  const buffers = s.buffers.map((r) => `${r._tag} ${r.index}`).join(", ")
  return `  run kernel ${s.kernel} ${(program.kernels[s.kernel] as Kernel).name} (${buffers})${when}`
}
