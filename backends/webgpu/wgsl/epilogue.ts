import { type Path, pathsOf, type Step } from "../../../ir/anchorPaths.ts"
import * as Dim from "../../../ir/Dim.ts"
import { updateOf } from "../../../ir/KernelBody.ts"
import type { Node } from "../../../ir/Node.ts"
import { anchorsOf, type Job } from "../Job.ts"
import * as Body from "./body.ts"
import type { Emitter } from "./Emitter.ts"
import { store, storePair, storesPairs } from "./storage.ts"
import { updated } from "./updated.ts"

/** What follows the anchor in a body, seen from the anchor: where its element ends up in the result. */

type Anchored = Pick<Job, "body" | "anchor">

const root = (job: Anchored): Node => (job.body.outputs[0] as { readonly node: Node }).node

/** What elements of the anchor become: the result, or what it writes into a tensor. */
const madeBy = (job: Anchored): Node => updateOf(job.body)?.operands[1] ?? root(job)

/** The paths to it; only contractions may have several, and others that give other parts of it. */
const pathsOut = (job: Anchored): ReadonlyArray<Path> | undefined => {
  const update = updateOf(job.body)
  const nodes = job.body.nodes.filter((n) => n !== update)
  if (job.anchor?.op !== "dot") {
    const paths = pathsOf({ nodes }, anchorsOf(job))?.get(madeBy(job))
    return paths?.length === 1 && update === undefined ? paths : undefined
  }
  const all = nodes.filter((n) => n.op === "dot")
  const own = new Set(anchorsOf(job))
  const isOwn = ({ anchors }: Path): boolean => [...anchors].some((anchor) => own.has(anchor))
  return pathsOf({ nodes }, all)?.get(madeBy(job))?.filter(isOwn)
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

/** Whether neighbours stay neighbours, and those of an even place come to one. */
const startsEven = ({ inner, steps }: Path): boolean =>
  inner && steps.every((step) => step.kind !== "part" || (Dim.value(step.start) ?? 1) % 2 === 0)

/** An element of each anchor at an index. */
interface Elements {
  readonly indices: ReadonlyArray<string>
  readonly values: ReadonlyArray<string>
}

export interface Epilogue {
  /** Computes the result's elements that the element of each anchor at `indices` gives, and stores them. */
  readonly store: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => void
  /** As `store`, for two neighbours that are the words of the result; undefined where no two are. */
  readonly storePair: ((even: Elements, odd: Elements) => void) | undefined
  /** Where the anchor's element goes, if it goes to one place: its row-major number in the result. */
  readonly position: (indices: ReadonlyArray<string>) => string
  /** The result's element that the anchor's element gives, for callers that store several at once. */
  readonly value: (indices: ReadonlyArray<string>, ...values: ReadonlyArray<string>) => string
}

/** Gives the place in the result of what is computed at an index to `write`, unless it is written into a tensor and has none. */
export const placed = (
  emitter: Emitter,
  job: Anchored,
  make: () => Body.Body,
  indices: ReadonlyArray<string>,
  write: (position: string) => void
): void => {
  const update = updateOf(job.body)
  if (update === undefined) {
    write(emitter.linearize(indices, root(job).type.shape))
    return
  }
  const { position, inside } = updated(emitter, make(), update, indices)
  const put = (): void => write(position())
  if (inside === undefined) put()
  else emitter.branch(inside, put)
}

/** `make` is the body's emitter for a new element: the anchor's value differs from one to the next. */
export const make = (emitter: Emitter, job: Job, make: () => Body.Body): Epilogue => {
  const paths = pathsOut(job)
  const [last, update] = [madeBy(job), updateOf(job.body)]
  if (job.anchor === undefined || paths === undefined) throw new Error("the body has no direct epilogue")
  const { shape, dtype } = last.type
  const anchors = anchorsOf(job)
  const valueOn = (path: Path, { indices, values }: Elements): string => {
    const body = make()
    anchors.forEach((anchor, i) => {
      body.give(anchor, values[i] as string)
    })
    for (const [concat, part] of path.parts) body.pick(concat, part)
    return body.at(Body.stored(last), move(emitter, path, indices))
  }
  /** Gives the place of an element to `write`, unless it has none. */
  const placedOn = (path: Path, indices: ReadonlyArray<string>, write: (position: string) => void): void =>
    placed(emitter, job, make, move(emitter, path, indices), write)
  const [first] = paths as readonly [Path]
  const isEven = ({ type }: Node): boolean => (Dim.value(type.shape.at(-1) ?? Dim.one) ?? 1) % 2 === 0
  // Along this axis neighbours need not stay neighbours.
  const written = update && (update.op === "scatter" ? 0 : update.attrs.axis)
  const apart = written === shape.length - 1
  const isPaired =
    storesPairs(emitter.module, dtype) &&
    paths.every(startsEven) &&
    isEven(last) &&
    isEven(job.anchor) &&
    !apart
  return {
    position: (indices) => emitter.linearize(move(emitter, first, indices), shape),
    value: (indices, ...values) => valueOn(first, { indices, values }),
    store: (indices, ...values) => {
      const results = paths.map((path) => valueOn(path, { indices, values }))
      for (const [n, path] of paths.entries())
        placedOn(path, indices, (at) => store(emitter, job.result, dtype, at, results[n] as string))
    },
    storePair: isPaired
      ? (even, odd) => {
          const words = paths.map((path) => [valueOn(path, even), valueOn(path, odd)] as const)
          for (const [n, path] of paths.entries()) {
            placedOn(path, even.indices, (at) =>
              storePair(emitter, job.result, dtype, emitter.bind(`${at} / 2`), words[n] as (typeof words)[0])
            )
          }
        }
      : undefined
  }
}
