import { spawnSync } from "node:child_process"
import { Effect } from "effect"
import { printLocation } from "../../ir/errors.ts"
import * as Site from "../tensor/Site.ts"
import { CliFailure, quoted } from "./CliFailure.ts"
import { excerpt } from "./fromError.ts"
import type { Io } from "./Io.ts"
import { displayed } from "./paths.ts"

/** Node writes `file:line`, the line and a caret above the stack of a SyntaxError. */
const syntaxPlace = /^(file:\/\/\S+|\/\S+|[A-Za-z]:\\\S+):(\d+)\r?\n([\s\S]*?)\r?\n\r?\n/

/**
 * What `node --check`, which runs nothing, says of a module that is no JavaScript: `import` keeps the place to itself.
 * Of TypeScript it would name the first type.
 */
const checked = (file: string): string => {
  if (/\.[cm]?ts$/i.test(file)) return ""
  const { stderr } = spawnSync(process.execPath, ["--check", file], { encoding: "utf8", timeout: 10_000 })
  return stderr ?? ""
}

/** `:2:22` where a line below the source is all carets, else `:2`. */
const position = (line: string, source: string): string => {
  const carets = source.split(/\r?\n/).findLast((text) => /^\s*\^+\s*$/.test(text))
  return carets === undefined ? `:${line}` : `:${line}:${carets.indexOf("^") + 1}`
}

/** What went wrong while a person's module was loaded, without our part of the stack. */
export const importFailure = (file: string, cause: unknown): Effect.Effect<CliFailure, never, Io> =>
  Effect.gen(function* () {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    const { code } = error as { readonly code?: string }
    const message = `${quoted(file)} cannot be loaded: ${error.message}`
    const syntax =
      syntaxPlace.exec(error.stack ?? "") ??
      (error instanceof SyntaxError ? syntaxPlace.exec(checked(file)) : null)
    if (syntax !== null) {
      const [, at = "", line = "", source = ""] = syntax
      return new CliFailure({
        exit: "input",
        message,
        where: `${displayed(at)}${position(line, source)}`,
        source,
        cause
      })
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
