import type { Plan } from "../../backends/Backend.ts"
import { encode } from "../../backends/wasm/assembler/encode.ts"
import { detect } from "../../backends/wasm/features.ts"
import { standard, type Tiles } from "../../backends/wasm/flash/Tiles.ts"
import { lower } from "../../backends/wasm/lower.ts"
import * as Program from "../../backends/wasm/Program.ts"
import { type Engine, engine, type Run } from "../../backends/wasm/runtime/engine.ts"
import { read, write } from "../../backends/wasm/runtime/transfer.ts"
import * as Dim from "../../ir/Dim.ts"
import type { HostArray } from "../../ir/HostArray.ts"
import * as Shape from "../../ir/Shape.ts"

const page = 65536

/** How the items of a kernel are divided among calls, and in which order these come. */
export type Divide = (items: number) => ReadonlyArray<readonly [begin: number, end: number]>

export const whole: Divide = (items) => [[0, items]]

/** One by one, the last first. */
export const backwards: Divide = (items) =>
  Array.from({ length: items }, (_, n) => [items - n - 1, items - n] as const)

/** In runs of different lengths, every other run first. */
export const uneven: Divide = (items) => {
  const runs: Array<readonly [number, number]> = []
  for (let at = 0, size = 1; at < items; at += size, size = (size % 3) + 1)
    runs.push([at, Math.min(items, at + size)])
  return [...runs.filter((_, n) => n % 2 === 1), ...runs.filter((_, n) => n % 2 === 0)]
}

interface ByHand {
  readonly program: Program.Program
  readonly run: (
    inputs: ReadonlyArray<HostArray>,
    sizes: Dim.Bindings,
    divide?: Divide
  ) => Promise<ReadonlyArray<HostArray>>
  /** What the last run has left in the memory between kernels; all bits are 1 where nobody wrote. */
  readonly slots: () => ReadonlyArray<Uint8Array>
}

/**
 * The kernels of a plan without the runtime: in memory that holds no zeros, so that what nobody has written shows, cut and divided as a test
 * wants it.
 */
export const byHand = (plan: Plan, tiles: Tiles = standard): ByHand => {
  const host = engine() as Engine
  const program = lower(plan, detect(host), tiles)
  const compiled = host.compile(encode(program.module))
  let left: ReadonlyArray<Uint8Array> = []
  const run: ByHand["run"] = async (inputs, sizes, divide = whole) => {
    let top = 16
    const place = (bytes: number): number => {
      const address = top
      top += Math.ceil(bytes / 16) * 16 + 16
      return address
    }
    const bytesOf = (port: Program.Port): number => Dim.evaluate(Program.storageBytes(port.type), sizes)
    const steps = Program.steps(program, sizes)
    const addresses = {
      input: program.inputs.map((p) => place(bytesOf(p))),
      constant: program.constants.map((c) => place(c.data.byteLength)),
      slot: program.slots.map((s) => place(Dim.evaluate(s.bytes, sizes))),
      output: program.outputs.map((p) => place(bytesOf(p)))
    }
    const kernel = (s: Program.Step): Program.Kernel => program.kernels[s.kernel] as Program.Kernel
    const local = place(Math.max(0, ...steps.map((s) => Dim.evaluate(kernel(s).local, sizes))))
    const args = place(4 * (1 + program.symbols.length + 64))
    const pages = Math.ceil(top / page)
    const memory = new host.Memory({ initial: pages, maximum: pages })
    new Uint8Array(memory.buffer).fill(0xff)
    inputs.forEach((array, i) => {
      write(memory.buffer, addresses.input[i] as number, array)
    })
    program.constants.forEach(({ data }, i) => {
      new Uint8Array(memory.buffer, addresses.constant[i]).set(data)
    })
    const { exports } = await host.instantiate(await compiled, { env: { memory }, Math })
    for (const step of steps) {
      const words = [
        local,
        ...program.symbols.map((s) => sizes[s] as number),
        ...step.buffers.map(({ _tag, index }) => addresses[_tag][index] as number)
      ]
      new Int32Array(memory.buffer, args, words.length).set(words)
      for (const [begin, end] of divide(Program.items(kernel(step).items, sizes))) {
        ;(exports[kernel(step).func.name] as Run)(args, begin, end)
      }
    }
    left = program.slots.map(
      (s, i) => new Uint8Array(memory.buffer, addresses.slot[i], Dim.evaluate(s.bytes, sizes))
    )
    return program.outputs.map(({ type }, i) =>
      read(memory.buffer, addresses.output[i] as number, type.dtype, Shape.evaluate(type.shape, sizes))
    )
  }
  return { program, run, slots: () => left }
}
