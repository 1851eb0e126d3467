/** A small model of the Llama family, the same for every engine, and what it continues. */
import type { HostArray } from "../../ir/HostArray.ts"
import * as nn from "../../src/nn/index.ts"

export const sizes = {
  words: 512,
  features: 512,
  hidden: 1376,
  layers: 4,
  heads: 8,
  keyHeads: 2,
  size: 64
} as const

export const epsilon = 1e-5

const { keyHeads, size, ...rest } = sizes

export const model = nn.decoder({
  ...rest,
  kvHeads: keyHeads,
  headSize: size,
  rope: { base: 10000 },
  epsilon,
  tied: true
})

/** Parameters by the names of Hugging Face; [outputs, inputs]. */
export const weights = (): { readonly [name: string]: HostArray } => {
  const flat = nn.Params.flatten(nn.Params.init(model.params as never, 5))
  const next = nn.Key.normals(nn.Key.make(6))
  for (const [name, { data }] of Object.entries(flat)) {
    const norm = name.includes("norm")
    for (let n = 0; n < data.length; n++) data[n] = norm ? 1 : next() / Math.sqrt(sizes.features)
  }
  return flat
}

export const prompt: ReadonlyArray<number> = Array.from({ length: 32 }, (_, n) => (n * 37 + 11) % sizes.words)

/** Words to make; fewer, and so many at least, where they take longer than `patience` milliseconds. */
export const count = 64
const least = 8
const patience = 15_000

/** Cosine or sine of the angles at positions, [positions, size / 2]. */
export const angles = (from: number, positions: number, of: (angle: number) => number): Float32Array => {
  const half = size / 2
  return Float32Array.from({ length: positions * half }, (_, n) =>
    of((from + Math.floor(n / half)) * 10000 ** (-(n % half) / half))
  )
}

/** What a run gives. */
export interface Generation {
  /** How the model is written, where there are several ways. */
  readonly variant: string
  readonly tokens: ReadonlyArray<number>
  /** Milliseconds: until the first word of a cold engine, of a warm one, and for each word after the first. */
  readonly cold: number
  readonly first: number
  readonly steps: ReadonlyArray<number>
  /** Bytes that cross between the caller's memory and the engine's for each word after the first. */
  readonly bytes: number
}

/** A word from the words so far: those of the first call are the prompt. */
export type Step = (
  tokens: ReadonlyArray<number>,
  position: number
) => Promise<{ readonly token: number; readonly bytes: number }>

/** Continues the prompt twice, cold, then warm, or once where that takes long. `start` gives the step of a sequence that is empty. */
export const generate = async (variant: string, start: () => Promise<Step>): Promise<Generation> => {
  const once = async (): Promise<Omit<Generation, "cold">> => {
    const step = await start()
    const tokens: Array<number> = []
    const times: Array<number> = []
    let bytes = 0
    const until = performance.now() + patience
    for (let n = 0; n < count && (n < least || performance.now() < until); n++) {
      const [given, position] = n === 0 ? [prompt, 0] : [tokens.slice(-1), prompt.length + n - 1]
      const begun = performance.now()
      const made = await step(given, position)
      times.push(performance.now() - begun)
      tokens.push(made.token)
      if (n > 0) bytes += made.bytes
    }
    const [first = 0, ...steps] = times
    return { variant, tokens, first, steps, bytes: bytes / steps.length }
  }
  const begun = performance.now()
  const cold = await once()
  const total = performance.now() - begun
  const warm = total > 8000 ? cold : await once()
  return { ...warm, cold: total - cold.steps.reduce((sum, x) => sum + x, 0) }
}
