#!/usr/bin/env node
import { Effect } from "effect"
import { app } from "./app.ts"
import { Io } from "./Io.ts"
import { nodeIo } from "./nodeIo.ts"

// A reader that has seen enough closes the pipe (`effuse dump … | head`): that is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0)
    throw error
  })
}

process.exitCode = await Effect.runPromise(Effect.provideService(app(process.argv.slice(2)), Io, nodeIo()))
