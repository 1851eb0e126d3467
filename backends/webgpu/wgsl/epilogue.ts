import { type Path, pathsOf, type Step } from "../../../ir/anchorPaths.ts"
import * as Dim from "../../../ir/Dim.ts"
import type { Node } from "../../../ir/Node.ts"
import { anchorsOf, type Job } from "../Job.ts"
import * as Body from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { store, storesPairs } from "./storage.ts"

/** What follows the anchor in a body, seen from the anchor: where its element ends up in the result. */

type Anchored = Pick<Job, "body" | "anchor">

const root = (job: Anchored): Node => (job.body.outputs[0] as { readonly node: Node }).node

/** The paths to the result; only contractions may have several. */
const pathsOut = (job: Anchored): ReadonlyArray<Path> | undefined => {
  const paths = pathsOf(job.body, anchorsOf(job))?.get(root(job))
  return paths?.length === 1 || job.anchor?.op === "dot" ? paths : undefined
}

/** Whether each element of the anchor gives elements of the result alone, at indices that follow from its own. */
export const isDirect = (job: Anchored): boolean => job.anchor === undefined || pathsOut(job) !== undefined

const taken = (emitter: Emitter, indices: ReadonlyArray<string>, step: Step): ReadonlyArray<string> => {
  switch (step.kind) {
    case "transpose":
      return step.perm.map((axis) => indices[axis] as string)
    case "reshape":
      return emitter.reshape(indices, step.from, step.to)
    case "part":
      return indices.map((i, axis) => (axis === step.axis ? emitter.add(i, emitter.dim(step.start)) : i))
  }
}

const move = (emitter: Emitter, { steps }: Path, indices: ReadonlyArray<string>): ReadonlyArray<string> =>
  steps.reduce((at, step) => taken(emitter, at, step), indices)

/** One of the results that the elements of the anchors at an index give. */
export interface Target {
  /** Its row-major number in the result. */
  readonly position: (indices: ReadonlyArray<string>) => string
  readonly value: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => string
}

export interface Epilogue extends Target {
  /** Computes the result's elements that the element of each anchor at `indices` gives, and stores them. */
  readonly store: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => void
  /** Whether pairs of the anchor's last axis are the words of a result whose elements take 16 bits. */
  readonly pairs: boolean
  /** One for most bodies; position and value are the first's. */
  readonly targets: ReadonlyArray<Target>
}

/** `make` is the body's emitter for a new element: the anchor's value differs from one to the next. */
export const make = (emitter: Emitter, job: Job, make: () => Body.Body): Epilogue => {
  const paths = pathsOut(job)
  const last = root(job)
  if (job.anchor === undefined || paths === undefined) throw new Error("the body has no direct epilogue")
  const { shape, dtype } = last.type
  const anchors = anchorsOf(job)
  const targets = paths.map(
    (path): Target => ({
      position: (indices) => emitter.linearize(move(emitter, path, indices), shape),
      value: (indices, ...values) => {
        const body = make()
        anchors.forEach((anchor, i) => {
          body.give(anchor, values[i] as string)
        })
        for (const [concat, part] of path.parts) body.pick(concat, part)
        return body.at(Body.stored(last), move(emitter, path, indices))
      }
    })
  )
  const width = Dim.value((paths.length === 1 ? last : job.anchor).type.shape.at(-1) ?? Dim.one) ?? 1
  return {
    ...(targets[0] as Target),
    targets,
    pairs: storesPairs(emitter.module, dtype) && paths.every((p) => p.inner) && width % 2 === 0,
    store: (indices, ...values) => {
      const results = targets.map(({ value }) => value(indices, ...values))
      for (const [n, { position }] of targets.entries())
        store(emitter, job.result, dtype, position(indices), results[n] as string)
    }
  }
}
