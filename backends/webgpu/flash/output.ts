import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import type { Job } from "../Job.ts"
import * as Body from "../wgsl/body.ts"
import type { Emitter } from "../wgsl/Emitter.ts"
import * as Epilogue from "../wgsl/epilogue.ts"
import { storePair, storesPairs } from "../wgsl/storage.ts"
import { lanes } from "./frame.ts"
import type { Problem } from "./Problem.ts"

/** Stores what attention gives, through what the body does with it afterwards. */
export interface Output {
  /** Elements 4 * chunk to 4 * chunk + 3 of one row, those past the row's end left out. `value` is a bound `vec4<f32>`. */
  readonly chunk: (row: readonly [b: string, h: string, i: string], chunk: string, value: string) => void
  /** A statistic of one row. */
  readonly scalar: (row: readonly [b: string, h: string, i: string], value: string) => void
  /** Whether `chunk` is one vector store, short enough to be repeated for each row. */
  readonly isShort: boolean
}

export const make = (e: Emitter, { E }: Problem, job: Job): Output => {
  const { module } = e
  const epilogue = Epilogue.make(e, job, () => Body.make(e, job.body))
  const root = (job.body.outputs[0] as { readonly node: Node }).node
  const { dtype } = root.type
  const together = keepsRows(job, root)
  const asVector =
    together && E % 4 === 0 && (dtype === "f32" || (dtype === "f16" && module.limits.shaderF16))
  const asPairs = together && E % 2 === 0 && storesPairs(module, dtype)

  const element = (row: readonly string[], chunk: string, value: string, lane: number) => {
    const indices = [...row, e.add(e.mul(chunk, "4"), String(lane))]
    return { indices, value: e.constant(`${value}.${lanes[lane]}`) }
  }

  const chunk: Output["chunk"] = (row, n, value) => {
    const of = (lane: number) => element(row, n, value, lane)
    if (asVector) {
      const parts = [0, 1, 2, 3].map(of).map((x) => epilogue.value(x.indices, x.value))
      const name = module.buffer(job.result, { dtype, access: "read_write", type: `vec4<${dtype}>` })
      const place = e.bind(`${epilogue.position(of(0).indices)} / 4`)
      e.line(`${name}[${place}] = vec4<${dtype}>(vec4<f32>(${parts.join(", ")}));`)
      return
    }
    const guarded = (first: number, put: () => void): void => {
      if (E % 4 === 0) put()
      else e.branch(`${of(first).indices[3]} < ${E}`, put)
    }
    if (asPairs) {
      for (const first of [0, 2]) {
        guarded(first, () => {
          const [x, y] = [of(first), of(first + 1)]
          const values = [epilogue.value(x.indices, x.value), epilogue.value(y.indices, y.value)] as const
          storePair(e, job.result, dtype, e.bind(`${epilogue.position(x.indices)} / 2`), values)
        })
      }
      return
    }
    for (const lane of [0, 1, 2, 3]) {
      guarded(lane, () => {
        const { indices, value: x } = of(lane)
        epilogue.store(indices, x)
      })
    }
  }
  return {
    chunk,
    scalar: (row, value) => epilogue.store(row, value),
    isShort: asVector && root === job.anchor
  }
}

/** Whether elements that are neighbours in a row of the anchor stay neighbours in the result: no transpose moves the last axis. */
const keepsRows = (job: Job, root: Node): boolean => {
  const found = new Set<Node>([job.anchor as Node])
  for (const n of job.body.nodes) {
    if (!n.operands.some((o) => found.has(o))) continue
    found.add(n)
    if (n.op === "transpose" && n.attrs.perm.at(-1) !== n.attrs.perm.length - 1) return false
  }
  // A last axis of size 1 behind the row's own would let a transpose move the row unseen.
  return found.has(root) && [...found].every((n) => !Dim.isOne(n.type.shape.at(-1) ?? Dim.one))
}
