import { Effect, Option, Result } from "effect"
import * as Dim from "../../ir/Dim.ts"
import type * as Graph from "../../ir/Graph.ts"
import * as HostArray from "../../ir/HostArray.ts"
import { didYouMean } from "../../ir/suggest.ts"
import * as TensorType from "../../ir/TensorType.ts"
import { printArray } from "../argument.ts"
import { bind } from "../bind.ts"
import { read } from "../files/read.ts"
import { badInput, type CliFailure, quoted, usage } from "./CliFailure.ts"
import { orFail } from "./fromError.ts"
import { Io } from "./Io.ts"
import { random } from "./random.ts"

/** What the flags about inputs say. */
export interface InputFlags {
  /** `q=q.npy`, `data.npz`, `q=random:1`, `random:1`. */
  readonly input: ReadonlyArray<string>
  readonly random: Option.Option<number>
  /** `T=512`. */
  readonly dim: ReadonlyArray<string>
  readonly cast: boolean
}

export interface Gathered {
  readonly inputs: { readonly [name: string]: HostArray.HostArray }
  readonly sizes: Dim.Bindings
}

type Source =
  | { readonly _tag: "file"; readonly name: string | undefined; readonly file: string }
  | { readonly _tag: "random"; readonly name: string | undefined; readonly seed: number }

/** Elements of one random input; more is a mistyped size. */
const maxElements = 2 ** 28

const sourceOf = (text: string, names: ReadonlyArray<string>): Result.Result<Source, CliFailure> => {
  const at = text.indexOf("=")
  const before = at > 0 ? text.slice(0, at) : undefined
  // A path may hold "=", a name is followed by one.
  const named = before !== undefined && (names.includes(before) || !/[./\\]/.test(before))
  const [name, rest] = named ? [before, text.slice(at + 1)] : [undefined, text]
  if (name !== undefined && !names.includes(name)) return Result.fail(unknownInput(name, names))
  const seed = /^random:(.*)$/.exec(rest)?.[1]
  if (seed === undefined) {
    return rest === ""
      ? Result.fail(
          usage(`--input ${quoted(text)} names no file`, "write --input q=q.npy or --input data.npz")
        )
      : Result.succeed({ _tag: "file", name, file: rest })
  }
  return /^\d{1,9}$/.test(seed)
    ? Result.succeed({ _tag: "random", name, seed: Number(seed) })
    : Result.fail(usage(`${quoted(seed)} is not a seed`, "a seed is a whole number: random:1"))
}

const unknownInput = (name: string, names: ReadonlyArray<string>): CliFailure =>
  usage(
    `there is no input ${quoted(name)}`,
    near(name, names) ?? `the inputs are ${names.map(quoted).join(", ")}`
  )

/** A suggestion, unless every name is a letter: then each is one edit from any other. */
const near = (name: string, names: ReadonlyArray<string>): string | undefined =>
  didYouMean(
    name,
    names.filter((n) => n.length > 1)
  )

/** `--dim T=512` into sizes. */
export const parseDims = (
  flags: ReadonlyArray<string>,
  symbols: ReadonlyArray<string>
): Result.Result<ReadonlyMap<string, number>, CliFailure> => {
  const sizes = new Map<string, number>()
  for (const text of flags) {
    const [, name = "", digits = ""] = /^([^=]*)=(\d+)$/.exec(text) ?? []
    if (name === "") return Result.fail(usage(`--dim ${quoted(text)} is not a size`, "write --dim T=512"))
    if (!symbols.includes(name)) {
      const known = symbols.length === 0 ? "all sizes are fixed" : `the symbols are ${symbols.join(", ")}`
      return Result.fail(usage(`there is no symbol ${quoted(name)}`, near(name, symbols) ?? known))
    }
    const size = Number(digits)
    if (!Number.isSafeInteger(size)) return Result.fail(usage(`--dim ${quoted(text)} is too large`))
    if (sizes.has(name) && sizes.get(name) !== size) {
      return Result.fail(usage(`--dim gives ${name} twice: ${sizes.get(name)} and ${size}`))
    }
    sizes.set(name, size)
  }
  return Result.succeed(sizes)
}

/** Sizes that arrays give to symbols which stand alone on an axis. */
const learn = (sizes: Map<string, number>, type: TensorType.TensorType, array: HostArray.HostArray): void => {
  type.shape.forEach((dim, axis) => {
    const [symbol] = Dim.symbols(dim)
    const size = array.shape[axis]
    if (symbol !== undefined && dim.key === symbol && size !== undefined && !sizes.has(symbol)) {
      sizes.set(symbol, size)
    }
  })
}

const randomInput = (
  name: string,
  type: TensorType.TensorType,
  sizes: ReadonlyMap<string, number>,
  symbols: ReadonlyArray<string>,
  seed: number
): Result.Result<HostArray.HostArray, CliFailure> => {
  const open = [...new Set(type.shape.flatMap((d) => Dim.symbols(d)).filter((s) => !sizes.has(s)))]
  if (open.length > 0) {
    // Other inputs have sizes, too: one answer names them all.
    const all = symbols.filter((s) => !sizes.has(s))
    return Result.fail(
      usage(
        `input ${quoted(name)} is ${TensorType.print(type)}, and ${open.join(", ")} ${open.length === 1 ? "has" : "have"} no size`,
        `give ${all.map((s) => `--dim ${s}=16`).join(" ")}`
      )
    )
  }
  const bindings = Object.fromEntries(sizes)
  const shape = type.shape.map((d) => Dim.evaluate(d, bindings))
  const elements = shape.reduce((a, b) => a * b, 1)
  if (shape.some((n) => n < 0) || elements > maxElements) {
    return Result.fail(
      usage(
        `input ${quoted(name)} would be ${type.dtype}[${shape.join(", ")}]`,
        "give other sizes with --dim"
      )
    )
  }
  return Result.succeed(random(type.dtype, shape, seed, name))
}

/** The arrays of a file, each with the input it is for; what is for none is told, not used. */
const fromFile = (
  { name, file }: Extract<Source, { _tag: "file" }>,
  names: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<readonly [string, HostArray.HostArray]>, CliFailure, Io> =>
  Effect.gen(function* () {
    const io = yield* Io
    const contents = yield* orFail(Effect.fromResult(read(yield* io.read(file), file)))
    if (!(contents instanceof Map)) {
      const stem = (file.split(/[/\\]/).at(-1) ?? "").replace(/\.\w+$/, "")
      const target = name ?? (names.includes(stem) ? stem : names.length === 1 ? names[0] : undefined)
      if (target === undefined) {
        return yield* usage(
          `${quoted(file)} holds one array without a name`,
          `write --input ${names[0] ?? "x"}=${file}`
        )
      }
      return [[target, contents as HostArray.HostArray] as const]
    }
    const arrays = contents as ReadonlyMap<string, HostArray.HostArray>
    if (name !== undefined) {
      const [only] = arrays.values()
      const found = arrays.get(name) ?? (arrays.size === 1 ? only : undefined)
      if (found !== undefined) return [[name, found] as const]
      return yield* badInput(
        `${quoted(file)} holds no array ${quoted(name)}`,
        didYouMean(name, arrays.keys()) ??
          `it holds ${[...arrays.keys()].slice(0, 20).map(quoted).join(", ")}`
      )
    }
    const foreign = [...arrays.keys()].filter((n) => !names.includes(n))
    if (foreign.length > 0) {
      const listed = `${foreign.slice(0, 8).map(quoted).join(", ")}${foreign.length > 8 ? ", …" : ""}`
      yield* io.tell(io.paintError("note", `note: not an input, left out of ${quoted(file)}: ${listed}`))
    }
    return [...arrays].filter(([n]) => names.includes(n))
  })

/** Reads or makes every input of a graph and checks them against it. Nothing has run when it fails. */
export const gather = (graph: Graph.Graph, flags: InputFlags): Effect.Effect<Gathered, CliFailure, Io> =>
  Effect.gen(function* () {
    const types = new Map(graph.inputs.map((i) => [i.attrs.name, i.type] as const))
    const names = [...types.keys()]
    const symbols = [...new Set([...types.values()].flatMap((t) => t.shape.flatMap((d) => Dim.symbols(d))))]
    const given = yield* Effect.fromResult(parseDims(flags.dim, symbols))
    const sources = yield* Effect.forEach(flags.input, (text) => Effect.fromResult(sourceOf(text, names)))

    const arrays = new Map<string, HostArray.HostArray>()
    for (const source of sources) {
      if (source._tag === "random") continue
      for (const [name, array] of yield* fromFile(source, names)) {
        if (arrays.has(name)) return yield* usage(`input ${quoted(name)} is given twice`)
        arrays.set(name, array)
      }
    }
    const sizes = new Map(given)
    for (const [name, array] of arrays) learn(sizes, types.get(name) as TensorType.TensorType, array)

    const everySeed = sources.find((s) => s._tag === "random" && s.name === undefined)
    const fallback = Option.getOrUndefined(flags.random) ?? (everySeed as { seed: number } | undefined)?.seed
    for (const [name, type] of types) {
      const own = sources.find((s) => s._tag === "random" && s.name === name) as { seed: number } | undefined
      const seed = own?.seed ?? fallback
      if (own !== undefined && arrays.has(name)) return yield* usage(`input ${quoted(name)} is given twice`)
      if (arrays.has(name)) continue
      if (seed === undefined) {
        const loose = [...types.keys()].filter((n) => !arrays.has(n))
        return yield* badInput(
          `input ${quoted(name)} is missing: it is ${TensorType.print(type)}`,
          `give ${loose.map((n) => `--input ${n}=${n}.npy`).join(" ")}, or --random 1 for numbers of a seed`
        )
      }
      arrays.set(name, yield* Effect.fromResult(randomInput(name, type, sizes, symbols, seed)))
    }
    const cast = [...arrays].map(([name, array]): readonly [string, HostArray.HostArray] => {
      const { dtype } = types.get(name) as TensorType.TensorType
      if (!flags.cast || array.dtype === dtype) return [name, array]
      return [name, HostArray.fromNumbers(dtype, array.shape, HostArray.toNumbers(array))]
    })
    const inputs = Object.fromEntries(cast)
    const wrong = cast.find(([name, array]) => array.dtype !== types.get(name)?.dtype)
    if (wrong !== undefined) {
      const [name, array] = wrong
      const type = TensorType.print(types.get(name) as TensorType.TensorType)
      return yield* badInput(
        `input ${quoted(name)} is ${type}, given ${printArray(array)}: another dtype`,
        "add --cast to convert"
      )
    }
    const parameters = [...types].map(([name, type]) => ({ name, type }))
    const bound = yield* orFail(Effect.fromResult(bind(parameters, [], inputs)))
    for (const [symbol, size] of given) {
      if (bound.sizes[symbol] !== size) {
        return yield* usage(`--dim ${symbol}=${size}, but the inputs make it ${bound.sizes[symbol]}`)
      }
    }
    return { inputs, sizes: bound.sizes }
  })
