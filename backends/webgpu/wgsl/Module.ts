import type { DType } from "../../../ir/DType.ts"
import type { Limits } from "../../../ir/Limits.ts"
import type { TensorType } from "../../../ir/TensorType.ts"
import { UnsupportedByDevice } from "../../errors.ts"
import { type Job, type Lowered, type Ref, sameRef } from "../Job.ts"
import { type Condition, storageBytes } from "../Program.ts"
import * as Size from "../Size.ts"
import { type HelperName, helpers } from "./functions.ts"

/**
 * A WGSL module under construction. Names in it come from counters (b0, s0, x0, …) and from the fixed vocabulary of this
 * folder; nothing that a user named reaches it.
 */
export interface Module {
  readonly limits: Limits
  /** i32 expression of a symbolic length. Usable anywhere in the module. */
  readonly symbol: (name: string) => string
  /** u32 expression that is 0 at run time and unknown to the compiler; makes bit patterns of inf and NaN opaque. */
  readonly opaqueZero: () => string
  /** Includes a helper function and gives its name. */
  readonly helper: (name: HelperName) => string
  /** Name of the storage variable for a buffer, declared on first use. */
  readonly buffer: (ref: Ref, element: Element) => string
  /** What is bound by what this emits decides where control goes: it is only read by this kernel, so that all threads agree on it. */
  readonly steering: <A>(emit: () => A) => A
  /** How many buffers are bound. */
  readonly bindings: () => number
  /** Whether a buffer is bound for writing as elements of two types, which devices refuse. */
  readonly writesTwoWays: () => boolean
  /** Declares a workgroup array and gives its name. `bytes` is its size. */
  readonly workgroupArray: (type: string, length: number, bytes: number) => string
  /** Gives the workgroup arrays that there are to those who ask next: one workgroup never needs both. */
  readonly reuseArrays: () => void
  /** Adds a module-scope declaration of the caller, such as a function. */
  readonly declare: (text: string) => void
  /** A name that is used nowhere else. */
  readonly fresh: (prefix: string) => string
  readonly finish: (main: Main) => Lowered
}

/** How a storage variable is declared. */
export interface Element {
  readonly dtype: DType
  readonly access: "read" | "read_write"
  /** Element type in WGSL, as `f32`, `u32`, `f16`, `vec4<f32>`, `atomic<u32>`. */
  readonly type: string
}

export interface Main {
  readonly name: string
  /** Statements of the entry point, which may use `wid`, `lid`, `gid`, `lix` (built in) and `nwg`. */
  readonly lines: ReadonlyArray<string>
  readonly workgroupSize: readonly [number, number, number]
  readonly workgroups: Size.Size
  readonly when?: ReadonlyArray<Condition>
}

/** A storage variable. */
interface Bound {
  readonly ref: Ref
  readonly element: Element
  readonly name: string
  steers: boolean
}

/** Parameters of the entry point, declared where the statements use them. */
const builtins = {
  wid: "@builtin(workgroup_id) wid: vec3<u32>",
  lid: "@builtin(local_invocation_id) lid: vec3<u32>",
  lix: "@builtin(local_invocation_index) lix: u32",
  nwg: "@builtin(num_workgroups) nwg: vec3<u32>",
  sgs: "@builtin(subgroup_size) sgs: u32",
  sgi: "@builtin(subgroup_invocation_id) sgi: u32"
}

/** What a module says that needs the feature. */
const subgroupWords = [
  "quadBroadcast",
  "quadSwapX",
  "quadSwapY",
  "sgi",
  "sgs",
  "subgroupAdd",
  "subgroupAny",
  "subgroupMax"
]

/**
 * Linear number of the workgroup, whether or not the host folded the count into two dimensions, or dispatches a kernel that takes long
 * in several ranges; i32, uniform.
 */
export const workgroupIndex = "(sizes.first + i32(wid.y * nwg.x + wid.x))"

const identifier = /[A-Za-z_]\w*/g

/** Bytes of an element as a storage variable declares it. */
const elementBytes = (type: string): number => {
  const [, count = "1", scalar = type] = /^vec([24])<(\w+)>$/.exec(type) ?? []
  return Number(count) * (scalar === "f16" ? 2 : 4)
}

/** What a buffer holds, as far as a kernel that was written for it can tell. */
const contentOf = ({ body }: Pick<Job, "body">, ref: Ref): TensorType | undefined =>
  ref._tag === "operand" ? body.inputs[ref.index]?.type : ref._tag === "constant" ? ref.node.type : undefined

export const make = (job: Pick<Job, "limits" | "symbols" | "body" | "slotOf">): Module => {
  const { limits } = job
  const symbolNumber = new Map(job.symbols.map((s, i) => [s, i] as const))
  let symbolsUsed = 0
  const included = new Map<HelperName, string>()
  const declarations: Array<string> = []
  const buffers: Array<Bound> = []
  const counters = new Map<string, number>()
  let workgroupBytes = 0

  const fresh = (prefix: string): string => {
    const count = counters.get(prefix) ?? 0
    counters.set(prefix, count + 1)
    return `${prefix}${count}`
  }

  const helper = (name: HelperName): string => {
    if (!included.has(name)) {
      const { uses, text } = helpers[name]
      for (const other of uses ?? []) helper(other)
      included.set(name, text)
    }
    return name
  }

  const symbol = (name: string): string => {
    const number = symbolNumber.get(name)
    if (number === undefined) throw new Error(`the symbol ${name} is not in the program`)
    symbolsUsed = Math.max(symbolsUsed, number + 1)
    return `sizes.s${number}`
  }

  const opaqueZero = (): string => "u32(sizes.zero)"

  let steers = false
  const steering: Module["steering"] = (emit) => {
    steers = true
    const made = emit()
    steers = false
    return made
  }

  const buffer = (ref: Ref, element: Element): string => {
    const known = buffers.find((b) => sameRef(b.ref, ref) && b.element.type === element.type)
    if (known !== undefined) {
      known.steers ||= steers
      if (known.element.access === "read" && element.access === "read_write") {
        throw new Error(`${known.name} is bound for reading already`)
      }
      return known.name
    }
    const name = `b${buffers.length}`
    buffers.push({ ref, element, name, steers })
    return name
  }

  /** An array whose length is in the text takes fewer instructions to hold an index within it. */
  const arrayOf = ({ ref, element }: { readonly ref: Ref; readonly element: Element }): string => {
    const content = contentOf(job, ref)
    const bytes = content === undefined ? undefined : Size.value(storageBytes(content))
    return bytes === undefined
      ? `array<${element.type}>`
      : `array<${element.type}, ${bytes / elementBytes(element.type)}>`
  }

  const arrays: Array<{ readonly name: string; readonly text: string; free: boolean }> = []
  const workgroupArray = (type: string, length: number, bytes: number): string => {
    const text = `array<${type}, ${length}>`
    const known = arrays.find((a) => a.free && a.text === text)
    if (known !== undefined) {
      known.free = false
      return known.name
    }
    const name = fresh("w")
    arrays.push({ name, text, free: false })
    declarations.push(`var<workgroup> ${name}: ${text};`)
    workgroupBytes += bytes
    return name
  }
  const reuseArrays = (): void => {
    for (const array of arrays) array.free = true
  }

  const finish = (main: Main): Lowered => {
    if (buffers.length > limits.maxStorageBuffersPerShaderStage) {
      throw new UnsupportedByDevice({
        message: `a ${main.name} kernel needs ${buffers.length} buffers, the device binds ${limits.maxStorageBuffersPerShaderStage} at once`,
        hint: "fuse less"
      })
    }
    if (workgroupBytes > limits.maxComputeWorkgroupStorageSize) {
      throw new UnsupportedByDevice({
        message: `a ${main.name} kernel needs ${workgroupBytes} bytes of workgroup memory, the device has ${limits.maxComputeWorkgroupStorageSize}`
      })
    }
    // WebGPU binds a buffer for writing, each byte once, or for reading as often as one likes.
    const slots = buffers.map(({ ref }) => job.slotOf(ref))
    const writesArena = buffers.some(
      ({ element }, i) => element.access === "read_write" && slots[i] !== undefined
    )
    // One slot may be two operands, and one operand be bound as elements of two types.
    const boundOnce = (slot: number | undefined): boolean =>
      slot !== undefined && slots.indexOf(slot) === slots.lastIndexOf(slot)
    const accesses = buffers.map(({ element, steers }, i) =>
      writesArena && boundOnce(slots[i]) && !steers ? "read_write" : element.access
    )
    const body = withoutDeadLets(main.lines)
    const text = [...declarations, ...included.values(), ...body].join("\n")
    const words = new Set(text.match(identifier))
    const f16 = words.has("f16") || buffers.some((b) => b.element.type.includes("f16"))
    const subgroups = subgroupWords.some((name) => words.has(name))
    const parameters = Object.entries(builtins).filter(([name]) => words.has(name))
    const sizes = ["zero", "first", ...Array.from({ length: symbolsUsed }, (_, i) => `s${i}`)]
    const wgsl = [
      ...(f16 ? ["enable f16;"] : []),
      ...(subgroups ? ["enable subgroups;", "diagnostic(off, subgroup_uniformity);"] : []),
      `struct Sizes { ${sizes.map((s) => `${s}: i32`).join(", ")} }`,
      "@group(0) @binding(0) var<uniform> sizes: Sizes;",
      ...buffers.map(
        (b, i) => `@group(0) @binding(${i + 1}) var<storage, ${accesses[i]}> ${b.name}: ${arrayOf(b)};`
      ),
      ...declarations,
      ...included.values(),
      `@compute @workgroup_size(${main.workgroupSize.join(", ")})`,
      `fn main(${parameters.map(([, text]) => text).join(", ")}) {`,
      ...body.map((l) => `  ${l}`),
      "}",
      ""
    ].join("\n")
    return {
      kernel: {
        name: main.name,
        wgsl,
        bindings: buffers.map((b, i) => ({
          access: accesses[i] as Element["access"],
          dtype: b.element.dtype
        })),
        workgroupSize: main.workgroupSize,
        workgroups: main.workgroups,
        workgroupBytes,
        requires: {
          ...(f16 ? { f16: true as const } : {}),
          ...(subgroups ? { subgroups: true as const } : {})
        }
      },
      buffers: buffers.map((b) => b.ref),
      ...(main.when === undefined ? {} : { when: main.when })
    }
  }

  return {
    limits,
    symbol,
    opaqueZero,
    helper,
    buffer,
    steering,
    bindings: () => buffers.length,
    writesTwoWays: () => {
      const written = buffers.filter((b) => b.element.access === "read_write")
      return written.some((b, i) => written.slice(0, i).some((other) => sameRef(other.ref, b.ref)))
    },
    workgroupArray,
    reuseArrays,
    declare: (text) => {
      declarations.push(text)
    },
    fresh,
    finish
  }
}

/** Drops `let` lines that nothing after them reads; a name is declared once in a module and never read before its line. */
const withoutDeadLets = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const used = new Set<string>()
  const kept: Array<string> = []
  for (const line of lines.toReversed()) {
    const name = /^\s*let (\w+) = /.exec(line)?.[1]
    if (name !== undefined && !used.has(name)) continue
    kept.push(line)
    for (const word of line.match(identifier) ?? []) used.add(word)
  }
  return kept.reverse()
}
