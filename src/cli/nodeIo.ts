import { readFile, writeFile } from "node:fs/promises"
import { Effect } from "effect"
import { badInput, quoted } from "./CliFailure.ts"
import type { IoShape } from "./Io.ts"
import { paintFor } from "./Paint.ts"

const reasons: { readonly [code: string]: string } = {
  EISDIR: "is a folder",
  EACCES: "may not be opened",
  ENOTDIR: "part of the path is not a folder",
  ENAMETOOLONG: "the name is too long"
}

const reason = (cause: unknown, missing = "there is no such file"): string => {
  const code = (cause as { readonly code?: unknown }).code
  if (code === "ENOENT") return missing
  const known = typeof code === "string" && Object.hasOwn(reasons, code) ? reasons[code] : undefined
  return known ?? (cause instanceof Error ? cause.message : String(cause))
}

const standardInput = async (): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** The files and streams of this process. */
export const nodeIo = (): IoShape => ({
  print: (text) => Effect.sync(() => void process.stdout.write(`${text}\n`)),
  tell: (text) => Effect.sync(() => void process.stderr.write(`${text}\n`)),
  paint: paintFor(process.stdout.isTTY === true, process.env),
  paintError: paintFor(process.stderr.isTTY === true, process.env),
  columns: process.stdout.isTTY === true ? process.stdout.columns : undefined,
  read: (file) =>
    Effect.tryPromise({
      try: () => (file === "-" ? standardInput() : readFile(file)),
      catch: (cause) =>
        badInput(`${quoted(file)}: ${reason(cause)}`, "check the path, from the current folder")
    }),
  write: (file, content) =>
    Effect.tryPromise({
      try: () => writeFile(file, content),
      catch: (cause) => badInput(`cannot write ${quoted(file)}: ${reason(cause, "there is no such folder")}`)
    }),
  env: process.env
})
