import { Argument, Flag } from "effect/cli"
import { arithmetics } from "../../ir/Schedule.ts"
import { backendNames } from "./backend.ts"

/** Flags and arguments that several commands share. */

export const target = Argument.String("target").pipe(
  Argument.withDescription("file.ts#name, file.eir, graph.json, or - for text IR from standard input")
)

export const inputs = {
  input: Flag.String("input").pipe(
    Flag.withAlias("i"),
    Flag.atLeast(0),
    Flag.withMetavar("NAME=FILE"),
    Flag.withDescription(
      "q=q.npy, data.npz or data.safetensors (names from the file), q=q.json, q=random:1; repeatable"
    )
  ),
  random: Flag.Int("random").pipe(
    Flag.optional,
    Flag.withMetavar("SEED"),
    Flag.withDescription("Fill the inputs that no file gives with random numbers of this seed")
  ),
  dim: Flag.String("dim").pipe(
    Flag.withAlias("d"),
    Flag.atLeast(0),
    Flag.withMetavar("T=512"),
    Flag.withDescription("The size of a symbol; repeatable")
  ),
  cast: Flag.Boolean("cast").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Convert inputs to the dtype of the signature")
  )
}

export const backend = Flag.Literals("backend", backendNames).pipe(
  Flag.withAlias("b"),
  Flag.optional,
  Flag.withDescription("Where it runs. Default: webgpu where the adapter is hardware, else wasm")
)

export const passes = Flag.String("passes").pipe(
  Flag.withAlias("p"),
  Flag.optional,
  Flag.withMetavar("A,B,C"),
  Flag.withDescription("Passes by name and order instead of the default pipeline")
)

export const arithmetic = Flag.Literals("arithmetic", arithmetics).pipe(
  Flag.optional,
  Flag.withDescription(
    "What numbers stored as f16 are multiplied in, where the device can. Default: as the definition says, else f32"
  )
)

export const limits = {
  limits: Flag.Literals("limits", ["portable", "device"]).pipe(
    Flag.withDefault("portable" as const),
    Flag.withDescription("Schedule for what every device has, or for the adapter of this machine")
  ),
  f16: Flag.Boolean("f16").pipe(
    Flag.withDefault(false),
    Flag.withDescription("As if the device had shader-f16")
  )
}

export const stats = Flag.Boolean("stats").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Which rules were tried how often, applied how often, and for how long")
)

export const out = (description: string) =>
  Flag.String("out").pipe(
    Flag.withAlias("o"),
    Flag.optional,
    Flag.withMetavar("FILE"),
    Flag.withDescription(description)
  )
