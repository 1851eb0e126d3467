import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { app } from "../../src/cli/app.ts"
import { Io } from "../../src/cli/Io.ts"
import { nodeIo } from "../../src/cli/nodeIo.ts"
import { type Paint, plain } from "../../src/cli/Paint.ts"

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface World {
  readonly stdin?: string
  readonly paint?: Paint
  readonly env?: { readonly [name: string]: string }
  /** How wide the terminal is; none means a pipe. */
  readonly columns?: number
}

/** Runs a command line in this process, on the real files. */
export const effuse = async (args: ReadonlyArray<string>, world: World = {}): Promise<Ran> => {
  const out: Array<string> = []
  const err: Array<string> = []
  const paint = world.paint ?? plain
  const node = nodeIo()
  const io: Io["Service"] = {
    ...node,
    print: (text) => Effect.sync(() => void out.push(`${text}\n`)),
    tell: (text) => Effect.sync(() => void err.push(`${text}\n`)),
    paint,
    paintError: paint,
    read: (file) =>
      file === "-" ? Effect.succeed(new TextEncoder().encode(world.stdin ?? "")) : node.read(file),
    columns: world.columns,
    env: world.env ?? {}
  }
  const code = await Effect.runPromise(Effect.provideService(app(args), Io, io))
  return { code, out: out.join(""), err: err.join("") }
}

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

export interface Spawned {
  readonly env?: { readonly [name: string]: string }
  readonly stdin?: string
  /** Close the pipe after the first piece of output, as `head` does. */
  readonly hangUp?: boolean
}

/** Runs `node src/cli/main.ts` as a process of its own. */
export const spawnEffuse = (args: ReadonlyArray<string>, options: Spawned = {}): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...options.env } })
    let [out, err] = ["", ""]
    child.stdout.on("data", (piece) => {
      out += String(piece)
      if (options.hangUp === true) child.stdout.destroy()
    })
    child.stderr.on("data", (piece) => {
      err += String(piece)
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code: code ?? -1, out, err }))
    child.stdin.end(options.stdin ?? "")
  })
