import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import * as Body from "../wgsl/body.ts"
import * as Emitter from "../wgsl/Emitter.ts"
import * as Fours from "../wgsl/fours.ts"
import * as Half from "../wgsl/half.ts"
import type { Module } from "../wgsl/Module.ts"
import { loadHalf, loadVec4 } from "../wgsl/storage.ts"
import type { Problem } from "./Problem.ts"

/** Reads q, k or v four elements of the last axis at a time. */
export interface Operand {
  /** Elements 4 * chunk to 4 * chunk + 3 of a row as a bound `vec4<f32>`; 0 past the end of the last axis. */
  readonly vec4: (
    emitter: Emitter.Emitter,
    index: readonly [b: string, head: string, position: string],
    chunk: string
  ) => string
  /** The same of numbers that f16 holds, as `Half.memory` says. */
  readonly half: Operand["vec4"]
}

const four = Dim.constant(4)

/**
 * Rows that start at multiples of four elements and lie without gaps are read as vectors, straight from the buffer they
 * lie in, whatever views or tables are in between; all others element by element through a function.
 */
export const make = (module: Module, { job }: Problem, node: Node, name: string): Operand => {
  // Arithmetic is f32 in any case, so widening on the way in costs nothing.
  const narrow = node.operands[0]
  const widened =
    node.op === "cast" &&
    node.type.dtype === "f32" &&
    (narrow?.type.dtype === "f16" || narrow?.type.dtype === "bf16")
  const source = widened ? (narrow as Node) : node
  const size = Dim.value(source.type.shape[3] as Dim.Dim) as number
  const view = Body.strided(job.body, source)
  const [base, ...steps] =
    view === undefined ? [] : [view.base, ...view.strides.slice(0, 3)].map((d) => Dim.divideExact(d, four))
  const aligned = size % 4 === 0 && base !== undefined && steps.every((s) => s !== undefined)
  if (view !== undefined && aligned && Dim.isOne(view.strides[3] as Dim.Dim)) {
    const { dtype } = source.type
    const place: Operand["vec4"] = (e, index, chunk) => {
      const row = index.reduce(
        (sum, x, axis) => e.add(sum, e.mul(x, e.dim(steps[axis] as Dim.Dim))),
        e.dim(base)
      )
      return e.add(row, chunk)
    }
    const vec4: Operand["vec4"] = (e, index, chunk) => loadVec4(e, view.ref, dtype, place(e, index, chunk))
    const half: Operand["vec4"] = (e, index, chunk) => loadHalf(e, view.ref, place(e, index, chunk))
    return { vec4, half: dtype === "f16" ? half : packed(module, vec4) }
  }
  if (Fours.lie(node)) {
    const bodies = new Map<Emitter.Emitter, Body.Body>()
    const read =
      (load: Fours.Load): Operand["vec4"] =>
      (e, row, chunk) => {
        const body = bodies.get(e) ?? Body.make(e, job.body)
        bodies.set(e, body)
        return Fours.at(e, body, job.body, node, row, chunk, load)
      }
    return {
      vec4: read(Fours.floats),
      half: read({ vec4: (e, ref, _, index) => loadHalf(e, ref, index), zero: `${Half.of(module).memory}()` })
    }
  }
  const e = Emitter.make(module)
  const parameters = [0, 1, 2, 3].map(() => e.known(module.fresh("a")))
  const [b, h, s, chunk] = parameters as [string, string, string, string]
  const body = Body.make(e, job.body)
  const elements = [0, 1, 2, 3].map((lane) => {
    const d = e.add(e.mul(chunk, "4"), String(lane))
    // The last row may end with the buffer: no element past it is read.
    const inside = size % 4 === 0 ? d : e.bind(`min(${d}, ${size - 1})`)
    const value = body.at(source, [b, h, s, inside])
    return size % 4 === 0 ? value : `select(0.0, ${value}, ${d} < ${size})`
  })
  module.declare(
    [
      `fn ${name}(${parameters.map((p) => `${p}: i32`).join(", ")}) -> vec4<f32> {`,
      ...e.lines().map((l) => `  ${l}`),
      `  return vec4<f32>(${elements.join(", ")});`,
      "}"
    ].join("\n")
  )
  const vec4: Operand["vec4"] = (emitter, index, c) =>
    emitter.constant(`${name}(${[...index, c].join(", ")})`)
  return { vec4, half: packed(module, vec4) }
}

/** Numbers that are computed, or lie apart. */
const packed =
  (module: Module, vec4: Operand["vec4"]): Operand["vec4"] =>
  (e, index, chunk) =>
    e.bind(Half.of(module).put(vec4(e, index, chunk)))
