import { Effect } from "effect"
import { printLocation } from "../../ir/errors.ts"
import * as Site from "../tensor/Site.ts"
import { CliFailure, quoted } from "./CliFailure.ts"
import { excerpt } from "./fromError.ts"
import type { Io } from "./Io.ts"
import { displayed } from "./paths.ts"

/** Node writes `file:line`, the line and a caret above the stack of a SyntaxError. */
const syntaxPlace = /^(file:\/\/\S+|\/\S+|[A-Za-z]:\\\S+):(\d+)\r?\n([\s\S]*?)\r?\n\r?\n/

/** What went wrong while a person's module was loaded, without our part of the stack. */
export const importFailure = (file: string, cause: unknown): Effect.Effect<CliFailure, never, Io> =>
  Effect.gen(function* () {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    const { code } = error as { readonly code?: string }
    const message = `${quoted(file)} cannot be loaded: ${error.message}`
    const syntax = syntaxPlace.exec(error.stack ?? "")
    if (syntax !== null) {
      const [, at = "", line = "", source = ""] = syntax
      return new CliFailure({ exit: "input", message, where: `${displayed(at)}:${line}`, source, cause })
    }
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") {
      const hint =
        "install the package next to the module, or correct the path of the import (with its extension)"
      return new CliFailure({ exit: "input", message, hint, cause })
    }
    const at = Site.fromStack(error.stack)
    if (at.file === "unknown") return new CliFailure({ exit: "input", message, cause })
    const source = yield* excerpt(at)
    const where = printLocation({ ...at, file: displayed(at.file) })
    return new CliFailure({
      exit: "input",
      message,
      where,
      ...(source === undefined ? {} : { source }),
      cause
    })
  })
