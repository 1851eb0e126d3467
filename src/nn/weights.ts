import { Effect, type Result, type Scope, Stream } from "effect"
import type { Backend, DeviceArray } from "../../backends/Backend.ts"
import { type FloatDType, isFloat } from "../../ir/DType.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { suggest } from "../../ir/suggest.ts"
import { ParamsError, type RunError } from "../errors.ts"
import type { Stored } from "../files/elements.ts"
import { FileError } from "../files/FileError.ts"
import * as Safetensors from "../files/Safetensors.ts"
import { upload } from "../transfer.ts"
import { floats } from "./floats.ts"
import * as Params from "./Params.ts"

/** Something that bytes are read from, a part at a time: a file, a blob, anything with an end. */
export interface Source {
  /** What errors call it. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  readonly read: (start: number, stop: number) => Promise<Uint8Array>
}

/** A file that a person chose in a page, or any blob. */
export const blobSource = (name: string, blob: Blob): Source => ({
  name,
  size: blob.size,
  read: async (start, stop) => new Uint8Array(await blob.slice(start, stop).arrayBuffer())
})

/** Tensors of one file or of the shards of one model, of which nothing but the headers is in memory. */
export interface Weights {
  readonly names: ReadonlyArray<string>
  readonly shapeOf: (name: string) => ReadonlyArray<number> | undefined
  /** As the file has it. */
  readonly dtypeOf: (name: string) => Stored | undefined
  /** Reads one tensor. */
  readonly read: (name: string) => Effect.Effect<HostArray.HostArray, FileError>
  readonly bytesOf: (name: string) => number
}

interface Place {
  readonly source: Source
  readonly entry: Safetensors.Entry
  readonly dataStart: number
}

const bytesOf = (source: Source, start: number, stop: number): Effect.Effect<Uint8Array, FileError> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () => source.read(start, stop),
      catch: (cause) =>
        new FileError({
          file: source.name,
          message: `${source.name}: ${cause instanceof Error ? cause.message : cause}`
        })
    }),
    (bytes) =>
      bytes.length === stop - start
        ? Effect.succeed(bytes)
        : Effect.fail(
            new FileError({
              file: source.name,
              message: `${source.name}: ${bytes.length} of bytes ${start} to ${stop} are there`,
              hint: "the file changed while it was read"
            })
          )
  )

const result = <A>(of: Result.Result<A, FileError>): Effect.Effect<A, FileError> => Effect.fromResult(of)

/** Opens safetensors files: reads their headers. A name in two of them is an error. */
export const open = (sources: ReadonlyArray<Source>): Effect.Effect<Weights, FileError> =>
  Effect.gen(function* () {
    const places = new Map<string, Place>()
    for (const source of sources) {
      const first = yield* bytesOf(source, 0, Math.min(8, source.size))
      const size = yield* result(Safetensors.headerBytes(first, source.size, source.name))
      const head = yield* bytesOf(source, 0, size)
      const { entries, dataStart } = yield* result(Safetensors.header(head, source.size, source.name))
      for (const entry of entries) {
        const other = places.get(entry.name)
        if (other !== undefined) {
          const message = `${source.name}: tensor ${JSON.stringify(entry.name)} is in ${other.source.name} too`
          return yield* new FileError({
            file: source.name,
            message,
            hint: "open the shards of one model only"
          })
        }
        places.set(entry.name, { source, entry, dataStart })
      }
    }
    const placeOf = (name: string): Effect.Effect<Place, FileError> => {
      const place = places.get(name)
      if (place !== undefined) return Effect.succeed(place)
      const near = suggest(name, places.keys())
      const file = sources[0]?.name ?? "no file"
      return Effect.fail(
        new FileError({
          file,
          message: `there is no tensor ${JSON.stringify(name)}`,
          ...(near === undefined ? {} : { hint: `did you mean ${near}?` })
        })
      )
    }
    return {
      names: [...places.keys()],
      shapeOf: (name) => places.get(name)?.entry.shape,
      dtypeOf: (name) => places.get(name)?.entry.stored,
      bytesOf: (name) => {
        const entry = places.get(name)?.entry
        return entry === undefined ? 0 : entry.end - entry.start
      },
      read: (name) =>
        Effect.flatMap(placeOf(name), ({ source, entry, dataStart }) =>
          Effect.flatMap(bytesOf(source, dataStart + entry.start, dataStart + entry.end), (bytes) =>
            result(Safetensors.element(source.name, entry, bytes))
          )
        )
    }
  })

/** One tensor that has arrived. */
export interface Loaded {
  /** Of the parameter. */
  readonly name: string
  readonly array: DeviceArray
  /** Bytes of files read so far, and in all. */
  readonly done: number
  readonly total: number
  /** Bytes of host memory that it took on its way: as the file has it and, where that differs, as the layer does. */
  readonly hostBytes: number
}

export interface LoadOptions {
  /** The name in the files of a parameter; the same unless told otherwise. */
  readonly rename?: ((parameter: string) => string) | undefined
  /** Whether files may hold more than the parameters, or which names they may hold; they may not unless told otherwise. */
  readonly allowOthers?: boolean | ((name: string) => boolean) | undefined
}

/** What of the files does not fit the parameters, all of it. */
const problemsOf = (
  weights: Weights,
  wanted: ReadonlyMap<string, Params.Param>,
  { allowOthers = false }: LoadOptions
): ReadonlyArray<string> => {
  const missing = [...wanted].flatMap(([name, param]) => {
    const shape = weights.shapeOf(name)
    const own = param.spec.shape.join(", ")
    if (shape !== undefined) {
      const dtype = weights.dtypeOf(name) as Stored
      return [
        ...(shape.join(", ") === own ? [] : [`${name} is [${shape.join(", ")}] instead of [${own}]`]),
        // Numbers of a quantised weight mean nothing without their scales.
        ...(isFloat(dtype as FloatDType) ? [] : [`${name} holds ${dtype}, which are no weights`])
      ]
    }
    const near = suggest(
      name,
      weights.names.filter((n) => !wanted.has(n))
    )
    return [`${name} is missing${near === undefined ? "" : `; did you mean ${near}?`}`]
  })
  const allowed = typeof allowOthers === "function" ? allowOthers : () => allowOthers
  const others = weights.names.filter((n) => !wanted.has(n) && !allowed(n)).map((n) => `${n} is not known`)
  return [...missing, ...others]
}

/**
 * Brings the parameters of a layer to the device, one tensor at a time, so that host memory holds no more than one; floats become those of the
 * layer. The stream tells what has arrived: a progress bar reads `done` and `total`. Everything is checked before the first byte of data is
 * read: fails with `ParamsError` that lists all that is missing, in excess or of another shape.
 */
export const load = (
  weights: Weights,
  tree: Params.Tree,
  options: LoadOptions = {}
): Stream.Stream<Loaded, FileError | ParamsError | RunError, Backend | Scope.Scope> => {
  const { rename = (name) => name } = options
  const params = Object.entries(Params.flatten<Params.Param>(tree))
  const problems = problemsOf(weights, new Map(params.map(([name, p]) => [rename(name), p])), options)
  if (problems.length > 0) return Stream.fail(new ParamsError({ message: problems.join("\n"), problems }))
  const total = params.reduce((sum, [name]) => sum + weights.bytesOf(rename(name)), 0)
  return Stream.suspend(() => {
    let done = 0
    return Stream.mapEffect(Stream.fromIterable(params), ([name, param]) =>
      Effect.gen(function* () {
        const read = yield* weights.read(rename(name))
        const own = floats(read, param.spec.dtype as FloatDType)
        const array = yield* upload(own)
        done += weights.bytesOf(rename(name))
        const hostBytes = HostArray.byteLength(own) + (own === read ? 0 : HostArray.byteLength(read))
        return { name, array, done, total, hostBytes }
      })
    )
  })
}

/** Runs a load to its end: arrays by name. */
export const loaded = <E, R>(
  stream: Stream.Stream<Loaded, E, R>,
  onProgress: (step: Loaded) => void = () => {}
): Effect.Effect<{ readonly [name: string]: DeviceArray }, E, R> =>
  Effect.map(Stream.runCollect(Stream.tap(stream, (step) => Effect.sync(() => onProgress(step)))), (steps) =>
    Object.fromEntries([...steps].map(({ name, array }) => [name, array]))
  )
